"""A quiet shim becomes `/bin/sh`, which costs a tenth of a megabyte and waits for one byte, or for the end of it.

The backend polls the host's stdin meanwhile. The shell then runs `mux.shim.wake` on what was left in a nameless file.
"""

from __future__ import annotations

import fcntl
import os
import sys
from select import POLLIN, poll

import mux
from mux.errors import MuxError, RendezvousError
from mux.limits import PARK_ANSWER_SECONDS, PARK_UPGRADE_SECONDS, READ_BYTES
from mux.rendezvous import peer
from mux.rendezvous.sockets import send_descriptor, unix_stream
from mux.shim.saved import CONTROL, SAVED, save
from mux.shim.session import SHELL
from mux.wire.frames import HELLO, PARKED, ROLE_PARK, WELCOME, FrameReader, Hello, frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal

    from mux.rendezvous.sockets import Socket
    from mux.shim.breaker import Breaker
    from mux.shim.journal import Journal
    from mux.shim.session import Session
else:
    import _signal

STDIN = 0
_WAIT = (
    f'read -r x <&{CONTROL}; n=0; until [ -x "$1" ] || [ $((n+=1)) -gt {PARK_UPGRADE_SECONDS} ]; '
    f'do PATH=/bin:/usr/bin sleep 1 0<&- 1>&- 2>&- {CONTROL}>&- {SAVED}>&-; done; exec "$@"'
)
"""An upgrade may have taken the interpreter away for a moment: an `exec` that fails would end the shell."""

_WAKE = f"""\
# mux-shim, awake again
import _signal, select, sys
_signal.signal(2, _signal.SIG_DFL)
sys.path.append(sys.argv.pop(1))
waiter = select.poll()
waiter.register(0, 0)
for left in reversed(range({PARK_UPGRADE_SECONDS})):
    try:
        from mux.shim.wake import main
        break
    except (ImportError, SyntaxError, OSError):
        if not left or waiter.poll(1000):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "mux"]:
            del sys.modules[name]
        sys.path_importer_cache.clear()
sys.exit(main())
"""
"""The same for the package, while the interpreter is there; a host that hangs up is not waited for."""

_DROPPED = ("BASH_FUNC_", "BASHOPTS=", "SHELLOPTS=")
"""A bash that is `sh` would run functions of the environment in place of what the script names."""

_FIRST_FREE = 10


def park(control: Socket, session: Session, identity: bytes, journal: Journal, breaker: Breaker) -> None:
    """Answer PARK with PARKED and become the shell. Returns where that is not possible: then the shim is awake.

    Nothing is on its way to the backend or the host, and all that the backend has said is read.
    """
    try:
        if session.sleepless or _input_waits():
            return
        path = control.getpeername()
        saved = save(os.path.dirname(path), session, identity, journal, breaker)
        try:
            _hand_over(path, identity)
            control.settimeout(PARK_ANSWER_SECONDS)
            control.sendall(frame(PARKED))
            control.setblocking(True)
            session.sleepless = True
            _become_shell(control.fileno(), saved, session)
        finally:
            os.close(saved)
            control.setblocking(False)
    except (OSError, MuxError):
        return


def _input_waits() -> bool:
    waiter = poll()
    waiter.register(STDIN, POLLIN)
    return bool(waiter.poll(0))


def _hand_over(path: str, identity: bytes) -> None:
    """Give the backend a duplicate of stdin, to poll. Raises OSError or MuxError if it does not take it."""
    sock = unix_stream()
    try:
        sock.settimeout(PARK_ANSWER_SECONDS)
        sock.connect(path)
        if not peer.may_hear(sock, path):
            raise RendezvousError("not known whose it is")
        hello = Hello(role=ROLE_PARK, version=mux.__version__.encode(), session=identity)
        send_descriptor(sock, frame(HELLO, hello.encode()), STDIN)
        reader = FrameReader()
        while data := sock.recv(READ_BYTES):
            for kind, *_ in reader.feed(data):
                if kind != WELCOME:
                    raise RendezvousError("refused")
                return
        raise RendezvousError("no answer")
    finally:
        sock.close()


def _become_shell(control: int, saved: int, session: Session) -> None:
    """Raises OSError if it can not be; all is as it was then, but for inherited descriptors that moved up."""
    wide = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE) for fd in (control, saved)]
    stood = [(fd, _set_aside(fd)) for fd in (CONTROL, SAVED)]
    _signals(_signal.SIG_DFL)
    try:
        for fd, number in zip(wide, (CONTROL, SAVED), strict=True):
            os.dup2(fd, number)
        os.execve(SHELL, _command(session), _environment())  # noqa: S606 - it is a shell
    finally:
        _signals(_signal.SIG_IGN)
        for fd in wide:
            os.close(fd)
        for number, aside in stood:
            if aside is None:
                os.close(number)
            else:
                os.dup2(aside, number, inheritable=False)
                os.close(aside)


def _set_aside(number: int) -> int | None:
    """Where what is ours at that descriptor is now; None if nothing is.

    What the host has left open there stays open, at a higher number: its other end may be watched.
    """
    try:
        if os.get_inheritable(number):
            fcntl.fcntl(number, fcntl.F_DUPFD, _FIRST_FREE)
            return None
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
    except OSError:
        return None


def _signals(disposition: _signal.Handlers) -> None:
    """Those that Python ignores."""
    for name in ("SIGPIPE", "SIGXFSZ"):
        if number := getattr(_signal, name, 0):
            _signal.signal(number, disposition)


def _command(session: Session) -> list[str]:
    name = f"mux-shim (parked) {os.fsdecode(session.hello.argv[0])}"
    package = os.path.dirname(os.path.dirname(os.path.abspath(mux.__file__)))
    return ["sh", "-c", _WAIT, name, sys.executable, "-I", "-S", "-c", _WAKE, package, *sys.argv[1:]]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not f"{name}=".startswith(_DROPPED)}
