"""One connection to a backend: frames out as far as the socket takes them, whole frames in. Nothing here blocks."""

from __future__ import annotations

from mux.errors import WireError
from mux.limits import READ_BYTES, SMALL_READ_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from mux.rendezvous.sockets import Socket
    from mux.shim.journal import Journal
    from mux.wire.frames import Frame, FrameReader

    class Joined(Protocol):
        """A connection that was welcomed, as mux.rendezvous.attach.Attached is."""

        sock: Socket
        session: bytes
        frames: list[Frame]
        reader: FrameReader


class Link:
    """The journal learns from it which frames left whole. `held`: the backend takes no more lines."""

    __slots__ = ("_chunk", "_journal", "_more", "_reader", "_size", "_written", "fd", "held", "sock")

    def __init__(self, joined: Joined, journal: Journal) -> None:
        self._journal = journal
        self.sock = joined.sock
        self.sock.setblocking(False)
        self._reader = joined.reader
        self._size = SMALL_READ_BYTES
        self._chunk = b""  # frames on their way, of which _written bytes have left
        self._written = 0
        self._more: Iterator[bytes] | None = None
        self.fd = self.sock.fileno()
        self.held = False

    @property
    def idle(self) -> bool:
        """Whether all that was said has left."""
        return not self._chunk and self._more is None

    @property
    def between_frames(self) -> bool:
        """Whether no part of a frame has come."""
        return not self._reader.buffered

    def say(self, chunk: bytes) -> None:
        """Send LINE frames that the journal has just made, on an idle link. Raises OSError if the backend is gone."""
        try:
            count = self.sock.send(chunk)
        except BlockingIOError:
            count = 0
        except OSError:
            self._chunk = chunk
            raise
        if count == len(chunk):
            self._journal.sent_through(self._journal.last)
        else:
            self._chunk, self._written = chunk, count

    def queue(self, frames: Iterator[bytes]) -> None:
        """Frames to be drawn, one after the other, behind what has been said and queued."""
        self._more = frames if self._more is None else _both(self._more, frames)

    def flush(self) -> None:
        """Send until all has left or the socket takes no more. Raises OSError if the backend is gone."""
        while self._chunk or self._next_chunk():
            try:
                self._written += self.sock.send(memoryview(self._chunk)[self._written :])
            except BlockingIOError:
                return
            if self._written == len(self._chunk):
                self._drop_chunk()

    def receive(self) -> list[Frame] | None:
        """The whole frames that one read completes; None if the backend is gone, or not one of ours."""
        try:
            data = self.sock.recv(self._size)
            self._size = READ_BYTES if len(data) >= SMALL_READ_BYTES else SMALL_READ_BYTES
            return self._reader.feed(data) if data else None
        except BlockingIOError:
            return []
        except (OSError, WireError):
            return None

    def hold(self) -> None:
        """Send nothing more: what has not left counts as never sent."""
        self._drop_chunk()
        self._more = None
        self.held = True

    def close(self) -> None:
        """Let go; half a frame, out or in, is void."""
        self.hold()
        self.sock.close()

    def _next_chunk(self) -> bool:
        """Draw waiting frames up to a read's worth, or one that is longer."""
        if self._more is None:
            return False
        parts: list[bytes] = []
        size = 0
        for part in self._more:
            parts.append(part)
            size += len(part)
            if size >= READ_BYTES:
                break
        else:
            self._more = None
        self._chunk = b"".join(parts)
        return bool(parts)

    def _drop_chunk(self) -> None:
        self._journal.left(self._chunk, self._written)
        self._chunk, self._written = b"", 0


def _both(first: Iterator[bytes], second: Iterator[bytes]) -> Iterator[bytes]:
    yield from first
    yield from second
