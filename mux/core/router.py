"""One upstream, many sessions: who gets what. Pure: lines and facts in, actions out through `emit`.

Requests go up under ids of ours and come back under the session's; nothing else of a line changes. MCP base protocol,
"Messages". The life of the process is in `lifecycle`; what a server says unasked is in `fanout`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mux import errors, limits
from mux.core import faults, lifecycle
from mux.core.actions import Acknowledge, Deliver, Dismiss, Forward, Keep
from mux.core.envelope import (
    Answer,
    Malformed,
    Notification,
    Rejected,
    Request,
    error_line,
    find_in,
    id_key,
    result_line,
    splice,
)
from mux.core.handshake import Handshake, Waiter
from mux.core.ids import Ids
from mux.core.questions import Questions
from mux.core.quota import Quota
from mux.core.session import Call, Session
from mux.core.session import State as SessionState
from mux.core.upstream import State, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from mux.core.actions import Action
    from mux.core.envelope import Message
    from mux.core.events import LaunchSpec
    from mux.core.timers import Timers


class Router:
    """The sessions of one key and their server.

    emit: takes each action, in order. entropy(n): a random integer in [0, n). allocate: a fresh process number.
    bare: its session never sent `initialize`; what it sends goes up as it is.
    """

    def __init__(
        self,
        number: int,
        spec: LaunchSpec,
        *,
        emit: Callable[[Action], None],
        timers: Timers,
        entropy: Callable[[int], int],
        allocate: Callable[[Router], int],
        bare: bool = False,
    ) -> None:
        self.number = number
        self.spec = spec
        self.emit = emit
        self.timers = timers
        self.entropy = entropy
        self.allocate = allocate
        self.bare = bare
        self.sessions: dict[int, Session] = {}
        self.upstream = Upstream()
        self.handshake = Handshake()
        self.quota = Quota()
        self.ids = Ids(self.first_id())
        self.questions = Questions(self.first_id())
        self.early: list[bytes] = []
        self.dropped = 0
        self.grace = 0.0

    def first_id(self) -> int:
        """Where ids of a generation start: at random, so that an answer to the generation before matches nothing."""
        return limits.UPSTREAM_ID_FLOOR + self.entropy(limits.UPSTREAM_ID_CEILING - limits.UPSTREAM_ID_FLOOR)

    # --- sessions ---------------------------------------------------------------------------

    def join(self, session: Session) -> None:
        """Take the session in; nothing is started for it yet."""
        session.enter(SessionState.PINNED)
        session.router = self
        self.sessions[session.id] = session
        self.grace = max(self.grace, session.grace)

    def leave(self, session: Session, now: float) -> None:
        """The session is gone: withdraw what it waits for, refuse what it was asked. MCP "Cancellation"."""
        del self.sessions[session.id]
        session.router = None
        self.quota.clear(session)
        self.handshake.waiters = [w for w in self.handshake.waiters if w.session is not session]
        for call in session.open_calls():
            if call.uid:
                self._cancel_upstream(call, now, b"the client is gone")
        session.calls.clear()
        self.ids.leave(session)
        for question in self.questions.leave(session):
            self.send_up(error_line(question.server_id, errors.INTERNAL_ERROR, "The client that was asked is gone."))
        self.pump(now)

    @property
    def idle(self) -> bool:
        """Whether no session waits for anything."""
        return not self.handshake.waiters and all(not s.calls for s in self.sessions.values())

    # --- from a host ------------------------------------------------------------------------

    def host(self, session: Session, seq: int, message: Message, now: float) -> None:
        """One message of a host."""
        if isinstance(message, Request):
            special = _REQUESTS.get(message.method)
            if special is None:
                self.call(session, seq, message, now)
            else:
                special(self, session, seq, message, now)
        elif isinstance(message, Notification):
            self._notification(session, seq, message, now)
        elif isinstance(message, Answer):
            self._answer(session, seq, message)
        else:
            self.reject(session, seq, message)

    def reject(self, session: Session, seq: int, rejected: Rejected) -> None:
        """A line that is no message: an error to its sender, nothing to the server."""
        self.emit(Deliver(session.id, seq, error_line(rejected.id, rejected.code, rejected.reason)))

    def call(self, session: Session, seq: int, request: Request, now: float, *, again: bool = False) -> None:
        """A request for the server: now, or when its turn comes."""
        call = Call(session, seq, request, id_key(request.id))
        call.replayed = again
        session.register(call)
        if self.upstream.state is State.READY and self.quota.admits(session):
            self._send(call)
            return
        if self.upstream.state is State.FAILED:
            self._fail(call, faults.unavailable(call.id, self.spec.argv, self.upstream.last_error))
        elif not self.quota.wait(call):
            self._fail(call, faults.overloaded(call.id))
        elif self.upstream.state is not State.READY:
            lifecycle.need(self, now)

    def _send(self, call: Call) -> None:
        session = call.session
        try:
            line = self.ids.send(call)
        except Malformed as error:
            self._fail(call, error_line(call.id, errors.INVALID_REQUEST, f"This request is ambiguous: {error}."))
            return
        self.quota.take(session)
        self.emit(Forward(self.upstream.process, line))

    def pump(self, now: float) -> None:
        """Send up what waits, as far as the limits allow."""
        if not self.quota.ring:
            return
        if self.upstream.state is not State.READY:
            lifecycle.need(self, now)
            return
        while (call := self.quota.next()) is not None:
            self._send(call)

    def _fail(self, call: Call, line: bytes) -> None:
        self.finish(call)
        self.emit(Deliver(call.session.id, call.seq, line))

    def fail(self, call: Call, line: bytes) -> None:
        """Answer a request with an error of ours; `line` is that answer."""
        self._fail(call, line)
        self.rest(call.session)

    def finish(self, call: Call) -> None:
        """The request has its answer, or will get none."""
        call.session.forget(call)

    def rest(self, session: Session) -> None:
        """After the host's end of input: dismiss the session once nothing is open."""
        if session.state is SessionState.ENDING and not session.calls:
            waits = any(w.session is session for w in self.handshake.waiters)
            if not waits:
                self.emit(Dismiss(session.id))

    def _initialize(self, session: Session, seq: int, request: Request, now: float) -> None:
        if self.bare:
            self.call(session, seq, request, now)
            return
        self.handshake.propose(request)
        if self.handshake.known:
            self.welcome(Waiter(session, seq, request.id))
            return
        if self.upstream.state is State.FAILED:
            line = faults.unavailable(request.id, self.spec.argv, self.upstream.last_error)
            self.emit(Deliver(session.id, seq, line))
            return
        self.handshake.waiters.append(Waiter(session, seq, request.id))
        lifecycle.need(self, now)

    def welcome(self, waiter: Waiter) -> None:
        """Give the kept answer to a session. Its line is kept by the shim, to rebuild the session from."""
        self.emit(Keep(waiter.session.id, waiter.seq))
        self.emit(Deliver(waiter.session.id, waiter.seq, self.handshake.answer_for(waiter.id)))

    def _ping(self, session: Session, seq: int, request: Request, now: float) -> None:
        if self.upstream.state is State.READY or self.bare:
            self.call(session, seq, request, now)
        else:
            self.emit(Deliver(session.id, seq, result_line(request.id)))

    def _discover(self, session: Session, seq: int, request: Request, _now: float) -> None:
        line = error_line(request.id, errors.METHOD_NOT_FOUND, "Method not found")
        self.emit(Deliver(session.id, seq, line))

    # --- notifications and answers of a host ------------------------------------------------

    def _notification(self, session: Session, seq: int, message: Notification, now: float) -> None:
        method = message.method
        if method == "notifications/initialized":
            self.emit(Keep(session.id, seq))
            self.handshake.spoken = True
            lifecycle.announce(self)
            return
        if method == "notifications/cancelled":
            self._cancelled(session, message, now)
        elif method != "notifications/progress" or self._is_progress_of(session, message):
            self._pass_up(message)
        self.emit(Acknowledge(session.id, seq))

    def _pass_up(self, message: Notification) -> None:
        if self.upstream.state is State.READY:
            self.emit(Forward(self.upstream.process, message.line + b"\n"))
        elif self.upstream.running:
            self.early.append(message.line + b"\n")

    def _is_progress_of(self, session: Session, message: Notification) -> bool:
        try:
            span = find_in(message, b"progressToken")
        except Malformed:
            return False
        return span is not None and self.questions.gave(session, message.line[slice(*span)])

    def _cancelled(self, session: Session, message: Notification, now: float) -> None:
        """MCP "Cancellation": remapped to our id; unknown, finished or `initialize`: nothing happens."""
        try:
            span = find_in(message, b"requestId")
        except Malformed:
            return
        call = session.calls.get(id_key(message.line[slice(*span)])) if span else None
        if call is None or span is None:
            return
        if not call.uid:
            self.quota.withdraw(call)
        else:
            self.quota.release(session)
            self.ids.cancelled(call, now)
            self.emit(Forward(self.upstream.process, splice(message.line, (span, call.uid))))
        self.finish(call)
        self.emit(Acknowledge(session.id, call.seq))
        self.rest(session)
        self.pump(now)

    def _cancel_upstream(self, call: Call, now: float, reason: bytes) -> None:
        self.quota.release(call.session)
        self.ids.cancelled(call, now)
        self.send_up(
            b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b,"reason":"%b"}}\n'
            % (call.uid, reason)
        )

    def _answer(self, session: Session, seq: int, answer: Answer) -> None:
        """An answer counts only from the session that was asked."""
        question = self.questions.answered(session, answer.id)
        if question is not None:
            self.send_up(splice(answer.line, (answer.span, question.server_id)))
        self.emit(Acknowledge(session.id, seq))

    # --- from the server --------------------------------------------------------------------

    def answer(self, answer: Answer, now: float) -> None:
        """The server's answer goes to the one session that waits for it; to nobody if there is none."""
        call = self.ids.settle(answer.id, now)
        if call is None:
            if answer.id == self.handshake.uid and answer.id:
                lifecycle.opened(self, answer, now)
            return
        if call.cancelled:
            return
        session = call.session
        self.quota.release(session)
        session.forget(call)
        self.emit(Deliver(session.id, call.seq, splice(answer.line, (answer.span, call.id))))
        if session.state is SessionState.ENDING:
            self.rest(session)
        if self.quota.ring:
            self.pump(now)

    def send_up(self, line: bytes) -> None:
        """A line for the server, dropped when none is ready."""
        if self.upstream.state is State.READY:
            self.emit(Forward(self.upstream.process, line))


_REQUESTS: dict[str, Callable[[Router, Session, int, Request, float], None]] = {
    "initialize": Router._initialize,  # noqa: SLF001 - the table belongs to the class
    "ping": Router._ping,  # noqa: SLF001
    "server/discover": Router._discover,  # noqa: SLF001
}
