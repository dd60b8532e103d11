"""`mux-shim [options] COMMAND [ARG…]`: what a host starts in place of an MCP server.

Joins the backend, or starts it, before a byte of the host's is read. Where that fails the server itself takes this
process over, with the state that the host gave: a host is never worse off than without the multiplexer.
"""

from __future__ import annotations

import os
import sys

from mux import __version__, limits
from mux.config import load
from mux.config.values import FLAGS, VALUED, checked
from mux.errors import MuxError, RendezvousError, UsageError
from mux.wire.frames import ROLE_SESSION, Hello

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Collection, Mapping, Sequence
    from typing import NoReturn

    from mux.config import Settings
    from mux.shim.session import Session
else:
    import _signal

USAGE = """\
usage: mux-shim [options] COMMAND [ARG...]

Runs the MCP server COMMAND, shared with every other session that would start the same one.

options, each also as --NAME=VALUE and as the environment variable in brackets:
  --socket PATH|NAME     the backend to meet: a path, or a name in the runtime directory [MUX_SOCKET]
  --grace TIME           keep the server this long after its last session: 30, 90s, 15m [MUX_GRACE]
  --idle-timeout TIME    stop an idle server after this long; 0: never [MUX_IDLE_TIMEOUT]
  --park-after TIME      let a quiet session sleep as a shell of 0.1 MB after this; 0: never [MUX_PARK_AFTER]
  --scope SCOPE          share within a directory, project, user or session [MUX_SCOPE]
  --clients exact|any    a server for each kind of client, or one for all of them [MUX_CLIENTS]
  --era ERA              serve only MCP up to 2025-11-25 (legacy), or from 2026-07-28 (modern); else both [MUX_ERA]
  --logs own|share       what could be any session's log message: nobody hears it, or all at work do [MUX_LOGS]
  --no-share             a server of its own for this session [MUX_NO_SHARE]
  --fallback direct|error  what to do where sharing is impossible [MUX_FALLBACK]
  --version, --help

Files: mux.toml in the project, ~/.config/mux/config.toml; `mux config` shows what applies, and why.
"""

_DOCTOR = "`mux doctor` says what to do"
_INTRODUCTION = """\
a host starts this in place of {command}, to share that server between sessions; you are at a terminal:
mux-shim: type one JSON-RPC message a line, Ctrl-D ends it; `mux-shim --help` lists the options"""

INSIDE = b"MUX_INSIDE"
"""A backend sets it for its servers: the keys above. Passed on, so that a server that starts itself is noticed."""


def main() -> int:
    """Entry point; the exit code. Does not return where the server takes the process over."""
    interrupt = _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # before all else: no signal leaves a traceback
    try:
        options, command = parse(sys.argv[1:])
        if options is None:
            print(USAGE if command == ["--help"] else f"mux-shim {__version__}", flush=True)
            return 0
    except UsageError as error:
        _complain(f"{error}\nmux-shim: `mux-shim --help` lists the options")
        return 2
    if sys.platform == "win32":
        return _run_beside(command)
    _open_standard_descriptors()
    if os.isatty(0):
        _complain(_INTRODUCTION.format(command=command[0]))
    settings = _settings(options, command)
    try:
        session = _session(settings, command)
        attached = session.attach(b"", 0.0, _load_and_wait)
    except (MuxError, OSError) as error:
        if settings.get("fallback") == "error":
            _complain(f"{command[0]} is not started, as fallback = error asks: {error}. {_DOCTOR}")
            return 1
        _complain(f"running {command[0]} directly, not shared: {error}. {_DOCTOR}")
        _become(command, interrupt)
    from mux.shim.relay import Relay

    return Relay(attached, session.attach, session.park).run()


def parse(arguments: Sequence[str]) -> tuple[dict[str, str] | None, list[str]]:
    """(options, COMMAND and its arguments); (None, [--help or --version]) where only a text is asked for.

    Options stand before COMMAND; one `--` may. Times come out in seconds. Raises UsageError.
    """
    options: dict[str, str] = {}
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        word = arguments[at]
        at += 1
        if word == "--":
            break
        if word in ("--help", "-h", "--version"):
            return None, ["--version" if word == "--version" else "--help"]
        name, separator, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in (*VALUED, *FLAGS):
            raise UsageError(f"unknown option {word}: options stand before COMMAND")
        if name in FLAGS:
            if separator:
                raise UsageError(f"--{name} takes no value")
            value = "1"
        elif not separator:
            if at == len(arguments):
                raise UsageError(f"--{name} needs a value")
            value = arguments[at]
            at += 1
        options[name] = _checked(name, value)
    if at == len(arguments):
        raise UsageError("no COMMAND: put the MCP server's own command line after the options")
    return options, list(arguments[at:])


def _checked(name: str, value: str) -> str:
    """`value` in its plain form. Raises UsageError that says what is allowed."""
    try:
        return checked(name, value)
    except UsageError as error:
        raise UsageError(f"--{name} {error}") from error


def _settings(options: Mapping[str, str], command: Sequence[str]) -> Settings:
    """What applies here. Whatever is malformed is named and does not count: a typo must cost no session its server."""
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = None
    settings = load(os.environ, cwd, options, command)
    for complaint in settings.complaints:
        _complain(complaint)
    limits.configure({name: value for name, (value, _) in settings.limits.items()})
    return settings


def _open_standard_descriptors() -> None:
    """Those of 0, 1 and 2 that the host has closed, on /dev/null: a socket of ours must never be taken for one."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def _session(settings: Settings, command: Sequence[str]) -> Session:
    """Raises RendezvousError if there is no directory to be in."""
    from mux.shim.session import Session, can_park

    socket = settings.get("socket")
    if socket is not None and "/" in socket:
        socket = os.path.abspath(socket)
    park_after = (settings.get("park-after") or str(limits.PARK_SECONDS)) if can_park() else "0"
    hello = _introduction([*settings.hello(), f"park-after={park_after}"], command)
    chosen = {name: value for name, (value, _) in settings.limits.items()}
    return Session(hello, socket, list(settings.backend()), chosen)


def _introduction(options: Sequence[str], command: Sequence[str]) -> Hello:
    """HELLO as it is sent at every attach. Raises RendezvousError if there is no directory to be in."""
    import resource

    try:
        cwd = os.getcwdb()
    except OSError as error:
        raise RendezvousError("the working directory is gone") from error
    umask = os.umask(0o077)
    os.umask(umask)
    limits = []
    for name in dir(resource):
        if name.startswith("RLIMIT_"):
            soft, hard = resource.getrlimit(getattr(resource, name))
            limits.append(f"{name}={_or_minus_one(soft)}:{_or_minus_one(hard)}".encode())
    return Hello(
        role=ROLE_SESSION,
        version=__version__.encode(),
        options=[os.fsencode(option) for option in options],
        cwd=cwd,
        argv=[os.fsencode(word) for word in command],
        environment=[name + b"=" + value for name, value in _passed_on().items()],
        umask=umask,
        limits=limits,
    )


def _load_and_wait(fds: Sequence[int], seconds: float) -> Collection[int]:
    """Wait as `attach` asks; what comes after it is loaded while the backend thinks."""
    from mux.rendezvous.attach import wait_readable
    from mux.shim import relay

    del relay
    return wait_readable(fds, seconds)


def _passed_on() -> dict[bytes, bytes]:
    """The environment without MUX_*, which is the multiplexer's and not the server's; only INSIDE goes down."""
    return {name: value for name, value in os.environb.items() if not name.startswith(b"MUX_") or name == INSIDE}


def _or_minus_one(limit: int) -> int:
    """RLIM_INFINITY is -1 on Linux already, 2^63-1 on macOS."""
    import resource

    return -1 if limit == resource.RLIM_INFINITY else limit


def _become(command: Sequence[str], interrupt: object) -> NoReturn:
    """Be the server, in the state that the host gave: Python ignores SIGPIPE and SIGXFSZ, a server must not."""
    for name in ("SIGPIPE", "SIGXFSZ"):
        if number := getattr(_signal, name, 0):
            _signal.signal(number, _signal.SIG_DFL)
    if interrupt == _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    try:
        os.execvpe(command[0], list(command), _passed_on())  # noqa: S606 - a shell would read what the host wrote
    except FileNotFoundError:
        _complain(f"{command[0]}: command not found. Install it, or give its full path in the host's configuration")
        code = 127
    except OSError as error:
        _complain(f"{command[0]}: cannot be run: {error.strerror}. `chmod +x` it, or put its interpreter before it")
        code = 126
    sys.exit(code)


def _run_beside(command: Sequence[str]) -> int:
    """Windows, where a process can not be replaced: run the server as a child on our streams; its exit code."""
    import subprocess

    _complain(f"running {command[0]} directly, not shared: the multiplexer does not share on Windows yet")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MUX_")}
    try:
        return subprocess.run(list(command), env=environment, check=False).returncode
    except OSError as error:
        _complain(f"{command[0]}: {error.strerror}")
        return 127 if isinstance(error, FileNotFoundError) else 126


def _complain(text: str) -> None:
    """One line for a person. stderr may be closed, or full and nobody there: that changes nothing."""
    try:
        os.write(2, f"mux-shim: {text}\n".encode(errors="replace"))
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main())
