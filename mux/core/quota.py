"""Whose request goes to the server next: limits per session and upstream, round robin over those that wait."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mux import limits

if TYPE_CHECKING:
    from mux.core.session import Call, Session


class Quota:
    """Counts what is at the server and queues what is not. A session stands in the ring once while it waits."""

    __slots__ = ("in_flight", "ring")

    def __init__(self) -> None:
        self.in_flight = 0
        self.ring: deque[Session] = deque()

    def take(self, session: Session) -> bool:
        """Count a new request of the session as in flight, if it may go up at once."""
        flying, own = self.in_flight, session.in_flight
        if session.waiting or own >= limits.SESSION_IN_FLIGHT or flying >= limits.UPSTREAM_IN_FLIGHT:
            return False
        session.in_flight = own + 1
        self.in_flight = flying + 1
        return True

    def release(self, session: Session) -> None:
        """It was answered, or given up."""
        session.in_flight -= 1
        self.in_flight -= 1

    def wait(self, call: Call, *, first: bool = False) -> None:
        """Queue a request behind (or before) the session's others."""
        session = call.session
        if not session.waiting:
            self.ring.append(session)
        if first:
            session.waiting.appendleft(call)
        else:
            session.waiting.append(call)

    def withdraw(self, call: Call) -> None:
        """A request that waits is no longer wanted."""
        session = call.session
        session.waiting.remove(call)
        if not session.waiting:
            self.ring.remove(session)

    def clear(self, session: Session) -> list[Call]:
        """Take out all that the session has waiting."""
        calls = list(session.waiting)
        if calls:
            session.waiting.clear()
            self.ring.remove(session)
        return calls

    def next(self) -> Call | None:
        """The next request that may go up, counted as in flight; or None."""
        if self.in_flight >= limits.UPSTREAM_IN_FLIGHT:
            return None
        for _ in range(len(self.ring)):
            session = self.ring.popleft()
            if session.in_flight >= limits.SESSION_IN_FLIGHT:
                self.ring.append(session)
                continue
            call = session.waiting.popleft()
            if session.waiting:
                self.ring.append(session)
            session.in_flight += 1
            self.in_flight += 1
            return call
        return None
