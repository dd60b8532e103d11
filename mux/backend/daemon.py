"""`mux-backend`: the process behind a socket, started by a shim with what it inherits, or by a person on a terminal."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mux import __version__, limits
from mux.config.values import limit
from mux.errors import MuxError, RendezvousError, UsageError
from mux.failpoints import ARMED, hit
from mux.limits import GRACE_SECONDS, LISTEN_BACKLOG
from mux.rendezvous.paths import Place, places

if TYPE_CHECKING:
    import asyncio

_PYTHON_IGNORES = {signal.SIGPIPE, signal.SIGXFSZ}
"""A write to a dead pipe must be an error here, not our end."""
_INHERITED = ("lock", "listener", "status")


class _Options(NamedTuple):
    """The command line. limits: NAME=N. inherited: the descriptors that a starter has passed, in their order."""

    socket: str | None
    grace: str | None
    limits: list[str]
    inherited: tuple[int, ...] = ()


def main(argv: list[str] | None = None) -> int:
    """Serve until the last session has gone and the grace is over, or until signalled.

    Exit code 0; 1 if it can not start, 2 for a wrong command line.
    """
    words = sys.argv[1:] if argv is None else argv
    try:
        options = _passed(words) if words[:1] == ["--inherit-lock"] else _typed(words)
        for fd in options.inherited:
            os.set_inheritable(fd, False)
        if ARMED and options.inherited:
            hit("backend.entered")
        _default_signals()
        if options.inherited:
            _serve_inherited(options)
        else:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _serve_foreground(options)
    except MuxError as error:
        hint = ". `mux doctor` says what to do" if isinstance(error, RendezvousError) and "`" not in str(error) else ""
        print(f"mux-backend: {error}{hint}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def _passed(words: Sequence[str]) -> _Options:
    """A starter's options, which are pairs (mux/rendezvous/spawn.py); it waits, so no parser is loaded for them.

    Raises UsageError.
    """
    found: dict[str, list[str]] = {}
    for name, value in zip(words[::2], words[1::2], strict=False):
        found.setdefault(name.removeprefix("--"), []).append(value)
    fds = [value for name in _INHERITED for value in found.pop(f"inherit-{name}", ())]
    places_, graces, limits_ = (found.pop(name, []) for name in ("socket", "grace", "limit"))
    if found or len(words) % 2 or len(fds) != len(_INHERITED) or not places_ or not all(map(str.isdigit, fds)):
        raise UsageError("--inherit-lock, -listener and -status go together, with --socket; only a starter gives them")
    return _Options(places_[-1], graces[-1] if graces else None, limits_, tuple(map(int, fds)))


def _typed(words: Sequence[str]) -> _Options:
    """A person's. Leaves where that is wrong, or asks for a text only."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="mux-backend",
        description="The process that runs the servers. Shims start it by themselves; start it by hand to watch it.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mux-backend {__version__}")
    parser.add_argument("--foreground", action="store_true", help="serve on this terminal, log on stderr")
    parser.add_argument("--socket", metavar="S", help="path of the socket, or a name in the runtime directory")
    parser.add_argument("--grace", metavar="T", help="seconds from the last session to the exit (or 90s, 15m)")
    parser.add_argument("--limit", metavar="NAME=N", action="append", default=[], help="a limit, as in [limits]")
    found = parser.parse_args(words)
    if not found.foreground:
        parser.error("shims start the backend by themselves; to watch it, add --foreground")
    return _Options(found.socket, found.grace, found.limit)


def _serve_inherited(options: _Options) -> None:
    """The starter waits at the status pipe: "ok", or the reason why there will be no backend."""
    lock, listening, reporting = options.inherited
    status: int | None = reporting

    def report(message: bytes) -> None:
        nonlocal status
        if status is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(status, message)
            os.close(status)
            status = None

    try:
        assert options.socket is not None
        place = Place(options.socket)
        listener = socket.socket(fileno=listening)
        listener.listen(LISTEN_BACKLOG)  # again: a peer's credentials are those of whoever did it last, not our starter
        log = place.socket.removesuffix(".sock") + ".log"
        _run(options, place, lock, listener, log=log, ready=lambda: report(b"ok"))
    except MuxError as error:
        report(str(error).encode())
        raise
    except BaseException as error:
        report(f"the backend failed: {_root(error)!r}".encode())
        raise


def _root(error: BaseException) -> BaseException:
    """The first fault inside a group of them: the group's own text says nothing to a person."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _serve_foreground(options: _Options) -> None:
    from mux.rendezvous.listener import take

    options = _configured(options)
    place = places(options.socket)[0]
    lock, listener = take(place)

    def ready() -> None:
        print(f"mux-backend: serving {place.socket}; Ctrl-C ends it", file=sys.stderr)

    try:
        _run(options, place, lock, listener, log=None, ready=ready)
    finally:
        os.close(lock)


def _configured(options: _Options) -> _Options:
    """With what nobody gave on the command line, from MUX_* and the files; a shim does this for a backend it starts."""
    from mux.config import load

    given = {name: value for name, value in (("socket", options.socket), ("grace", options.grace)) if value is not None}
    settings = load(os.environ, os.getcwd(), given)
    for complaint in settings.complaints:
        print(f"mux-backend: {complaint}", file=sys.stderr)
    chosen = [f"{name}={value}" for name, (value, _) in settings.limits.items()]
    return _Options(settings.get("socket"), settings.get("grace"), chosen + options.limits)


def _set_limits(given: Sequence[str]) -> None:
    """Raises UsageError for a limit that there is not, or that can not have that value."""
    found: dict[str, int | float] = {}
    for word in given:
        name, _, value = word.partition("=")
        if name not in limits.CONFIGURABLE:
            raise UsageError(f"--limit {name}: there is no such limit. There are: {', '.join(limits.CONFIGURABLE)}")
        try:
            found[name] = limit(name, value)
        except UsageError as error:
            raise UsageError(f"--limit {name} {error}") from error
    limits.configure(found)


def _run(
    options: _Options,
    place: Place,
    lock: int,
    listener: socket.socket,
    *,
    log: str | None,
    ready: Callable[[], None],
) -> None:
    """Serve. Everything heavy is imported here, after the descriptors are safe; a failure leaves no socket behind.

    Raises UsageError, or RendezvousError for the log.
    """
    import asyncio

    from mux.backend import logs
    from mux.backend.resolve import duration, resolve
    from mux.backend.serve import Backend
    from mux.core.pool import Pool
    from mux.rendezvous.listener import inode, unlink_own

    own = inode(place.socket)
    try:
        _set_limits(options.limits)
        logs.open_log(log)
        _raise_descriptor_limit()
        grace = GRACE_SECONDS if options.grace is None else duration(options.grace, "grace")
        core = Pool(grace=grace, entropy=_random_below)
        given = [] if options.grace is None else ["--grace", options.grace]
        given += [word for entry in options.limits for word in ("--limit", entry)]
        backend = Backend(place, lock, listener, core=core, resolve=resolve, ready=ready, options=given)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(backend.run())
    finally:
        unlink_own(place.socket, own)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop where it is installed: PyPy and others have none."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _random_below(ceiling: int) -> int:
    """An integer in [0, ceiling) that nobody can guess. `secrets` would do it with ten modules."""
    return int.from_bytes(os.urandom(16), "little") % ceiling


def _raise_descriptor_limit() -> None:
    """As many sessions as the kernel allows; servers get their session's own limits back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # macOS: the hard limit may be above what the kernel gives
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _default_signals() -> None:
    """Nothing of what a starter ignores or blocks: an ignored SIGCHLD would lose the servers' exit codes.

    SIGINT too: as an exception in the midst of a start it would pass for a reason not to try again.
    """
    for number in signal.valid_signals() - _PYTHON_IGNORES - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


if __name__ == "__main__":
    sys.exit(main())
