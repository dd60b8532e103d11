"""The host's end: writes to its stdout that never block, on a descriptor whose flags are not ours to change.

O_NONBLOCK belongs to the open file, which the host and its other children share. So: a socket takes MSG_DONTWAIT, a
pipe is opened once more, for us alone; where that cannot be it takes PIPE_BUF bytes after POLLOUT, which never promises
more; a file takes anything.
"""

from __future__ import annotations

import os
import stat
from select import PIPE_BUF, POLLOUT, poll

from mux.rendezvous.sockets import MSG_DONTWAIT, adopt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[memoryview], int]

_TTY_BYTES = 256
"""A terminal that is writable has room for this much: its driver wakes writers below 256 queued bytes."""


class HostGone(Exception):
    """Nobody will ever read what we write."""


class HostOutput:
    """Whole lines for `fd`, in order. `queued`: bytes not yet written."""

    __slots__ = ("_close", "_queue", "_write", "queued")

    def __init__(self, fd: int = 1) -> None:
        self._queue: list[memoryview] = []
        self.queued = 0
        self._write, self._close = _writer(fd)

    def close(self) -> None:
        """Let go of the descriptor, which is the host's and stays open."""
        self._close()

    def put(self, data: bytes) -> None:
        """Write what fits now, keep the rest. Raises HostGone."""
        self._queue.append(memoryview(data))
        self.queued += len(data)
        self.flush()

    def flush(self) -> None:
        """Write until all is written or the descriptor takes no more. Raises HostGone."""
        queue = self._queue
        while queue:
            head = queue[0]
            try:
                count = self._write(head)
            except BlockingIOError:
                return
            except OSError as error:
                raise HostGone from error
            self.queued -= count
            if count == len(head):
                del queue[0]
            else:
                queue[0] = head[count:]


def _writer(fd: int) -> tuple[Write, Callable[[], object]]:
    """What writes to `fd` and never blocks, raising BlockingIOError instead; and what lets go of it."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        sock = adopt(fd)
        return lambda data: sock.send(data, MSG_DONTWAIT), sock.detach
    if stat.S_ISREG(mode):
        return lambda data: os.write(fd, data), bool
    own = _opened_again(fd) if stat.S_ISFIFO(mode) else None
    if own is not None:
        return lambda data: os.write(own, data), lambda: os.close(own)
    return _careful(fd, _TTY_BYTES if os.isatty(fd) else PIPE_BUF), bool


def _opened_again(fd: int) -> int | None:
    """Another open file of the same pipe, with flags of its own; None where the system has none, or refuses."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


def _careful(fd: int, step: int) -> Write:
    """Writes no more than `step` bytes, and only where there is room for them."""
    room = poll()
    room.register(fd, POLLOUT)

    def write(data: memoryview) -> int:
        if not room.poll(0):
            raise BlockingIOError
        return os.write(fd, data[:step])

    return write
