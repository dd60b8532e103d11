"""The host's bytes into whole lines. Linear in the bytes fed, however they are cut; bounded by one line's limit."""

from __future__ import annotations

from mux import limits


class Splitter:
    """Feed bytes, get whole lines without their newline. Of a line above `limit` only its two edges are kept."""

    __slots__ = ("_chunks", "_edge", "_head", "_held", "_limit")

    def __init__(self, limit: int = 0, edge: int = limits.OVERSIZE_EDGE_BYTES) -> None:
        """limit: bytes of a line, 0 for the configured ones."""
        self._limit = limit or limits.MESSAGE_BYTES
        self._edge = edge
        self._chunks: list[bytes] = []
        self._held = 0
        self._head: bytes | None = None

    @property
    def unfinished(self) -> bool:
        """Whether a line has begun and not ended."""
        return bool(self._held)

    def feed(self, data: bytes) -> tuple[list[bytes], bool]:
        """(the lines that `data` completes, whether the first of them is oversize and cut to its edges).

        `data` is at most `limit` long, so no other line of it can be oversize.
        """
        lines = data.split(b"\n") if 0x0A in data else [data]  # `in` is as fast as memory, `split` is not
        rest = lines.pop()
        oversize = False
        if lines and self._held:
            lines[0], oversize = self._finish(lines[0])
        if rest:
            self._hold(rest)
        return lines, oversize

    def end(self) -> tuple[list[bytes], bool]:
        """What `feed` would return for the missing last newline: a line that has begun is a line."""
        if not self._held:
            return [], False
        line, oversize = self._finish(b"")
        return [line], oversize

    def _hold(self, data: bytes) -> None:
        self._chunks.append(data)
        self._held += len(data)
        if self._held > self._limit:
            joined = b"".join(self._chunks)
            if self._head is None:
                self._head = joined[: self._edge]
            self._chunks = [joined[-self._edge :]]

    def _finish(self, data: bytes) -> tuple[bytes, bool]:
        self._hold(data)
        line = b"".join(self._chunks)
        head = self._head
        self._chunks = []
        self._held = 0
        self._head = None
        return (line, False) if head is None else (head + line, True)
