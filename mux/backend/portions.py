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


def never(_portion: object) -> float:
    """Nothing holds up what comes after it."""
    return 0.0


class Portions(Generic[Item]):
    """Hands on what is put, in order: `most` items at once, more of them a turn of the loop later each time.

    `pause`: seconds that must pass after a portion before the next. Nothing is read from the source while something
    waits or a pause lasts, so no more waits here than one read has brought.
    """

    __slots__ = ("_at", "_held", "_loop", "_most", "_pause", "_source", "_take", "_waiting")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        take: Callable[[Sequence[Item]], object],
        most: int,
        pause: Callable[[Sequence[Item]], float] = never,
    ) -> None:
        self._loop = loop
        self._most = most
        self._pause = pause
        self._take = take
        self._source: Source | None = None
        self._held = False
        self._waiting: list[Item] = []
        self._at = 0  # how many of them are handed on

    def open(self, source: Source) -> None:
        """What is put was read there."""
        self._source = source

    def put(self, items: Sequence[Item]) -> None:
        """Hand on `items`, after those that wait."""
        if self._held:
            self._waiting += items
            return
        if not items:
            return
        portion = items if len(items) <= self._most else items[: self._most]
        pause = self._pause(portion)
        if pause or len(portion) < len(items):
            self._held = True
            self._waiting += items[len(portion) :]
            if self._source is not None:
                self._source.pause_reading()
            self._later(pause)
        self._take(portion)

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

    def _later(self, pause: float) -> None:
        if pause:
            self._loop.call_later(pause, self._next)
        else:
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        portion = self._waiting[self._at : self._at + self._most]
        self._at += len(portion)
        pause = self._pause(portion) if portion else 0.0
        if pause or self._at < len(self._waiting):
            self._later(pause)
        else:
            self._held = False
            self._waiting.clear()
            self._at = 0
            if self._source is not None:
                self._source.resume_reading()
        if portion:
            self._take(portion)
