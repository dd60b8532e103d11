"""One upstream, many sessions: who gets what. Pure: lines and facts in, actions out through `emit`.

Requests go up under ids of ours and come back under the session's; nothing else of a line changes. MCP base protocol,
"Messages". The life of the process is in `lifecycle`, what a server says unasked in `fanout` and `questions`; a method
that needs more than an id has a module of its own, named in the tables at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mux import errors, limits
from mux.core import faults, levels, lifecycle, listens, questions, subscriptions, tasks
from mux.core.actions import Acknowledge, Deliver, Dismiss, Forward, Keep, Log
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
from mux.core.levels import Levels
from mux.core.methods import Era
from mux.core.neutral import adapted
from mux.core.questions import Questions
from mux.core.quota import Quota
from mux.core.session import Call, Session
from mux.core.session import State as SessionState
from mux.core.subscriptions import Subscriptions
from mux.core.tasks import Tasks
from mux.core.turns import Turns
from mux.core.upstream import State, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from mux.core.actions import Action
    from mux.core.envelope import Message
    from mux.core.events import LaunchSpec
    from mux.core.identity import Sharing
    from mux.core.lanes import Lanes
    from mux.core.session import Watch
    from mux.core.timers import Timers

LOG_LEVEL = (b"_meta", b"io.modelcontextprotocol/logLevel")
_NAME_CHARACTERS = 64
"""Of a client's own name in the log: it may be as long as a message."""


class Router:
    """The sessions of one key and their server.

    emit: takes each action, in order. entropy(n): a random integer in [0, n). allocate: a fresh process number.
    guests: sessions that only asked for its era so far. kept_until: open state of its clients needs this very process.
    active_at: when a host last said anything. changed: its lists may differ from what the hosts have seen.
    apart: why no other session may join; empty if one may. detached: it has started what is to live on.
    """

    def __init__(
        self,
        number: int,
        spec: LaunchSpec,
        era: Era,
        *,
        emit: Callable[[Action], None],
        timers: Timers,
        entropy: Callable[[int], int],
        allocate: Callable[[Router], int],
        lanes: Lanes,
        sharing: Sharing,
    ) -> None:
        self.number = number
        self.spec = spec
        self.era = era
        self.emit = emit
        self.timers = timers
        self.entropy = entropy
        self.allocate = allocate
        self.lanes = lanes
        self.sharing = sharing
        self.apart = ""
        self.sessions: dict[int, Session] = {}
        self.guests: dict[int, Session] = {}
        self.upstream = Upstream()
        self.handshake = Handshake()
        self.quota = Quota()
        self.ids = Ids(self.first_id())
        self.questions = Questions(self.first_id())
        self.levels = Levels()
        self.subscriptions = Subscriptions()
        self.tasks = Tasks(self.first_id())
        self.turns = Turns()
        self.listening: list[Call] = []
        self.probes: list[Call] = []
        self.internal: dict[bytes, Watch | None] = {}
        self.early: list[bytes] = []
        self.dropped = 0
        self.grace = 0.0
        self.kept_until = 0.0
        self.active_at = 0.0
        self.idle_timeout: float | None = None
        self.changed = False
        self.detached = False

    def first_id(self) -> int:
        """Where ids of a generation start: at random, so that an answer to the generation before matches nothing."""
        return limits.UPSTREAM_ID_FLOOR + self.entropy(limits.UPSTREAM_ID_CEILING - limits.UPSTREAM_ID_FLOOR)

    # --- sessions ---------------------------------------------------------------------------

    def join(self, session: Session) -> None:
        """Take the session in; nothing is started for it yet."""
        if session.state is not SessionState.ENDING:  # its input may end while it waits for the verdict on the era
            session.enter(SessionState.PINNED)
        self._adopt(session)

    def _adopt(self, session: Session) -> None:
        session.router = self
        self.sessions[session.id] = session
        fields: dict[str, str | int | float] = {"session": session.id, "upstream": self.number}
        if session.client[0]:
            fields |= {"host": session.client[0][:_NAME_CHARACTERS], "version": session.client[1][:_NAME_CHARACTERS]}
        self.emit(Log("info", "session.joined", fields))
        self.grace = max(self.grace, session.grace)
        if session.idle_timeout is not None:
            self.idle_timeout = session.idle_timeout

    def hand_over(self, session: Session, other: Router, now: float) -> None:
        """The session goes on at another upstream, with its `initialize` and all that waits for its answer here."""
        waiters = [waiter for waiter in self.handshake.waiters if waiter.session is session]
        calls = [*self.quota.clear(session), *self.turns.leave(session)]
        self.leave(session, now)
        if self.handshake.opening is not None:
            other.handshake.propose(self.handshake.opening)
        other.handshake.spoken = self.handshake.spoken
        other.handshake.waiters = waiters
        other._adopt(session)
        for call in calls:
            other.quota.wait(call)
        if waiters or calls:
            other.need(now)

    def invite(self, session: Session) -> None:
        """The session asks this server for its era."""
        session.guest_of = self
        self.guests[session.id] = session
        self.grace = max(self.grace, session.grace)

    def leave(self, session: Session, now: float) -> None:
        """The session is gone, or goes elsewhere: withdraw what it waits for, refuse what it was asked."""
        self.sessions.pop(session.id, None)
        self.guests.pop(session.id, None)
        self.quota.clear(session)
        self.turns.leave(session)
        self.handshake.waiters = [w for w in self.handshake.waiters if w.session is not session]
        for call in session.open_calls():
            if call.uid in self.ids.flying:
                self._cancel_upstream(call, now)
        self.ids.leave(session)
        self.tasks.leave(session)
        questions.leave(self, session)
        subscriptions.leave(self, session, now)
        levels.leave(self, session)
        self.pump(now)

    @property
    def idle(self) -> bool:
        """Whether no session waits for anything; listens wait for ever and do not count."""
        if self.handshake.waiters:
            return False
        calls = (c for s in (*self.sessions.values(), *self.guests.values()) for c in s.open_calls())
        return all(call.method == listens.METHOD for call in calls)

    # --- from a host ------------------------------------------------------------------------

    def host(self, session: Session, seq: int, message: Message, now: float) -> None:
        """One message of a host."""
        self.active_at = now
        if isinstance(message, Request):
            special = (_MODERN if self.era is Era.MODERN else _LEGACY).get(message.method)
            if special is None:
                self.call(session, seq, message, now)
            else:
                special(self, session, seq, message, now)
        elif isinstance(message, Notification):
            self._notification(session, seq, message, now)
        elif isinstance(message, Answer):
            questions.answered(self, session, message)
            self.emit(Acknowledge(session.id, seq))
        else:
            self.reject(session, seq, message)

    def reject(self, session: Session, seq: int, rejected: Rejected) -> None:
        """A line that is no message: an error to its sender, nothing to the server."""
        self.emit(Deliver(session.id, seq, error_line(rejected.id, rejected.code, rejected.reason)))

    def register(self, session: Session, seq: int, request: Request) -> Call:
        """Enter a request among those of its session."""
        call = Call(session, seq, request, id_key(request.id))
        session.register(call)
        return call

    def call(self, session: Session, seq: int, request: Request, now: float, watch: Watch | None = None) -> Call:
        """A request for the server: now, or when its turn comes."""
        call = Call(session, seq, request, id_key(request.id))
        call.watch = watch
        session.register(call)
        self.dispatch(call, now)
        return call

    def dispatch(self, call: Call, now: float) -> None:
        """Send up a request that is entered, or let it wait."""
        state = self.upstream.state
        if self.turns.needed and not self.turns.admits(call, self.ids.flying.values()):
            self.turns.wait(call, now + limits.TURN_SECONDS)
            self.timers.set((self.number, "turn"), now + limits.TURN_SECONDS)
        elif state is State.READY and self.quota.admits(call.session):
            self._send(call)
        elif state is State.FAILED:
            self.fail(call, faults.unavailable(call.id, self.spec.argv, self.upstream.last_error), now)
        elif not self.quota.wait(call):
            self.fail(call, faults.overloaded(call.id), now)
        elif state is not State.READY:
            self.need(now)

    def need(self, now: float) -> None:
        """Something waits for the server."""
        lifecycle.need(self, now)

    def _send(self, call: Call) -> None:
        if self.lift(call):
            call.counted = True
            self.quota.take(call.session)

    def lift(self, call: Call) -> bool:
        """Send the request up under an id of ours; False, and an error to its sender, if it is ambiguous."""
        try:
            if self.era is Era.MODERN and call.method != listens.METHOD:
                call.level = _log_level(call.request)
            line = self.ids.send(call)
        except Malformed as error:
            self.finish(call)
            reason = f"This request is ambiguous: {error}."
            self.emit(Deliver(call.session.id, call.seq, error_line(call.id, errors.INVALID_REQUEST, reason)))
            if call.method == listens.METHOD:
                self.emit(Acknowledge(call.session.id, call.seq))
            return False
        self.emit(Forward(self.upstream.process, line))
        return True

    def probe(self, call: Call, now: float) -> None:
        """A `server/discover` to a process whose era is open: at once, before anything else. It is entered already."""
        if self.upstream.state in (State.OPENING, State.READY):
            self.lift(call)
        else:
            self.probes.append(call)
            self.need(now)

    def pump(self, now: float) -> None:
        """Send up what waits, as far as limits and turns allow."""
        for call in self.turns.due(now, self.ids.flying.values()) if self.turns.waiting else ():
            self.quota.wait(call)
        if not self.quota.ring:
            return
        if self.upstream.state is not State.READY:
            self.need(now)
            return
        while (turn := self.quota.next()) is not None:
            self._send(turn)

    def fail(self, call: Call, line: bytes, now: float) -> None:
        """Answer a request with an error of ours; `line` is that answer."""
        if call.watch is not None:
            call.watch(None, now)
        self.finish(call)
        self.emit(Deliver(call.session.id, call.seq, line))
        if call.method == listens.METHOD:
            self.emit(Acknowledge(call.session.id, call.seq))
        self.rest(call.session)

    def finish(self, call: Call) -> None:
        """The request has its answer, or will get none."""
        call.session.forget(call)
        self.release(call)

    def release(self, call: Call) -> None:
        """The request takes no place any more."""
        if call.counted:
            call.counted = False
            self.quota.release(call.session)

    def rest(self, session: Session) -> None:
        """After the host's end of input: dismiss the session once nothing is open."""
        if session.state is SessionState.ENDING and not session.held:
            waits = any(w.session is session for w in self.handshake.waiters)
            if not waits and all(c.method == listens.METHOD for c in session.open_calls()):
                self.emit(Dismiss(session.id))

    def initialize(self, session: Session, seq: int, request: Request, now: float) -> None:
        """`initialize` of a host: up if it is the first, else the kept answer. MCP "Lifecycle"."""
        self.handshake.propose(request)
        if self.handshake.known:
            self.welcome(Waiter(session, seq, request.id))
        elif self.upstream.state is State.FAILED:
            line = faults.unavailable(request.id, self.spec.argv, self.upstream.last_error)
            self.emit(Deliver(session.id, seq, line))
        else:
            self.handshake.waiters.append(Waiter(session, seq, request.id))
            self.need(now)

    def welcome(self, waiter: Waiter) -> None:
        """Give the kept answer to a session. Its line is kept by the shim, to rebuild the session from."""
        self.emit(Keep(waiter.session.id, waiter.seq))
        line = self.handshake.answer_for(waiter.id)
        if self.lanes.neutral:
            line = adapted(line, waiter.session.version)
        self.emit(Deliver(waiter.session.id, waiter.seq, line))

    def ping(self, session: Session, seq: int, request: Request, now: float) -> None:
        """`ping` of a host: the server's to answer once it can."""
        if self.upstream.state is State.READY or self.era is Era.BARE:
            self.call(session, seq, request, now)
        else:
            self.emit(Deliver(session.id, seq, result_line(request.id)))

    # --- notifications of a host ------------------------------------------------------------

    def _notification(self, session: Session, seq: int, message: Notification, now: float) -> None:
        method = message.method
        if method == "notifications/initialized" and self.era is Era.LEGACY:
            self.emit(Keep(session.id, seq))
            self.handshake.spoken = True
            lifecycle.announce(self)
            return
        if method == "notifications/cancelled":
            self._cancelled(session, message, now)
        elif method == "notifications/tasks/status":
            line = tasks.status_from_host(self, session, message)
            if line is not None:
                self.send_up(line)
        elif method == "notifications/roots/list_changed" and self.lanes.neutral:
            pass  # the server was told of no roots
        elif method != "notifications/progress" or self._is_progress_of(session, message):
            self._pass_up(message)
        self.emit(Acknowledge(session.id, seq))

    def _pass_up(self, message: Notification) -> None:
        if self.upstream.open:
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
        """MCP "Cancellation": remapped to our id; nothing for one unknown, finished, or setting state."""
        try:
            span = find_in(message, b"requestId")
        except Malformed:
            return
        call = session.calls.get(id_key(message.line[slice(*span)])) if span else None
        if call is None or span is None or call.method in _SETS_STATE:
            return
        if call.uid in self.ids.flying:
            self.ids.cancelled(call, now)
            self.emit(Forward(self.upstream.process, splice(message.line, (span, call.uid))))
        else:
            call.cancelled = True
            if not self.turns.withdraw(call) and call in session.waiting:
                self.quota.withdraw(call)
        self.finish(call)
        self.emit(Acknowledge(session.id, call.seq))
        self.rest(session)
        self.pump(now)

    def _cancel_upstream(self, call: Call, now: float) -> None:
        self.release(call)
        self.ids.cancelled(call, now)
        cancel = (
            b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b,"reason":"client gone"}}\n'
        )
        self.send_up(cancel % call.uid)

    # --- to and from the server -------------------------------------------------------------

    def answer(self, answer: Answer, now: float) -> None:
        """The server's answer goes to the one session that waits for it; to nobody if there is none."""
        call = self.ids.settle(answer.id, now)
        if call is None:
            self._own_answer(answer, now)
            return
        edits = call.watch(answer, now) if call.watch is not None else None
        if not call.cancelled:
            session = call.session
            self.finish(call)
            if edits:
                line = splice(answer.line, (answer.span, call.id), *edits)
            else:
                line = splice(answer.line, (answer.span, call.id))
            self.emit(Deliver(session.id, call.seq, line))
            if call.method == listens.METHOD:
                self.emit(Acknowledge(session.id, call.seq))
            if session.state is SessionState.ENDING:
                self.rest(session)
        if b'"input_required"' in answer.line or (b'"taskId"' in answer.line and b'"task"' in answer.line):
            self.kept_until = now + limits.OPEN_STATE_SECONDS
        if self.quota.ring or self.turns.waiting:
            self.pump(now)
        if self.upstream.state is State.DRAINING:
            lifecycle.drained(self, now)

    def _own_answer(self, answer: Answer, now: float) -> None:
        """An answer to a request of ours; anything else matches nothing and is dropped."""
        if answer.id == self.handshake.uid and answer.id:
            lifecycle.opened(self, answer, now)
        elif answer.id in self.internal:
            watch = self.internal.pop(answer.id)
            if watch is not None:
                watch(answer, now)
        else:
            self.dropped += 1

    def send_up(self, line: bytes) -> None:
        """A line for the server, dropped when none is ready."""
        if self.upstream.open:
            self.emit(Forward(self.upstream.process, line))

    def request_up(self, method: bytes, params: bytes, watch: Watch | None = None) -> bool:
        """A request of ours; False, and nothing sent, when the server is not ready."""
        if not self.upstream.open:
            return False
        uid = self.ids.allocate()
        self.internal[uid] = watch
        self.send_up(b'{"jsonrpc":"2.0","id":%b,"method":"%b","params":%b}\n' % (uid, method, params))
        return True


def _log_level(request: Request | None) -> int | None:
    if request is None or b"logLevel" not in request.line:
        return None
    span = find_in(request, *LOG_LEVEL)
    return levels.RANKS.get(request.line[slice(*span)]) if span else None


_SETS_STATE = frozenset({"initialize", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"})

_LEGACY: dict[str, Callable[[Router, Session, int, Request, float], object]] = {
    "initialize": Router.initialize,
    "logging/setLevel": levels.set_level,
    "ping": Router.ping,
    "resources/subscribe": subscriptions.change,
    "resources/unsubscribe": subscriptions.change,
    "tasks/cancel": tasks.use,
    "tasks/get": tasks.use,
    "tasks/list": tasks.list_,
    "tasks/result": tasks.use,
    "tools/call": tasks.call,
}

_MODERN: dict[str, Callable[[Router, Session, int, Request, float], object]] = {
    "subscriptions/listen": listens.listen,
}
