"""Bytes to whole lines, capped. Linear in the bytes fed, however they are cut.

What has been searched is never searched again: a tail holds no newline, so only new bytes are looked at. Memory is
the limit plus both edges plus one chunk, whatever a peer sends.
"""

from __future__ import annotations

from mux.limits import VIEW_BYTES


class Oversize:
    """A line above the limit: `edges` is its first and its last `edge` bytes, joined; what stood between is gone."""

    __slots__ = ("edges",)

    def __init__(self, edges: bytes) -> None:
        self.edges = edges

    def __repr__(self) -> str:
        return f"Oversize(<{len(self.edges)} bytes>)"


class LineBuffer:
    """Cuts a stream into lines without their newline; an unfinished one waits for more.

    limit: longest whole line, bytes. edge: what is kept of each end of a longer one, bytes; at most half the limit,
    or ValueError. Nothing else is interpreted: an empty line is a line, a carriage return is content.
    """

    __slots__ = ("_chunks", "_edge", "_first", "_held", "_limit")

    def __init__(self, limit: int, edge: int) -> None:
        if not 0 <= 2 * edge <= limit:
            raise ValueError(f"two edges of {edge} bytes do not fit a limit of {limit}")
        self._limit = limit
        self._edge = edge
        self._chunks: list[bytes | bytearray] = []  # of the unfinished line
        self._held = 0
        self._first: bytes | None = None  # of an oversize one, of whose end at least `edge` bytes are held then

    def feed(self, data: bytes) -> list[bytes | Oversize]:
        """Return the lines that `data` completes, in order."""
        # Within a long line `in` is as fast as memory, where `split` looks at byte after byte.
        pieces = data.split(b"\n") if 0x0A in data else [data]
        tail = pieces.pop()
        lines: list[bytes | Oversize] = []
        if pieces:
            if self._chunks:
                self._extend(pieces[0])
                lines.append(self._take())
                del pieces[0]
            if len(data) <= self._limit:
                lines += pieces
            else:
                lines += [piece if len(piece) <= self._limit else self._cut(piece) for piece in pieces]
        if tail:
            self._extend(tail)
        return lines

    def rest(self) -> bytes | Oversize | None:
        """Take the unfinished line, as at the end of a stream; None if the stream ended with a newline."""
        return self._take() if self._chunks else None

    @property
    def buffered(self) -> int:
        """Bytes held of an unfinished line."""
        return self._held + len(self._first or b"")

    def _extend(self, piece: bytes) -> None:
        chunks = self._chunks
        if len(piece) >= VIEW_BYTES:
            chunks.append(piece)
        elif chunks and isinstance(chunks[-1], bytearray):
            chunks[-1] += piece  # else a line that comes byte by byte would cost eight times its size
        else:
            chunks.append(bytearray(piece))
        self._held += len(piece)
        if self._held <= self._limit and self._first is None:
            return
        joined = b"".join(self._chunks)
        if self._first is None:
            self._first = joined[: self._edge]
        joined = joined[max(0, len(joined) - self._edge) :]
        self._chunks = [joined]
        self._held = len(joined)

    def _take(self) -> bytes | Oversize:
        line = b"".join(self._chunks)
        first, self._first = self._first, None
        self._chunks = []
        self._held = 0
        return line if first is None else Oversize(first + line)

    def _cut(self, line: bytes) -> Oversize:
        return Oversize(line[: self._edge] + line[len(line) - self._edge :])
