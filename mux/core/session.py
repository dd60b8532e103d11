"""One session of a host: its state, every transition of it, and its requests.

OPEN ── the first request decides the upstream ──> PINNED ── end of input ──> ENDING ── all answered ──> DISMISSED
The connection may go at any time: GONE.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from mux import limits
from mux.core.actions import Dismiss
from mux.core.envelope import id_key
from mux.core.methods import LISTEN
from mux.core.scan import BACKSLASH

if TYPE_CHECKING:
    from collections.abc import Callable

    from mux.core.actions import Action
    from mux.core.envelope import Answer, Notification, Request
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
    DISMISSED = "dismissed"
    GONE = "gone"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.OPEN: frozenset({State.PINNED, State.ENDING, State.GONE}),
    State.PINNED: frozenset({State.ENDING, State.GONE}),
    State.ENDING: frozenset({State.DISMISSED, State.GONE}),
    State.DISMISSED: frozenset({State.GONE}),
    State.GONE: frozenset(),
}


class Call(msgspec.Struct, eq=False):
    """One request of one session, from its line to its answer.

    key: equal for two spellings of one id. uid: the id that it has at the server, as bytes; empty while it waits for
    its turn. cancelled: nobody waits for the answer any more, but the server may still be at work for it. counted: it
    takes a place among those in flight. older: a request of the session with the same id. level: the log level that
    it asked for. watch: told of the answer, or of None if the generation ended without one; may return edits of the
    answer.
    """

    session: Session
    seq: int
    request: Request | None
    id: bytes
    key: bytes
    method: str
    watch: Watch | None = None
    uid: bytes = b""
    token: bytes = b""
    cancelled: bool = False
    replayed: bool = False
    acknowledged: bool = False
    counted: bool = False
    older: Call | None = None
    level: int | None = None


class Session:
    """State and requests of one connection.

    calls: every request that has no answer yet, newest per id; `open` counts them. guest_of: the upstream that it has
    asked for its era, as long as it is not pinned. kept: sizes of the lines that its shim keeps for subscriptions and
    listens, bytes by seq. initialize: the LINE that initialised it. answer: a digest of what it was told then; empty if
    not known. initialized: it has said that it is. outdated: it may have read lists of a process that is not there any
    more. held: its `initialize` and all after it, while the era of the server is not known. places: see SessionOpened.
    """

    __slots__ = (
        "answer",
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
        "initialize",
        "initialized",
        "kept",
        "kept_bytes",
        "open",
        "opened_at",
        "outdated",
        "places",
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
        self.places = opened.places
        self.opened_at = now
        self.state = State.OPEN
        self.router: Router | None = None
        self.guest_of: Router | None = None
        self.calls: dict[bytes, Call] = {}
        self.open = 0
        self.kept: dict[int, int] = {}
        self.kept_bytes = 0
        self.held: list[tuple[int, Request | Notification | Answer]] = []
        self.initialize = 0
        self.answer = b""
        self.initialized = False
        self.outdated = False
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

    def accept(self, seq: int, request: Request, watch: Watch | None = None) -> Call:
        """Enter a request; one with the same id that is still open stays open behind it."""
        id_ = request.id
        key = id_ if BACKSLASH not in id_ else id_key(id_)
        call = Call(self, seq, request, id_, key, request.method, watch)
        if key in self.calls:
            call.older = self.calls[key]
        self.calls[key] = call
        self.open += 1
        return call

    def forget(self, call: Call) -> None:
        """Take a request out, whatever its place among those with its id; harmless if it is out."""
        newest = self.calls.get(call.key)
        if newest is call:
            if call.older is None:
                del self.calls[call.key]
            else:
                self.calls[call.key] = call.older
            self.open -= 1
            return
        while newest is not None:
            if newest.older is call:
                newest.older = call.older
                self.open -= 1
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

    @property
    def owed(self) -> bool:
        """Whether it waits for an answer; a listen waits for ever and does not count."""
        return bool(self.held) or any(call.method != LISTEN for call in self.open_calls())

    def reserve(self, seq: int, size: int) -> bool:
        """Make room for a line that the shim may have to keep; False if it keeps too much already."""
        if len(self.kept) >= limits.KEPT_LINES or self.kept_bytes + size > limits.KEPT_BYTES:
            return False
        self.kept[seq] = size
        self.kept_bytes += size
        return True

    def unreserve(self, seq: int) -> None:
        """That line is not kept any more; harmless if it was not."""
        self.kept_bytes -= self.kept.pop(seq, 0)


def rest(session: Session, emit: Callable[[Action], None]) -> None:
    """After the host's end of input: dismiss the session once it waits for nothing."""
    if session.state is State.ENDING and not session.owed:
        session.enter(State.DISMISSED)
        emit(Dismiss(session.id))
