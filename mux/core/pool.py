"""All sessions and all upstreams of one backend: who joins which, and when each of them, and the backend, may end.

The door of the core: `handle(event, now)` returns what is to be done, in order. It never waits, never raises for what a
peer sent, and knows the time only from its caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from mux import limits
from mux.core import events, fanout, faults, lifecycle
from mux.core.actions import Acknowledge, Deliver, Dismiss, Drop, Exit, GoAway, Keep, Log, Refuse, Welcome
from mux.core.envelope import (
    Answer,
    Message,
    Notification,
    Rejected,
    Request,
    error_line,
    id_of_oversize,
    read_host,
    read_server,
    result_line,
)
from mux.core.identity import canonical_initialize
from mux.core.replay import Fate, fate
from mux.core.router import Router
from mux.core.session import Session, State
from mux.core.snapshot import PoolSnapshot, snapshot
from mux.core.timers import Timers
from mux.errors import INVALID_REQUEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from mux.core.actions import Action
    from mux.core.events import Event


class _InitializeParams(msgspec.Struct):
    capabilities: dict[str, msgspec.Raw] = {}
    client: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict[str, msgspec.Raw], name="clientInfo")


class Pool:
    """grace: seconds from the last session's leave to the backend's exit. entropy(n): a random integer in [0, n)."""

    def __init__(self, *, grace: float, entropy: Callable[[int], int]) -> None:
        self.grace = grace
        self.entropy = entropy
        self.sessions: dict[int, Session] = {}
        self.routers: dict[bytes, Router] = {}
        self.draining = False
        self.timers = Timers()
        self._processes: dict[int, Router] = {}
        self._out: list[Action] = []
        self._last_process = 0
        self._last_router = 0
        self._drain_until = 0.0
        self._unused = False
        self._handlers: dict[type, Callable[..., None]] = {
            events.SessionLine: self._session_line,
            events.ProcessLine: self._process_line,
            events.SessionOpened: self._session_opened,
            events.SessionReplay: self._session_replay,
            events.SessionReady: self._session_ready,
            events.SessionEof: self._session_eof,
            events.SessionClosed: self._session_closed,
            events.ProcessStarted: self._process_started,
            events.ProcessExited: self._process_exited,
            events.ProcessFailed: self._process_failed,
            events.Tick: self._tick,
            events.Shutdown: self._shutdown,
        }

    def start(self, now: float) -> None:
        """The backend serves from now on: without a session it leaves after the grace."""
        self.timers.set("exit", now + self.grace)

    def handle(self, event: Event, now: float) -> list[Action]:
        """What `event` at `now` (monotonic seconds) leads to."""
        self._handlers[type(event)](event, now)
        if self.draining:
            self._drained(now)
        actions = self._out[:]
        self._out.clear()
        return actions

    def deadline(self) -> float | None:
        """When a Tick is due, or None."""
        return self.timers.deadline()

    def snapshot(self, now: float) -> PoolSnapshot:
        """What `mux status` shows."""
        return snapshot(self.sessions.values(), self.routers.values(), now, draining=self.draining)

    # --- sessions ---------------------------------------------------------------------------

    def _session_opened(self, event: events.SessionOpened, now: float) -> None:
        if self.draining:
            self._out.append(Refuse(event.session, "draining", 100))
            return
        self.sessions[event.session] = Session(event, now)
        self.timers.cancel("exit")
        self._unused = False
        self._out.append(Welcome(event.session))

    def _session_line(self, event: events.SessionLine, now: float) -> None:
        session = self.sessions.get(event.session)
        if session is None or self.draining:
            return
        if event.oversize:
            self._oversize_from_host(event)
            return
        if not event.data.strip(b" \t\r"):
            self._out.append(Acknowledge(session.id, event.seq))
            return
        message = read_host(event.data)
        router = session.router
        if router is None:
            router = self._pin(session, event.seq, message)
            if router is None:
                return
        router.host(session, event.seq, message, now)

    def _pin(self, session: Session, seq: int, message: Message) -> Router | None:
        """The router of a session whose first message this is; None if the message needs none and is dealt with."""
        if isinstance(message, Rejected):
            self._out.append(Deliver(session.id, seq, error_line(message.id, message.code, message.reason)))
            return None
        if not isinstance(message, Request):
            self._out.append(Acknowledge(session.id, seq))
            return None
        if message.method == "ping":
            self._out.append(Deliver(session.id, seq, result_line(message.id)))
            return None
        if message.method == "server/discover":
            self._out.append(Deliver(session.id, seq, error_line(message.id, -32601, "Method not found")))
            return None
        bare = message.method != "initialize"
        if bare:
            lane = b"bare" + b"%d" % session.id
        else:
            params = b"" if message.params is UNSET else bytes(message.params)
            lane = b"legacy" + canonical_initialize(params)
            _read_client(session, params)
            if not session.shared:
                lane += b"%d" % session.id
        router = self.routers.get(session.base_key + lane)
        if router is None:
            router = self._new_router(session, session.base_key + lane, bare=bare)
        self.timers.cancel(("grace", router.number))
        router.join(session)
        return router

    def _new_router(self, session: Session, key: bytes, *, bare: bool) -> Router:
        self._last_router += 1
        router = Router(
            self._last_router,
            session.spec,
            emit=self._out.append,
            timers=self.timers,
            entropy=self.entropy,
            allocate=self._allocate,
            bare=bare,
        )
        self.routers[key] = router
        return router

    def _allocate(self, router: Router) -> int:
        self._last_process += 1
        self._processes[self._last_process] = router
        return self._last_process

    def _oversize_from_host(self, event: events.SessionLine) -> None:
        id_, is_request = id_of_oversize(event.data)
        if is_request or id_ is None:
            line = faults.too_large(id_ or b"null", "The client")
            self._out.append(Deliver(event.session, event.seq, line))
        else:
            self._out.append(Acknowledge(event.session, event.seq))
        self._out.append(Log("warning", "oversize-from-host", {"session": event.session}))

    def _session_replay(self, event: events.SessionReplay, now: float) -> None:
        session = self.sessions.get(event.session)
        if session is None or self.draining:
            return
        message = read_host(event.data)
        match fate(message, answered=event.answered, repeated=event.repeated):
            case Fate.FORGET:
                self._out.append(Acknowledge(session.id, event.seq))
            case Fate.UNKNOWN:
                assert isinstance(message, Request)  # the only kind with an outcome
                line = faults.outcome_unknown(message.id, "the multiplexer was restarted while it ran.")
                self._out.append(Deliver(session.id, event.seq, line))
            case Fate.SERVE:
                self._serve_again(session, event, message, now)
            case Fate.REBUILD:
                self._rebuild(session, event, message)

    def _serve_again(self, session: Session, event: events.SessionReplay, message: Message, now: float) -> None:
        router = session.router or self._pin(session, event.seq, message)
        if router is None:
            return
        if isinstance(message, Request) and message.method != "initialize":
            router.call(session, event.seq, message, now, again=True)
        else:
            router.host(session, event.seq, message, now)

    def _rebuild(self, session: Session, event: events.SessionReplay, message: Message) -> None:
        """Restore what an answered line had set, without a word to the host and without starting the server."""
        router = session.router or self._pin(session, event.seq, message)
        if router is None:
            return
        if isinstance(message, Request) and message.method == "initialize":
            router.handshake.propose(message)
        elif isinstance(message, Notification) and message.method == "notifications/initialized":
            router.handshake.spoken = True
            lifecycle.announce(router)
        self._out.append(Keep(session.id, event.seq, event.blob))

    def _session_ready(self, event: events.SessionReady, now: float) -> None:
        """Nothing to do: each REPLAY was complete in itself."""

    def _session_eof(self, event: events.SessionEof, _now: float) -> None:
        session = self.sessions.get(event.session)
        if session is None or session.state is State.ENDING:
            return
        session.enter(State.ENDING)
        if session.router is None:
            self._out.append(Dismiss(session.id))
        else:
            session.router.rest(session)

    def _session_closed(self, event: events.SessionClosed, now: float) -> None:
        session = self.sessions.pop(event.session, None)
        if session is None:
            return
        session.enter(State.GONE)
        router = session.router
        if router is not None:
            router.leave(session, now)
            if not router.sessions:
                self.timers.set(("grace", router.number), now + router.grace)
        if not self.sessions:
            self.timers.set("exit", now + self.grace)

    # --- processes --------------------------------------------------------------------------

    def _process_line(self, event: events.ProcessLine, now: float) -> None:
        router = self._processes.get(event.process)
        if router is None or router.upstream.process != event.process:
            return
        if event.oversize:
            self._oversize_from_server(router, event, now)
            return
        message = read_server(event.data)
        if isinstance(message, Answer):
            router.answer(message, now)
        elif isinstance(message, Notification):
            fanout.notification(router, message, now)
        elif isinstance(message, Request):
            fanout.request(router, message)
        elif event.data.strip():
            router.dropped += 1

    def _oversize_from_server(self, router: Router, event: events.ProcessLine, now: float) -> None:
        id_, is_request = id_of_oversize(event.data)
        self._out.append(Log("warning", "oversize-from-server", {"upstream": router.number}))
        if id_ is None or is_request:
            router.dropped += 1
            return
        call = router.ids.settle(id_, now)
        if call is not None and not call.cancelled:
            router.quota.release(call.session)
            router.fail(call, faults.too_large(call.id, "The server", faults.UNKNOWN))
            router.pump(now)

    def _process_started(self, event: events.ProcessStarted, now: float) -> None:
        router = self._processes.get(event.process)
        if router is not None and router.upstream.process == event.process and router.upstream.running:
            lifecycle.started(router, event.pid, now)

    def _process_exited(self, event: events.ProcessExited, now: float) -> None:
        router = self._processes.pop(event.process, None)
        if router is not None:
            lifecycle.exited(router, event, now)
            self._retire(router, now)

    def _process_failed(self, event: events.ProcessFailed, now: float) -> None:
        router = self._processes.pop(event.process, None)
        if router is not None:
            lifecycle.failed(router, event.reason, now)
            self._retire(router, now)

    def _retire(self, router: Router, now: float) -> None:
        """Forget a router that has neither sessions nor a process and whose grace is over."""
        if router.sessions or router.upstream.process or ("grace", router.number) in self.timers:
            return
        self.routers = {key: other for key, other in self.routers.items() if other is not router}
        self.timers.cancel((router.number, "rest"))
        if self._unused:
            self._leave_if_unused(now)

    # --- time and end -----------------------------------------------------------------------

    def _tick(self, _event: events.Tick, now: float) -> None:
        for name in self.timers.due(now):
            match name:
                case ("grace", int(number)):
                    self._grace_over(number, now)
                case (int(number), "start"):
                    self._with_router(number, lambda router: lifecycle.overdue(router, now))
                case (int(number), "rest"):
                    self._with_router(number, lambda router: lifecycle.rested(router, now))
                case _:
                    self._leave_if_unused(now)

    def _with_router(self, number: int, act: Callable[[Router], None]) -> None:
        for router in self.routers.values():
            if router.number == number:
                act(router)
                return

    def _grace_over(self, number: int, now: float) -> None:
        def end(router: Router) -> None:
            if not router.sessions:
                lifecycle.stop(router, now)

        self._with_router(number, end)
        for router in list(self.routers.values()):
            if router.number == number:
                self._retire(router, now)

    def _leave_if_unused(self, now: float) -> None:
        """Exit once neither a session nor a server is left; asked for again if the shell finds a connection waiting."""
        self._unused = not self.sessions and not self.draining
        if self._unused and not self.routers:
            self._out.append(Exit())
            self.timers.set("exit", now + max(self.grace, limits.EXIT_AGAIN_SECONDS))

    def _shutdown(self, _event: events.Shutdown, now: float) -> None:
        if self.draining:
            return
        self.draining = True
        self._drain_until = now + limits.DRAIN_SECONDS
        self.timers.set("drain", self._drain_until)
        self._out.extend(GoAway(session) for session in self.sessions)

    def _drained(self, now: float) -> None:
        """After a planned exit was asked for: leave as soon as nothing is open, or time is up."""
        if now < self._drain_until and not all(router.idle for router in self.routers.values()):
            return
        for router in self.routers.values():
            lifecycle.give_up(router, "the multiplexer is being stopped.")
        self._out.extend(Drop(session, "planned exit") for session in self.sessions)
        self._out.append(Exit())
        self._drain_until = float("inf")


def _read_client(session: Session, params: bytes) -> None:
    try:
        known = msgspec.json.decode(params, type=_InitializeParams)
        session.capabilities = frozenset(known.capabilities)
        name, version = (known.client.get(field, msgspec.Raw(b'""')) for field in ("name", "version"))
        session.client = (msgspec.json.decode(name, type=str), msgspec.json.decode(version, type=str))
    except (msgspec.DecodeError, RecursionError):
        return
