"""Becomes a server: a script, run by path in a fresh interpreter, that puts on the server's state and calls execve.

argv: the descriptor of a socket, and the backend's pid. The socket brings what `launch.encode` writes, then its end;
it takes back "STEP ERRNO" if a step fails, and closes on exec, which is how the backend knows that the server runs.
So no value of the environment stands in an argv, and this interpreter itself runs without the session's LD_PRELOAD,
PYTHONPATH and the like.

No preexec_fn: it would run Python between vfork and exec, in a process that shares the backend's memory.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal  # the `signal` module costs 6 ms of enums


def main() -> None:
    """Never returns. Exits 127 after a reported failure."""
    control, backend = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(control, False)
    step = "read"
    try:
        fields = iter(_read(control).split(b"\0"))
        executable, cwd, umask = next(fields), next(fields), next(fields)
        argv, limits, environment = ([next(fields) for _ in range(int(next(fields)))] for _ in range(3))
        step = "follow"
        _die_with(backend)
        step = "chdir"
        os.chdir(cwd)
        os.umask(int(umask, 8))
        _limit(limits)
        _default_signals()
        step = "exec"
        os.execve(executable, argv, dict(_pairs(environment)))  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(control, f"{step} {error.errno or 0}".encode())
    except (ValueError, StopIteration, RuntimeError):
        os.write(control, f"{step} 22".encode())
    os._exit(127)


def _read(control: int) -> bytes:
    chunks: list[bytes] = []
    while chunk := os.read(control, 1 << 16):
        chunks.append(chunk)
    return b"".join(chunks)


def _die_with(backend: int) -> None:
    """Linux: SIGKILL when the backend's main thread ends; it may have ended before the call: nobody waits for us."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig, sigkill = 1, 9
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, sigkill, 0, 0, 0)
    if os.getppid() != backend:
        os._exit(127)


def _limit(limits: list[bytes]) -> None:
    """Each NAME=SOFT:HARD as far as the backend's own hard limit allows; names unknown here are skipped."""
    import resource

    for entry in limits:
        name, _, values = entry.decode().partition("=")
        which = getattr(resource, name, None)
        if not name.startswith("RLIMIT_") or which is None:
            continue
        soft, hard = (int(value) for value in values.split(":"))
        try:
            resource.setrlimit(which, (soft, hard))
        except (ValueError, OSError):
            ceiling = resource.getrlimit(which)[1]
            resource.setrlimit(which, (_within(soft, ceiling), _within(hard, ceiling)))


def _within(value: int, ceiling: int) -> int:
    """The lower of two limits, where -1 (RLIM_INFINITY) is above all."""
    if ceiling < 0 or 0 <= value < ceiling:
        return value
    return ceiling


def _default_signals() -> None:
    """What a fresh interpreter ignores goes back to default."""
    for name in ("SIGPIPE", "SIGXFSZ"):
        if number := getattr(_signal, name, 0):
            _signal.signal(number, _signal.SIG_DFL)


def _pairs(environment: list[bytes]) -> list[tuple[bytes, bytes]]:
    """(name, value) of each entry that execve can take."""
    pairs = (entry.partition(b"=") for entry in environment)
    return [(name, value) for name, equals, value in pairs if name and equals]


if __name__ == "__main__":
    main()
