"""Backends that die one after another, and how long a session leaves them alone before it meets the next."""

from __future__ import annotations

import os
from struct import Struct

from mux import limits
from mux.limits import (
    BACKEND_DEATHS_SECONDS,
    BACKOFF_CEILING_SECONDS,
    CRASH_LOOP_CEILING_SECONDS,
    CRASH_LOOP_FIRST_SECONDS,
    RECONNECT_CEILING_SECONDS,
)

_DEATH = Struct("<d")


class Breaker:
    """Counts deaths in a window; times are monotonic seconds. `reason`: why nothing is tried now; "" while it is."""

    __slots__ = ("_deaths", "reason")

    def __init__(self) -> None:
        self._deaths: list[float] = []
        self.reason = ""

    def died(self, now: float) -> float:
        """A backend has died, with no word of warning; the seconds to wait before the next is met.

        The first is met at once. From BACKEND_DEATHS in the window on it is a crash loop: the wait doubles.
        """
        self._deaths = [at for at in self._deaths if now - at < BACKEND_DEATHS_SECONDS]
        self._deaths.append(now)
        count = len(self._deaths)
        beyond = count - limits.BACKEND_DEATHS
        if beyond < 0:
            self.reason = ""
            return BACKOFF_CEILING_SECONDS if count > 1 else 0.0
        seconds = min(CRASH_LOOP_FIRST_SECONDS * 2.0 ** min(beyond, 16), CRASH_LOOP_CEILING_SECONDS)
        self.reason = f"the backend was lost {count} times within a minute; it is tried again in {seconds:.0f} s"
        return seconds

    def saved(self) -> bytes:
        """What a parked session leaves for `restored`: the clock goes on for both."""
        return b"".join(map(_DEATH.pack, self._deaths))

    @classmethod
    def restored(cls, data: bytes) -> Breaker:
        """The breaker that `saved` gave, a new one if that is nothing. Raises struct.error for anything else."""
        breaker = cls()
        breaker._deaths = [at for (at,) in _DEATH.iter_unpack(data)]
        return breaker


def longer(pause: float) -> float:
    """The pause after that one, seconds."""
    return min(max(pause * 2, BACKOFF_CEILING_SECONDS), RECONNECT_CEILING_SECONDS)


def jittered(pause: float) -> float:
    """About as long, but not in step with the others."""
    return pause * (0.5 + os.urandom(1)[0] / 510)
