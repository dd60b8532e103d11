"""How fast sessions are heard: each as it speaks, but for one that floods while others make one call after the other.

Taking turns alone does not help those: a flood keeps every processor busy with its own host, shim and server. It is
told by its many open requests as well as by its rate: who waits for an answer before it says more is none, whatever it
says, and who has many slow calls open is none either.
"""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING

from mux import limits
from mux.limits import (
    FEW_REQUESTS,
    LINE_BYTES,
    MODEST_SECONDS,
    PACED_RATE,
    PACED_SECONDS,
    RATE_SECONDS,
)
from mux.wire.frames import LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mux.wire.frames import Frame

_NOTED_SECONDS = MODEST_SECONDS / 10
"""How exactly it is known when somebody modest has spoken."""


class Pace:
    """All sessions of a backend. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._modest: dict[Speaker, float] = {}  # when each has spoken, the latest at the end

    def join(self) -> Speaker:
        """One more session."""
        return Speaker(self)

    def note(self, who: Speaker, now: float) -> None:
        """It is modest, and has spoken."""
        self._modest.pop(who, None)
        self._modest[who] = now

    def forget(self, who: Speaker) -> None:
        """It floods, or is gone."""
        self._modest.pop(who, None)

    def busy(self, now: float) -> bool:
        """Whether somebody modest has spoken within MODEST_SECONDS."""
        return bool(self._modest) and next(reversed(self._modest.values())) > now - MODEST_SECONDS


class Speaker:
    """One session, and how much it says: lines a second, those of RATE_SECONDS ago counting a third."""

    __slots__ = ("_clock", "_noted", "_pace", "_rate", "_then")

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._clock = pace.clock
        self._rate = 0.0
        self._then = self._clock()
        self._noted = 0.0

    def pause(self, batch: Sequence[Frame], unanswered: int) -> float:
        """It says that, with so many requests open: after how many seconds the next may be taken.

        0.0 where none floods, or nobody is modest. What a shim says by itself, as after a restart, counts for nothing.
        """
        count = weight = 0
        for kind, _, _, payload in batch:
            if kind == LINE:
                count += 1
                weight += 1 + len(payload) // LINE_BYTES
        if not count:
            return 0.0
        now = self._clock()
        rate = self._rate
        if now > self._then:
            rate *= exp((self._then - now) / RATE_SECONDS)
            self._then = now
        self._rate = rate = rate + weight / RATE_SECONDS
        if unanswered + count <= FEW_REQUESTS:
            if now >= self._noted + _NOTED_SECONDS:
                self._noted = now
                self._pace.note(self, now)
            return 0.0
        if rate <= limits.FLOOD_RATE:
            return 0.0
        if self._noted:
            self._noted = 0.0
            self._pace.forget(self)
        if not self._pace.busy(now):
            return 0.0
        pause = min(weight / PACED_RATE, PACED_SECONDS)
        self._rate, self._then = 2.0 * limits.FLOOD_RATE, now + pause  # it goes on as one
        return pause

    def leave(self) -> None:
        """The session is gone."""
        self._pace.forget(self)
