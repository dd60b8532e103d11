"""One upstream, many sessions: who gets what. Pure: lines and facts in, actions out through `emit`.

Requests go up under ids of ours and come back under the session's; nothing else of a line changes. MCP base protocol,
"Messages". The life of the process is in `lifecycle`, what a host says unasked in `notices`, what a server does in
`fanout` and `questions`; a method that needs more than an id has a module of its own, named in the tables at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mux import errors, limits
from mux.core import faults, handshake, levels, lifecycle, listens, notices, questions, subscriptions, tasks
from mux.core.actions import Acknowledge, Deliver, Forward
from mux.core.envelope import Answer, Notification, Request, error_line, find_in, renamed, splice
from mux.core.handshake import Handshake
from mux.core.ids import Ids
from mux.core.levels import Levels
from mux.core.methods import LISTEN, Era
from mux.core.questions import Questions
from mux.core.quota import Quota
from mux.core.scan import Malformed
from mux.core.session import State as SessionState
from mux.core.session import rest
from mux.core.subscriptions import Subscriptions
from mux.core.tasks import Tasks
from mux.core.turns import Turns
from mux.core.upstream import State, Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mux.core.actions import Action
    from mux.core.events import LaunchSpec
    from mux.core.identity import Sharing
    from mux.core.lanes import Lanes
    from mux.core.session import Call, Session, Watch
    from mux.core.timers import Timers

LOG_LEVEL = (b"_meta", b"io.modelcontextprotocol/logLevel")


class Router:
    """The sessions of one key and their server.

    emit: takes each action, in order. entropy(n): a random integer in [0, n). allocate: a fresh process number.
    guests: sessions that only asked for its era so far. met: how many sessions this life of the server has known.
    kept_until: open state of its clients needs this very process. active_at: when a host last said anything.
    deserted_at: when its last session left. farewell: why it is halted, for its sessions; "" unless it is.
    apart: why no other session may join; empty if one may. detached: it has started what is to live on. listening,
    probes: listens and discovers that wait for the process; early: notifications that do, as lines.
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
        self.emit = emit
        self.timers = timers
        self.entropy = entropy
        self.allocate = allocate
        self.lanes = lanes
        self.sharing = sharing
        self.apart = ""
        self.sessions: dict[int, Session] = {}
        self.guests: dict[int, Session] = {}
        self.met = 0
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
        self.early_bytes = 0
        self.dropped = 0
        self.grace = 0.0
        self.kept_until = 0.0
        self.active_at = 0.0
        self.deserted_at = 0.0
        self.idle_timeout: float | None = None
        self.farewell = ""
        self.detached = False
        self.speak(era)

    def speak(self, era: Era, *, tasks: bool = True) -> None:
        """What protocol the server speaks, from now on, and whether it may make tasks of calls."""
        self.era = era
        self._special = (_METHODS[era] if tasks else _WITHOUT_TASKS[era]).get

    def first_id(self) -> int:
        """Where ids of a generation start: at random, so that an answer to the generation before matches nothing."""
        return limits.UPSTREAM_ID_FLOOR + self.entropy(limits.UPSTREAM_ID_CEILING - limits.UPSTREAM_ID_FLOOR)

    # --- from a host ------------------------------------------------------------------------

    def host(self, session: Session, seq: int, message: Request | Notification | Answer, now: float) -> None:
        """One message of a host."""
        self.active_at = now
        if isinstance(message, Request):
            special = self._special(message.method)
            if special is None:
                self.call(session, seq, message, now)
                return
            try:
                special(self, session, seq, message, now)
            except Malformed as error:
                self.emit(Deliver(session.id, seq, _ambiguous(message.id, error)))
        elif isinstance(message, Notification):
            notices.notification(self, session, seq, message, now)
        else:
            questions.answered(self, session, message)
            self.emit(Acknowledge(session.id, seq))

    def call(self, session: Session, seq: int, request: Request, now: float, watch: Watch | None = None) -> None:
        """A request for the server: now, or when its turn comes."""
        self.dispatch(session.accept(seq, request, watch), now)

    def dispatch(self, call: Call, now: float) -> None:
        """Send up a request that is entered, or let it wait."""
        state = self.upstream.state
        if state is State.READY and not self.turns.needed and self.quota.take(call.session):
            self.send(call, now)
        elif state is State.FAILED:
            self.fail(call, faults.unavailable(call.id, self.spec.argv, self.upstream.last_error), now)
        elif self.turns.needed and not self.turns.admits(call, self._ahead(now), ready=state is State.READY):
            self.turns.wait(call, now + limits.TURN_SECONDS)
            self.pump(now)
        elif state is State.READY and self.quota.take(call.session):
            self.send(call, now)
        else:
            self.quota.wait(call)
            if state is not State.READY:
                self.need(now)

    def need(self, now: float) -> None:
        """Something waits for the server."""
        lifecycle.need(self, now)

    def send(self, call: Call, now: float, *, counted: bool = True) -> None:
        """Send up a request, whoever else waits. counted: it was given a place among those in flight."""
        call.counted = counted
        try:
            if self.era is Era.MODERN and call.method != LISTEN:  # what a listen is told names the listen
                call.level = _log_level(call.request)
            line = self.ids.send(call)
        except Malformed as error:
            self.fail(call, _ambiguous(call.id, error), now)
            return
        self.emit(Forward(self.upstream.process, line))

    def probe(self, call: Call, now: float) -> None:
        """A `server/discover` to a process whose era is open: at once, before anything else. It is entered already."""
        if self.upstream.state is State.OPENING:
            self.send(call, now, counted=False)
        else:
            self.probes.append(call)
            self.need(now)

    def _ahead(self, now: float) -> Iterator[Call]:
        """What is at the server, or will be before anything that comes now."""
        yield from self.ids.at_work(now)
        for session in self.quota.ring:
            yield from session.waiting

    def pump(self, now: float) -> None:
        """Send up what waits, as far as limits and turns allow."""
        if self.subscriptions.due:
            subscriptions.proceed(self, now)
        state = self.upstream.state
        if state is not State.READY:
            if state is State.DRAINING:
                lifecycle.drained(self, now)
            elif self.quota.ring or self.turns.waiting:
                self.need(now)
            return
        if self.turns.waiting:
            for call in self.turns.due(now, self._ahead(now)):
                self.quota.wait(call)
            self.turns.arm(self.timers, (self.number, "turn"), self.ids.expiry)
        while (turn := self.quota.next()) is not None:
            self.send(turn, now)

    def withdraw(self, call: Call) -> None:
        """A request that has not gone up is no longer wanted."""
        call.cancelled = True
        self.lanes.stalled.pop(call, None)
        for waiting in (self.listening, self.probes):
            if call in waiting:
                waiting.remove(call)
        if not self.turns.withdraw(call) and call in call.session.waiting:
            self.quota.withdraw(call)

    # --- answers to a host ------------------------------------------------------------------

    def deliver(self, call: Call, line: bytes) -> None:
        """Give a request its answer."""
        session = call.session
        session.forget(call)
        if call.counted:  # `release`, without a call
            call.counted = False
            self.quota.release(session)
        self.emit(Deliver(session.id, call.seq, line))
        if call.method == LISTEN and call.seq in session.kept:
            self.acknowledge(call)
        if session.state is SessionState.ENDING:
            self.rest(session)

    def fail(self, call: Call, line: bytes, now: float) -> None:
        """Answer a request with an error of ours; `line` is that answer."""
        if call.watch is not None:
            call.watch(None, now)
        self.deliver(call, line)
        if self.subscriptions.due:
            subscriptions.proceed(self, now)

    def finish(self, call: Call) -> None:
        """The request has its answer, or will get none."""
        call.session.forget(call)
        self.release(call)

    def release(self, call: Call) -> None:
        """The request takes no place any more."""
        if call.counted:
            call.counted = False
            self.quota.release(call.session)

    def acknowledge(self, call: Call) -> None:
        """Its line is needed no more, by a rebuild neither."""
        call.session.unreserve(call.seq)
        self.emit(Acknowledge(call.session.id, call.seq))

    def rest(self, session: Session) -> None:
        """After the host's end of input: dismiss the session once nothing is open."""
        rest(session, self.emit)

    # --- to and from the server -------------------------------------------------------------

    def answer(self, answer: Answer, now: float) -> None:
        """The server's answer goes to the one session that waits for it; to nobody if there is none."""
        call = self.ids.settle(answer.id, now)
        if call is None:
            self._own_answer(answer, now)
            return
        edits = call.watch(answer, now) if call.watch is not None else None
        if not call.cancelled:
            line = splice(answer.line, (answer.span, call.id), *edits) if edits else renamed(answer, call.id)
            self.deliver(call, line)
        if self.era is Era.MODERN and _opens_state(answer.line):
            self.keep(now)
        if self.quota.ring or self.turns.waiting or self.subscriptions.due or self.upstream.state is State.DRAINING:
            self.pump(now)

    def keep(self, now: float) -> None:
        """A client holds open state of this very process: it is kept for a while. MCP 2026-07-28, "Input required"."""
        self.kept_until = now + limits.OPEN_STATE_SECONDS

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
        """An answer or a notification for the server as it is; dropped when there is none."""
        if self.upstream.process:
            self.emit(Forward(self.upstream.process, line))

    def request_up(self, method: bytes, params: bytes, watch: Watch | None = None) -> bool:
        """A request of ours; False, and nothing sent, when the server is not ready."""
        if not self.upstream.open:
            return False
        uid = self.ids.allocate()
        self.internal[uid] = watch
        self.send_up(b'{"jsonrpc":"2.0","id":%b,"method":"%b","params":%b}\n' % (uid, method, params))
        return True


def _opens_state(line: bytes) -> bool:
    return b'"input_required"' in line or (b'"taskId"' in line and b'"task"' in line)


def _ambiguous(id_: bytes, error: Malformed) -> bytes:
    """Two parsers would disagree about what this request says."""
    reason = f"This request is ambiguous, and was not sent to the server: {error}."
    return error_line(id_, errors.INVALID_REQUEST, reason)


def _log_level(request: Request | None) -> int | None:
    if request is None or b"logLevel" not in request.line:
        return None
    span = find_in(request, *LOG_LEVEL)
    return levels.RANKS.get(request.line[slice(*span)]) if span else None


_Method = Callable[[Router, "Session", int, Request, float], None]

_LEGACY: dict[str, _Method] = {
    "initialize": handshake.initialize,
    "logging/setLevel": levels.set_level,
    "ping": handshake.ping,
    "resources/subscribe": subscriptions.change,
    "resources/unsubscribe": subscriptions.change,
    "tasks/cancel": tasks.use,
    "tasks/get": tasks.use,
    "tasks/list": tasks.list_,
    "tasks/result": tasks.use,
    "tools/call": tasks.call,
}
_MODERN: dict[str, _Method] = {LISTEN: listens.listen}

_METHODS: dict[Era, dict[str, _Method]] = {
    Era.LEGACY: _LEGACY,
    Era.MODERN: _MODERN,
    Era.PROBING: _MODERN,  # a session is pinned to it only by a modern request
    Era.BARE: {},
}
_WITHOUT_TASKS: dict[Era, dict[str, _Method]] = {
    era: {method: special for method, special in table.items() if special is not tasks.call}
    for era, table in _METHODS.items()
}
