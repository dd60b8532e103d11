"""Bytes to whole lines, capped. Linear in the bytes fed, however they are cut.

What has been searched is never searched again: a tail holds no newline, so only new bytes are looked at. Memory is
the limit plus both edges plus one chunk, whatever a peer sends.
"""

from __future__ import annotations


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

    __slots__ = ("_dropping", "_edge", "_first", "_limit", "_tail")

    def __init__(self, limit: int, edge: int) -> None:
        if not 0 <= 2 * edge <= limit:
            raise ValueError(f"two edges of {edge} bytes do not fit a limit of {limit}")
        self._limit = limit
        self._edge = edge
        self._tail = bytearray()  # while dropping: the end of the line, at least `edge` bytes of it
        self._first = b""
        self._dropping = False

    def feed(self, data: bytes) -> list[bytes | Oversize]:
        """Return the lines that `data` completes, in order."""
        pieces = data.split(b"\n")
        tail = pieces.pop()
        lines: list[bytes | Oversize] = []
        if pieces:
            if self._tail or self._dropping:
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
        return self._take() if self._tail or self._dropping else None

    @property
    def buffered(self) -> int:
        """Bytes held of an unfinished line."""
        return len(self._first) + len(self._tail)

    def _extend(self, piece: bytes) -> None:
        tail = self._tail
        if not self._dropping:
            if len(tail) + len(piece) <= self._limit:
                tail += piece
                return
            self._dropping = True
            self._first = bytes(tail[: self._edge])
            self._first += piece[: self._edge - len(self._first)]
        tail += piece[max(0, len(piece) - self._edge) :]
        if len(tail) > 2 * self._edge:
            del tail[: len(tail) - self._edge]

    def _take(self) -> bytes | Oversize:
        tail, self._tail = self._tail, bytearray()
        if not self._dropping:
            return bytes(tail)
        first, self._first = self._first, b""
        self._dropping = False
        return Oversize(first + bytes(tail[max(0, len(tail) - self._edge) :]))

    def _cut(self, line: bytes) -> Oversize:
        return Oversize(line[: self._edge] + line[len(line) - self._edge :])
