"""Start a backend that outlives the host of its starter.

Hosts walk the tree of a child and kill it, or kill its process group, or wait until its pipes are closed. So a backend
is no descendant of the host, in no group or session of it, and holds none of its descriptors.
"""

from __future__ import annotations

import fcntl
import os
import sys

from mux.errors import StartFailed
from mux.failpoints import ARMED, VARIABLE, hit
from mux.limits import HEAP_BLOCK_BYTES, HEAP_KEPT_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Sequence
    from typing import NoReturn

    from mux.rendezvous.paths import Place
else:
    import _signal

PASSED = (b"HOME", b"USER", b"LOGNAME", b"LANG", b"TZ", os.fsencode(VARIABLE))
"""What of the starter's environment the backend gets, beside a standard PATH: it serves other sessions too."""

_GIVEN = {
    b"PATH": b"/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    b"MALLOC_MMAP_THRESHOLD_": b"%d" % HEAP_BLOCK_BYTES,
    b"MALLOC_TRIM_THRESHOLD_": b"%d" % HEAP_KEPT_BYTES,
}
"""What it gets instead of the starter's, and what glibc reads before its first allocation."""

_FIRST_FREE_FD = 3


def default_command() -> list[str]:
    """The backend in this interpreter, blind to PYTHON* variables and to the working directory."""
    return [sys.executable, "-E", "-P", "-m", "mux.backend.daemon"]


def start(
    place: Place, lock: int, listener: int, *, options: Sequence[str] = (), command: Sequence[str] | None = None
) -> int:
    """Start a backend that inherits `lock` and `listener`; the caller closes its own copies.

    Returns the read end of the status pipe: b"ok", or the reason why the backend could not start, then its end; an
    end with nothing before it is a backend that died. The lock is free as soon as a failed start is over, and its
    socket is gone, unless it was killed.
    `options` are appended to the command line. Raises StartFailed if not even a fork succeeds.
    """
    if not command and not sys.executable:
        raise StartFailed("cannot start a backend: the path of this Python interpreter is not known")
    status, inherited_status = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        os.close(status)
        os.close(inherited_status)
        raise StartFailed(f"cannot start a backend: {error.strerror}") from error
    if child == 0:
        _daemonise(place, lock, listener, inherited_status, command or default_command(), options)
    os.close(inherited_status)
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        pass  # the host ignores SIGCHLD, and so do we: the kernel has reaped it
    return status


def _daemonise(
    place: Place, lock: int, listener: int, status: int, command: Sequence[str], options: Sequence[str]
) -> NoReturn:
    """The first child: leave the host's session, fork again, end. Nothing returns from here into the caller's code."""
    try:
        if ARMED:
            hit("spawn.forked")
        os.setsid()
        if os.fork() == 0:
            _become(place, lock, listener, status, command, options)
    except BaseException as error:  # noqa: BLE001 - in a fork: whatever it is, it must end here and be told
        _give_up(place, status, f"cannot start a backend: {error}")
    os._exit(0)


def _become(
    place: Place, lock: int, listener: int, status: int, command: Sequence[str], options: Sequence[str]
) -> None:
    if ARMED:
        hit("spawn.detached")
    kept = [fcntl.fcntl(fd, fcntl.F_DUPFD, _FIRST_FREE_FD) for fd in (lock, listener, status)]
    status = kept[2]
    _close_others(kept)
    for fd in range(_FIRST_FREE_FD):
        os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is `fd`
        os.set_inheritable(fd, True)
    os.chdir("/")
    os.umask(0o077)
    _default_signals()
    names = ("--inherit-lock", "--inherit-listener", "--inherit-status")
    argv = [*command]
    for name, fd in zip(names, kept, strict=True):
        argv += (name, str(fd))
    argv += ("--socket", place.socket, *options)
    try:
        if ARMED:
            hit("spawn.exec")
        os.execve(argv[0], argv, _environment())  # noqa: S606 - no shell between
    except OSError as error:
        _give_up(place, status, f"cannot run {argv[0]}: {error.strerror}")
    os._exit(127)


def _close_others(kept: Sequence[int]) -> None:
    """Close every descriptor but `kept`, at any number: the limit may have been lowered below one that is open."""
    try:
        numbers = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        numbers = list(range(os.sysconf("SC_OPEN_MAX")))
    for fd in numbers:
        if fd not in kept:
            try:
                os.close(fd)
            except OSError:
                pass  # the descriptor of the listing itself, or one that was never open


def _default_signals() -> None:
    """No mask and no disposition of the host's: an ignored SIGTERM would make a backend that can not be stopped."""
    for number in _signal.valid_signals():
        try:
            _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # SIGKILL, SIGSTOP and what the C library keeps for itself
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def _environment() -> dict[bytes, bytes]:
    return {name: os.environb[name] for name in PASSED if name in os.environb} | _GIVEN


def _give_up(place: Place, status: int, reason: str) -> None:
    """While the lock is still ours: leave no socket behind at which nobody will answer."""
    try:
        os.unlink(place.socket)
    except OSError:
        pass  # the next starter removes it
    try:
        os.write(status, reason.encode(errors="replace"))
    except OSError:
        pass  # the starter is gone, and with it everybody who would listen
