"""One session of a host: its state, every transition of it, and its requests.

OPEN ── the first request decides the upstream ──> PINNED ── end of input ──> ENDING ── connection gone ──> GONE
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mux.core.envelope import Answer, Request
    from mux.core.events import LaunchSpec, SessionOpened
    from mux.core.router import Router
    from mux.core.scan import Span

    Edits = list[tuple[Span, bytes]]
    Watch = Callable[[Answer | None, float], Edits | None]


class State(Enum):
    """Where a session stands."""

    OPEN = "open"
    PINNED = "pinned"
    ENDING = "ending"
    GONE = "gone"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.OPEN: frozenset({State.PINNED, State.ENDING, State.GONE}),
    State.PINNED: frozenset({State.ENDING, State.GONE}),
    State.ENDING: frozenset({State.GONE}),
    State.GONE: frozenset(),
}


class Call:
    """One request of one session, from its line to its answer.

    uid: the id that it has at the server, as bytes; empty while it waits for its turn. cancelled: nobody waits for the
    answer any more, but the server may still be at work for it. older: a request of the session with the same id.
    counted: it takes a place among those in flight. level: the log level that it asked for. watch: told of the answer,
    or of None if the generation ended without one; may return edits of the answer.
    """

    __slots__ = (
        "acknowledged",
        "cancelled",
        "counted",
        "id",
        "key",
        "level",
        "method",
        "older",
        "replayed",
        "request",
        "seq",
        "session",
        "token",
        "uid",
        "watch",
    )

    def __init__(self, session: Session, seq: int, request: Request, key: bytes) -> None:
        self.session = session
        self.seq = seq
        self.request: Request | None = request
        self.id = request.id
        self.key = key
        self.method = request.method
        self.uid = b""
        self.token = b""
        self.cancelled = False
        self.replayed = False
        self.older: Call | None = None
        self.counted = False
        self.acknowledged = False
        self.level: int | None = None
        self.watch: Watch | None = None


class Session:
    """State and requests of one connection. calls: every request that has no answer yet, newest per id.

    guest_of: the upstream that a `server/discover` of a session went to whose era is still open. held: its `initialize`
    waits for the verdict on that era.
    """

    __slots__ = (
        "base_key",
        "calls",
        "capabilities",
        "client",
        "grace",
        "guest_of",
        "held",
        "id",
        "idle_timeout",
        "in_flight",
        "opened_at",
        "router",
        "sharing",
        "spec",
        "state",
        "version",
        "waiting",
    )

    def __init__(self, opened: SessionOpened, now: float) -> None:
        self.id = opened.session
        self.base_key = opened.base_key
        self.spec: LaunchSpec = opened.spec
        self.grace = opened.grace
        self.idle_timeout = opened.idle_timeout
        self.sharing = opened.sharing
        self.opened_at = now
        self.state = State.OPEN
        self.router: Router | None = None
        self.guest_of: Router | None = None
        self.held = False
        self.calls: dict[bytes, Call] = {}
        self.waiting: deque[Call] = deque()
        self.in_flight = 0
        self.capabilities: frozenset[str] = frozenset()
        self.client: tuple[str, str] = ("", "")
        self.version = ""

    def enter(self, state: State) -> None:
        """Change the state. A transition that the table lacks is a defect of the caller: raises RuntimeError."""
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(f"session {self.id}: no way from {self.state.value} to {state.value}")
        self.state = state

    @property
    def alive(self) -> bool:
        """Whether anything can still be delivered to it."""
        return self.state is not State.GONE

    def register(self, call: Call) -> None:
        """Enter a request; one with the same id that is still open stays open behind it."""
        call.older = self.calls.get(call.key)
        self.calls[call.key] = call

    def forget(self, call: Call) -> None:
        """Take a request out, whatever its place among those with its id."""
        newest = self.calls.get(call.key)
        if newest is call:
            if call.older is None:
                del self.calls[call.key]
            else:
                self.calls[call.key] = call.older
            return
        while newest is not None:
            if newest.older is call:
                newest.older = call.older
                return
            newest = newest.older

    def open_calls(self) -> list[Call]:
        """Every request without an answer, oldest last within an id."""
        found: list[Call] = []
        for newest in self.calls.values():
            call: Call | None = newest
            while call is not None:
                found.append(call)
                call = call.older
        return found
