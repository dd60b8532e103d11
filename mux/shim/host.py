"""The host's end: writes to its stdout that never block, on a descriptor whose flags are not ours to change.

O_NONBLOCK belongs to the open file, which the host and its other children share. So: a socket takes MSG_DONTWAIT, a
pipe takes PIPE_BUF bytes after POLLOUT (it never promises more), a file takes anything.
"""

from __future__ import annotations

import os
import stat
from select import PIPE_BUF, POLLOUT, poll

from mux.limits import READ_BYTES
from mux.rendezvous.sockets import MSG_DONTWAIT, adopt

_TTY_BYTES = 256
"""A terminal that is writable has room for this much: its driver wakes writers below 256 queued bytes."""


class HostGone(Exception):
    """Nobody will ever read what we write."""


class HostOutput:
    """Whole lines for `fd`, in order. `queued`: bytes not yet written."""

    __slots__ = ("_fd", "_poll", "_queue", "_socket", "_step", "queued")

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._queue: list[memoryview] = []
        self.queued = 0
        self._poll = poll()
        self._poll.register(fd, POLLOUT)
        mode = os.fstat(fd).st_mode
        self._socket = adopt(fd) if stat.S_ISSOCK(mode) else None
        if stat.S_ISSOCK(mode) or stat.S_ISREG(mode):
            self._step = READ_BYTES
        else:
            self._step = _TTY_BYTES if os.isatty(fd) else PIPE_BUF

    def close(self) -> None:
        """Let go of the descriptor, which is the host's and stays open."""
        if self._socket is not None:
            self._socket.detach()

    def put(self, data: bytes) -> None:
        """Write what fits now, keep the rest. Raises HostGone."""
        self._queue.append(memoryview(data))
        self.queued += len(data)
        self.flush()

    def flush(self) -> None:
        """Write until all is written or the descriptor takes no more. Raises HostGone."""
        queue, step = self._queue, self._step
        while queue and self._poll.poll(0):
            head = queue[0]
            try:
                count = self._write(head[:step])
            except BlockingIOError:
                return
            except OSError as error:
                raise HostGone from error
            self.queued -= count
            if count == len(head):
                del queue[0]
            else:
                queue[0] = head[count:]

    def _write(self, data: memoryview) -> int:
        if self._socket is not None:
            return self._socket.send(data, MSG_DONTWAIT)
        return os.write(self._fd, data)
