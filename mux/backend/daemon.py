"""`mux-backend`: the process behind a socket, started by a shim with what it inherits, or by a person on a terminal."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import resource
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mux import __version__, limits
from mux.config.values import limit
from mux.errors import MuxError, RendezvousError, UsageError
from mux.failpoints import ARMED, hit
from mux.limits import GRACE_SECONDS, LISTEN_BACKLOG
from mux.rendezvous.paths import Place, places

_PYTHON_IGNORES = {signal.SIGPIPE, signal.SIGXFSZ}
"""A write to a dead pipe must be an error here, not our end."""


def main(argv: list[str] | None = None) -> int:
    """Serve until the last session has gone and the grace is over, or until signalled.

    Exit code 0; 1 if it can not start, 2 for a wrong command line.
    """
    options = _parse(argv)
    inherited = options.inherit_lock is not None
    if inherited:
        for fd in (options.inherit_lock, options.inherit_listener, options.inherit_status):
            os.set_inheritable(fd, False)
        if ARMED:
            hit("backend.entered")
    _default_signals()
    try:
        if inherited:
            _serve_inherited(options)
        else:
            _serve_foreground(options)
    except MuxError as error:
        hint = ". `mux doctor` says what to do" if isinstance(error, RendezvousError) and "`" not in str(error) else ""
        print(f"mux-backend: {error}{hint}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
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
    for name in ("lock", "listener", "status"):
        parser.add_argument(f"--inherit-{name}", type=int, metavar="FD", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    given = [options.inherit_lock, options.inherit_listener, options.inherit_status]
    if any(fd is not None for fd in given) and (None in given or options.socket is None):
        parser.error("--inherit-lock, -listener and -status go together, with --socket")
    if given[0] is None and not options.foreground:
        parser.error("shims start the backend by themselves; to watch it, add --foreground")
    return options


def _serve_inherited(options: argparse.Namespace) -> None:
    """The starter waits at the status pipe: "ok", or the reason why there will be no backend."""
    status: int | None = options.inherit_status

    def report(message: bytes) -> None:
        nonlocal status
        if status is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(status, message)
            os.close(status)
            status = None

    try:
        place = Place(options.socket)
        listener = socket.socket(fileno=options.inherit_listener)
        listener.listen(LISTEN_BACKLOG)  # again: a peer's credentials are those of whoever did it last, not our starter
        log = Path(place.socket.removesuffix(".sock") + ".log")
        _run(options, place, options.inherit_lock, listener, log=log, ready=lambda: report(b"ok"))
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


def _serve_foreground(options: argparse.Namespace) -> None:
    from mux.rendezvous.listener import take

    _configure(options)
    place = places(options.socket)[0]
    lock, listener = take(place)

    def ready() -> None:
        print(f"mux-backend: serving {place.socket}; Ctrl-C ends it", file=sys.stderr)

    try:
        _run(options, place, lock, listener, log=None, ready=ready)
    finally:
        os.close(lock)


def _configure(options: argparse.Namespace) -> None:
    """What nobody gave on the command line, from MUX_* and the files. A shim has done this for a backend it starts."""
    from mux.config import load

    given = {name: getattr(options, name) for name in ("socket", "grace") if getattr(options, name) is not None}
    settings = load(os.environ, os.getcwd(), given)
    for complaint in settings.complaints:
        print(f"mux-backend: {complaint}", file=sys.stderr)
    options.socket, options.grace = settings.get("socket"), settings.get("grace")
    options.limit = [f"{name}={value}" for name, (value, _) in settings.limits.items()] + options.limit


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
    options: argparse.Namespace,
    place: Place,
    lock: int,
    listener: socket.socket,
    *,
    log: Path | None,
    ready: Callable[[], None],
) -> None:
    """Serve. Everything heavy is imported here, after the descriptors are safe; a failure leaves no socket behind.

    Raises UsageError, or OSError for the log.
    """
    import anyio

    from mux.backend import logs
    from mux.backend.resolve import duration, resolve
    from mux.backend.serve import Backend
    from mux.core.pool import Pool
    from mux.rendezvous.listener import inode, unlink_own

    own = inode(place.socket)
    try:
        _set_limits(options.limit)
        logs.open_log(log)
        _raise_descriptor_limit()
        grace = GRACE_SECONDS if options.grace is None else duration(options.grace, "grace")
        core = Pool(grace=grace, entropy=secrets.randbelow)
        given = [] if options.grace is None else ["--grace", options.grace]
        given += [word for entry in options.limit for word in ("--limit", entry)]
        backend = Backend(place, lock, listener, core=core, resolve=resolve, ready=ready, options=given)
        anyio.run(backend.run, backend_options={"use_uvloop": importlib.util.find_spec("uvloop") is not None})
    finally:
        unlink_own(place.socket, own)


def _raise_descriptor_limit() -> None:
    """As many sessions as the kernel allows; servers get their session's own limits back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # macOS: the hard limit may be above what the kernel gives
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _default_signals() -> None:
    """Nothing of what a starter ignores or blocks: an ignored SIGCHLD would lose the servers' exit codes."""
    for number in signal.valid_signals() - _PYTHON_IGNORES - {signal.SIGKILL, signal.SIGSTOP, signal.SIGINT}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


if __name__ == "__main__":
    sys.exit(main())
