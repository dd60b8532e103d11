"""Deadlines by name. The earliest one is known without a search; setting a name again replaces its deadline."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable


class Timers:
    """A heap with lazy removal: `deadline` is amortised O(1), `set` O(log n)."""

    __slots__ = ("_count", "_heap", "_when")

    def __init__(self) -> None:
        self._when: dict[Hashable, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._count = 0

    def set(self, name: Hashable, when: float) -> None:
        """Let `name` fall due at `when`, instead of any time set before."""
        self._count += 1
        self._when[name] = (when, self._count)
        heapq.heappush(self._heap, (when, self._count, name))

    def cancel(self, name: Hashable) -> None:
        """Forget `name`; harmless if it is not set."""
        self._when.pop(name, None)

    def deadline(self) -> float | None:
        """The earliest deadline, or None."""
        heap = self._heap
        while heap:
            when, count, name = heap[0]
            if self._when.get(name) == (when, count):
                return when
            heapq.heappop(heap)
        return None

    def due_at(self, name: Hashable) -> float:
        """When `name` falls due; never, if it is not set."""
        return self._when.get(name, (float("inf"), 0))[0]

    def due(self, now: float) -> list[Hashable]:
        """Take out and return every name whose deadline has come, earliest first."""
        names: list[Hashable] = []
        while (when := self.deadline()) is not None and when <= now:
            name = heapq.heappop(self._heap)[2]
            del self._when[name]
            names.append(name)
        return names

    def __contains__(self, name: Hashable) -> bool:
        return name in self._when

    def __len__(self) -> int:
        return len(self._when)
