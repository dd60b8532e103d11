"""Calls that may ask, one session at a time. MCP 2025-11-25, "Client features": on stdio a question names no call.

Once a shared server has asked something that could have been anybody's, calls during which it may ask take turns by
session, so that the next question has one possible owner. Lists and reads go on beside them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mux.core.methods import MAY_ASK

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from mux.core.session import Call, Session
    from mux.core.timers import Timers


class Turns:
    """needed: the server is known to ask. waiting: calls whose turn has not come, each with its deadline, in order."""

    __slots__ = ("needed", "waiting")

    def __init__(self) -> None:
        self.needed = False
        self.waiting: deque[tuple[float, Call]] = deque()

    def admits(self, call: Call, ahead: Iterable[Call], *, ready: bool) -> bool:
        """Whether the call needs no turn or has it. ahead: what goes before it; ready: whether the server is."""
        if call.method not in MAY_ASK:
            return True
        return ready and not self.waiting and _alone(call, ahead)

    def wait(self, call: Call, until: float) -> None:
        """Queue the call until its turn, or `until`; no earlier than that of any call before."""
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

    def due(self, now: float, ahead: Iterable[Call]) -> list[Call]:
        """Take out the calls that may go up: all overdue, and the next in line that can be at work together."""
        ahead = list(ahead)
        ready: list[Call] = []
        while self.waiting:
            until, call = self.waiting[0]
            if until > now and not _alone(call, ahead):
                break
            self.waiting.popleft()
            ready.append(call)
            ahead.append(call)
        return ready

    def arm(self, timers: Timers, name: Hashable, expiry: float) -> None:
        """Let `name` fall due when the first in line need not wait any longer; expiry: of what may stand before it."""
        if self.waiting:
            timers.set(name, min(self.waiting[0][0], expiry))
        else:
            timers.cancel(name)


def _alone(call: Call, ahead: Iterable[Call]) -> bool:
    return not any(other.method in MAY_ASK and other.session is not call.session for other in ahead)
