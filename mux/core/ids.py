"""Request ids and progress tokens of one upstream. MCP base protocol, "Requests", "Progress", "Cancellation".

Ids sent up are one growing integer, never reused in a generation and below 2^53: TypeScript servers answer no larger
or fractional ones, Python servers confuse "7" and 7. The same integer is the progress token of its request.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from mux.core.envelope import find_token, renamed, splice
from mux.core.methods import REPEATABLE
from mux.core.scan import Malformed
from mux.limits import CANCELLED_SECONDS, ID_BYTES, TOMBSTONE_SECONDS, TOMBSTONES

if TYPE_CHECKING:
    from collections.abc import Collection

    from mux.core.session import Call, Session


class Token:
    """A progress token of a request that has its answer: late progress still belongs to its session."""

    __slots__ = ("expires", "session", "token")

    def __init__(self, session: Session, token: bytes, expires: float) -> None:
        self.session = session
        self.token = token
        self.expires = expires


class Ids:
    """flying: what is at the server, by the id it has there; cancelled requests stay until their answer or expiry."""

    __slots__ = ("_cancelled", "_finished", "_lasting", "_next", "_order", "flying")

    def __init__(self, first: int) -> None:
        self._next = first
        self.flying: dict[bytes, Call] = {}
        self._finished: dict[bytes, Token] = {}
        self._lasting: dict[bytes, Token] = {}
        self._order: deque[tuple[float, bytes]] = deque()
        self._cancelled: deque[tuple[float, bytes]] = deque()

    def restart(self, first: int) -> list[Call]:
        """A new generation: ids from `first`; returns what was at the server, oldest first."""
        calls = list(self.flying.values())
        self._next = first
        self.flying.clear()
        self._finished.clear()
        self._lasting.clear()
        self._order.clear()
        self._cancelled.clear()
        return calls

    def allocate(self) -> bytes:
        """An id that no request of this generation had."""
        uid = b"%d" % self._next
        self._next += 1
        return uid

    def send(self, call: Call) -> bytes:
        """Give the request its id and return the line to send up. Raises Malformed at an ambiguous or huge token."""
        request = call.request
        assert request is not None  # only safe requests are sent twice, and they keep theirs
        token = find_token(request)
        if token is not None:
            call.token = _judged(request.line[token[0] : token[1]])
        number = self._next
        self._next = number + 1
        call.uid = uid = b"%d" % number
        self.flying[uid] = call
        if call.method not in REPEATABLE:
            call.request = None
        if call.token and token is not None:
            return splice(request.line, (request.span, uid), (token, uid))
        return renamed(request, uid)

    def settle(self, uid: bytes, now: float) -> Call | None:
        """Take out the request that was answered; its progress token is remembered for a while."""
        call = self.flying.pop(uid, None)
        if self._order or self._cancelled:
            self._expire(now)
        if call is not None and call.token and not call.cancelled:
            self._finished[uid] = Token(call.session, call.token, now + TOMBSTONE_SECONDS)
            self._order.append((now + TOMBSTONE_SECONDS, uid))
        return call

    def outlast(self, uid: bytes) -> None:
        """The progress token of a request that was answered by a task lives on with it. MCP "Tasks", "Progress"."""
        token = self._finished.pop(uid, None)
        if token is not None:
            while len(self._lasting) >= TOMBSTONES:
                del self._lasting[next(iter(self._lasting))]
            self._lasting[uid] = token

    def cancelled(self, call: Call, now: float) -> None:
        """Nobody waits for the request any more: it stays as a tombstone, for what the server still sends for it."""
        call.cancelled = True
        call.request = None
        self._expire(now)
        self._cancelled.append((now + CANCELLED_SECONDS, call.uid))

    def at_work(self, now: float) -> Collection[Call]:
        """What the server may be busy with: a cancelled request too, for a while."""
        self._expire(now)
        return self.flying.values()

    @property
    def expiry(self) -> float:
        """When the oldest tombstone goes; never, if there is none."""
        return self._cancelled[0][0] if self._cancelled else math.inf

    def progress(self, uid: bytes, now: float) -> tuple[Session, bytes] | None:
        """Whose progress token `uid` is, and how that session wrote it."""
        call = self.flying.get(uid)
        if call is not None:
            return (call.session, call.token) if call.token and not call.cancelled else None
        token = self._lasting.get(uid)
        if token is None:
            token = self._finished.get(uid)
            if token is None or token.expires <= now:
                return None
        return token.session, token.token

    def leave(self, session: Session) -> None:
        """Forget the finished tokens of a session that is gone."""
        for tokens in (self._finished, self._lasting):
            for uid in [uid for uid, token in tokens.items() if token.session is session]:
                del tokens[uid]

    def _expire(self, now: float) -> None:
        while self._order and (self._order[0][0] <= now or len(self._order) >= TOMBSTONES):
            self._finished.pop(self._order.popleft()[1], None)
        while self._cancelled and (self._cancelled[0][0] <= now or len(self._cancelled) >= TOMBSTONES):
            call = self.flying.pop(self._cancelled.popleft()[1], None)
            if call is not None and call.watch is not None:
                call.watch(None, now)


def _judged(token: bytes) -> bytes:
    """The progress token; what is neither string nor number is none, and passes as it is."""
    if token[0] not in b'"-0123456789':
        return b""
    if len(token) > ID_BYTES:
        raise Malformed(f"its progress token has more than {ID_BYTES} bytes")
    return token
