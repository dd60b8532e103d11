"""What one peer says, taken in portions: after each of them everybody else has a turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

Item = TypeVar("Item")


class Source(Protocol):
    """What can be read from later."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Portions(Generic[Item]):
    """Hands on what is put, in order: `most` items at once, more of them a turn of the loop later each time.

    Nothing is read from the source meanwhile, so no more waits here than one read has brought.
    """

    __slots__ = ("_at", "_loop", "_most", "_source", "_take", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[Sequence[Item]], object], most: int) -> None:
        self._loop = loop
        self._most = most
        self._take = take
        self._source: Source | None = None
        self._waiting: list[Item] = []
        self._at = 0  # how many of them are handed on

    def open(self, source: Source) -> None:
        """What is put was read there."""
        self._source = source

    def put(self, items: Sequence[Item]) -> None:
        """Hand on `items`, after those that wait."""
        if self._waiting:
            self._waiting += items
        elif len(items) <= self._most:
            self._take(items)
        else:
            self._waiting += items
            if self._source is not None:
                self._source.pause_reading()
            self._next()

    def finish(self) -> None:
        """Hand on all that waits, at once: nothing more will be read."""
        rest = self._waiting[self._at :]
        self.discard()
        if rest:
            self._take(rest)

    def discard(self) -> None:
        """Drop what waits, and leave the source alone: it has ended."""
        self._waiting.clear()
        self._at = 0
        self._source = None

    def _next(self) -> None:
        portion = self._waiting[self._at : self._at + self._most]
        self._at += self._most
        if self._at < len(self._waiting):
            self._loop.call_soon(self._next)
        else:
            self._waiting.clear()
            self._at = 0
            if self._source is not None:
                self._source.resume_reading()
        if portion:
            self._take(portion)
