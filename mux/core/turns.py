"""Calls that may ask, one session at a time. MCP 2025-11-25, "Client features": on stdio a question names no call.

Once a shared server has asked something that could have been anybody's, calls during which it may ask take turns by
session, so that the next question has one possible owner. Lists and reads go on beside them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mux.core.methods import MAY_ASK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mux.core.session import Call, Session


class Turns:
    """needed: the server is known to ask. waiting: calls whose turn has not come, each with its deadline."""

    __slots__ = ("needed", "waiting")

    def __init__(self) -> None:
        self.needed = False
        self.waiting: deque[tuple[float, Call]] = deque()

    def admits(self, call: Call, flying: Iterable[Call]) -> bool:
        """Whether the call may go up now."""
        if not self.needed or call.method not in MAY_ASK:
            return True
        return not any(other.method in MAY_ASK and other.session is not call.session for other in flying)

    def wait(self, call: Call, until: float) -> None:
        """Queue the call until its turn, or `until`."""
        self.waiting.append((until, call))

    def withdraw(self, call: Call) -> bool:
        """Take out a call that is no longer wanted; False if it does not wait here."""
        for entry in self.waiting:
            if entry[1] is call:
                self.waiting.remove(entry)
                return True
        return False

    def leave(self, session: Session) -> list[Call]:
        """Take out every call of the session."""
        gone = [call for _, call in self.waiting if call.session is session]
        self.waiting = deque(entry for entry in self.waiting if entry[1].session is not session)
        return gone

    def due(self, now: float, flying: Iterable[Call]) -> list[Call]:
        """Take out the calls that may go up: the first in line if nobody else is at work, and all overdue."""
        flying = list(flying)
        ready: list[Call] = []
        for entry in list(self.waiting):
            until, call = entry
            if until <= now or self.admits(call, flying):
                self.waiting.remove(entry)
                ready.append(call)
                flying.append(call)
        return ready
