"""All sessions and all upstreams of one backend: who joins which, and when each of them, and the backend, may end.

The door of the core: `handle(event, now)` returns what is to be done, in order. It never waits, never raises for what a
peer sent, and knows the time only from its caller.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mux import limits
from mux.core import events, fanout, faults, lifecycle, questions, replay
from mux.core.actions import Acknowledge, Deliver, Drop, Exit, GoAway, Halted, Log, Refuse, Welcome
from mux.core.clients import is_enveloped
from mux.core.envelope import (
    Answer,
    Notification,
    Rejected,
    Request,
    error_line,
    id_of_oversize,
    read_host,
    read_server,
    result_line,
)
from mux.core.lanes import Lanes
from mux.core.router import Router
from mux.core.session import Session, State, rest
from mux.core.snapshot import PoolSnapshot, snapshot
from mux.core.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mux.core.actions import Action
    from mux.core.events import Event
    from mux.core.methods import Era


class Pool:
    """grace: seconds from the last session's leave to the backend's exit. entropy(n): a random integer in [0, n)."""

    def __init__(self, *, grace: float, entropy: Callable[[int], int]) -> None:
        self.grace = grace
        self.entropy = entropy
        self.sessions: dict[int, Session] = {}
        self.routers: dict[bytes, Router] = {}
        self.draining = False
        self.timers = Timers()
        self._lanes: dict[bytes, Lanes] = {}
        self._processes: dict[int, Router] = {}
        self._out: list[Action] = []
        self.emit = self._out.append
        self._last_process = 0
        self._last_router = 0
        self._drain_until = 0.0
        self._left = False
        self._unused = False
        self._halted: dict[bytes, str] = {}
        self._farewell = ""
        self._handlers: dict[type, Callable[..., None]] = {
            events.SessionLine: self._session_line,
            events.ProcessLine: self._process_line,
            events.SessionOpened: self._session_opened,
            events.SessionReplay: self._session_replay,
            events.SessionReady: self._session_ready,
            events.SessionEof: self._session_eof,
            events.SessionClosed: self._session_closed,
            events.ProcessStarted: self._process_started,
            events.ProcessTree: self._process_tree,
            events.ProcessExited: self._process_exited,
            events.ProcessFailed: self._process_failed,
            events.Tick: self._tick,
            events.Halt: self._halt,
            events.Permit: self._permit,
            events.Restart: self._restart,
            events.Release: self._release,
            events.Shutdown: self._shutdown,
        }

    def start(self, now: float) -> None:
        """The backend serves from now on: without a session it leaves after the grace."""
        self.timers.set("exit", now + self.grace)

    def handle(self, event: Event, now: float) -> list[Action]:
        """What `event` at `now` (monotonic seconds) leads to. After a planned Exit only refusals: no restarts."""
        return self.handle_all((event,), now)

    def handle_all(self, batch: Iterable[Event], now: float) -> list[Action]:
        """What events that came together lead to, one after the other."""
        handlers = self._handlers
        for event in batch:
            handlers[type(event)](event, now)
        if self.draining:
            self._drained(now)
        actions = self._out[:]
        self._out.clear()
        return actions

    def deadline(self) -> float | None:
        """When a Tick is due, or None."""
        return None if self._left else self.timers.deadline()

    def snapshot(self) -> PoolSnapshot:
        """What `mux status` shows."""
        return snapshot(self.sessions.values(), self.routers.values(), draining=self.draining)

    def quiet(self, session: int) -> bool:
        """Whether nothing is under way for the session but what it listens to: no request of either side."""
        found = self.sessions.get(session)
        if found is None or self.draining or found.state is State.ENDING or found.owed:
            return False
        router = found.router or found.guest_of
        return router is None or not router.questions.open_for(found)

    # --- sessions ---------------------------------------------------------------------------

    def _session_opened(self, event: events.SessionOpened, now: float) -> None:
        if self.draining and event.resumed and self._farewell:
            self.emit(Halted(event.session, self._farewell))
            return
        if self.draining:
            self.emit(Refuse(event.session, "draining", limits.DRAIN_RETRY_MS))
            return
        if not event.resumed:
            self._halted.pop(event.base_key, None)
        elif event.base_key in self._halted:
            self.emit(Halted(event.session, self._halted[event.base_key]))
            return
        self.sessions[event.session] = Session(event, now)
        self.timers.cancel("exit")
        self._unused = False
        self.emit(Welcome(event.session))

    def _session_line(self, event: events.SessionLine, now: float) -> None:
        session = self.sessions.get(event.session)
        if session is None or self.draining:
            return
        if event.oversize:
            self._oversize_from_host(session, event)
            return
        if len(event.data) > limits.MESSAGE_WARN_BYTES:
            self._large(len(event.data), "session", session.id)
        message = read_host(event.data)
        router = session.router
        if isinstance(message, Rejected):
            self.reject(session, event.seq, message, event.data)
        elif router is not None and session.open < limits.SESSION_WAITING:
            router.host(session, event.seq, message, now)
        else:
            self.take(session, event.seq, message, now)

    def reject(self, session: Session, seq: int, message: Rejected, line: bytes) -> None:
        """A line that is no message: an error to its sender, nothing to a server. An empty one is nothing at all.

        Where it looks like the answer to a question, the server that asked gets an error: it would wait for ever.
        """
        if line.strip(b" \t\r"):
            edge = limits.OVERSIZE_EDGE_BYTES
            id_, is_request = id_of_oversize(line[:edge] + line[-edge:])
            if session.router is not None and id_ is not None and not is_request:
                questions.lost(session.router, session, id_, partial(faults.unreadable, reason=message.reason))
            self.emit(Deliver(session.id, seq, error_line(message.id, message.code, message.reason)))
        else:
            self.emit(Acknowledge(session.id, seq))

    def take(self, session: Session, seq: int, message: Request | Notification | Answer, now: float) -> None:
        """One message of a host. Beyond SESSION_WAITING without an answer a session is refused more."""
        if session.open + len(session.held) >= limits.SESSION_WAITING and isinstance(message, Request):
            self.emit(Deliver(session.id, seq, faults.overloaded(message.id)))
        elif session.router is not None:
            session.router.host(session, seq, message, now)
        elif session.held:
            session.held.append((seq, message))
        else:
            self._unpinned(session, seq, message, now)

    def _unpinned(self, session: Session, seq: int, message: Request | Notification | Answer, now: float) -> None:
        """A message before the request that decides the upstream."""
        if not isinstance(message, Request):
            if session.guest_of is not None and isinstance(message, Notification):
                session.guest_of.host(session, seq, message, now)
            else:
                self.emit(Acknowledge(session.id, seq))
        elif message.method == "ping" and not is_enveloped(message):
            self.emit(Deliver(session.id, seq, result_line(message.id)))
        else:
            self.lanes_of(session).first(session, seq, message, now)

    def lanes_of(self, session: Session) -> Lanes:
        lanes = self._lanes.get(session.base_key)
        if lanes is None:
            lanes = Lanes(self, session.base_key, session.sharing)
            self._lanes[session.base_key] = lanes
            if len(self._lanes) > limits.REMEMBERED_KEYS:
                used = {router.lanes.key for router in self.routers.values()} | {session.base_key}
                unused = (key for key, other in self._lanes.items() if key not in used and other.unused)
                self._lanes.pop(next(unused, b""), None)
        return lanes

    def new_router(self, lanes: Lanes, session: Session, key: bytes, era: Era) -> Router:
        """A fresh upstream under `key`, with nothing started yet."""
        self._last_router += 1
        router = Router(
            self._last_router,
            session.spec,
            era,
            emit=self.emit,
            timers=self.timers,
            entropy=self.entropy,
            allocate=self._allocate,
            lanes=lanes,
            sharing=session.sharing,
        )
        self.routers[key] = router
        return router

    def rename(self, router: Router, key: bytes) -> None:
        """The upstream serves another lane from now on."""
        self.routers = {name: other for name, other in self.routers.items() if other is not router}
        self.routers[key] = router

    def _allocate(self, router: Router) -> int:
        self._last_process += 1
        self._processes[self._last_process] = router
        return self._last_process

    def _oversize_from_host(self, session: Session, event: events.SessionLine | events.SessionReplay) -> None:
        id_, is_request = id_of_oversize(event.data)
        if session.router is not None and not is_request:
            questions.lost(session.router, session, id_, partial(faults.too_large, who="The client"))
        if is_request or id_ is None:
            self.emit(Deliver(session.id, event.seq, faults.too_large(id_ or b"null", "The client")))
        else:
            self.emit(Acknowledge(session.id, event.seq))
        self.emit(Log("warning", "message.oversize", {"session": session.id}))

    def _large(self, size: int, sender: str, number: int) -> None:
        self.emit(Log("warning", "message.large", {sender: number, "bytes": size}))

    def _session_eof(self, event: events.SessionEof, _now: float) -> None:
        session = self.sessions.get(event.session)
        if session is not None and session.state in (State.OPEN, State.PINNED):
            session.enter(State.ENDING)
            rest(session, self.emit)

    def _session_closed(self, event: events.SessionClosed, now: float) -> None:
        session = self.sessions.pop(event.session, None)
        if session is None:
            return
        session.enter(State.GONE)
        lanes = self._lanes.get(session.base_key)
        if lanes is not None:
            lanes.leave(session)
        router = session.router or session.guest_of
        if router is not None:
            router.leave(session, now)
            self.deserted(router, now)
        if not self.sessions:
            self.timers.set("exit", now + self.grace)

    def deserted(self, router: Router, now: float) -> None:
        """If nobody is left at the upstream, its grace begins."""
        if not router.sessions and not router.guests:
            self.timers.set(("grace", router.number), max(now + router.grace, router.kept_until))

    # --- sessions of an earlier backend -----------------------------------------------------

    def _session_replay(self, event: events.SessionReplay, now: float) -> None:
        session = self.sessions.get(event.session)
        if session is None or self.draining:
            return
        if event.oversize:
            self._oversize_from_host(session, event)
        else:
            replay.replayed(self, session, event, now)

    def _session_ready(self, event: events.SessionReady, now: float) -> None:
        """Nothing to do: each REPLAY was complete in itself."""

    # --- processes --------------------------------------------------------------------------

    def _process_line(self, event: events.ProcessLine, now: float) -> None:
        router = self._processes.get(event.process)
        if router is None or router.upstream.process != event.process:
            return
        if event.oversize:
            self._oversize_from_server(router, event, now)
            return
        if len(event.data) > limits.MESSAGE_WARN_BYTES:
            self._large(len(event.data), "upstream", router.number)
        message = read_server(event.data)
        if isinstance(message, Answer):
            router.answer(message, now)
        elif isinstance(message, Notification):
            fanout.notification(router, message, now)
        elif isinstance(message, Request):
            questions.request(router, message, now)
        elif event.data.strip():
            router.dropped += 1

    def _oversize_from_server(self, router: Router, event: events.ProcessLine, now: float) -> None:
        """Treated as an error with the same id, in the direction in which it goes."""
        id_, is_request = id_of_oversize(event.data)
        self.emit(Log("warning", "message.oversize", {"upstream": router.number}))
        line = faults.too_large(id_ or b"null", "The server", faults.UNKNOWN)
        answer = read_server(line[:-1])
        if id_ is None:
            router.dropped += 1
        elif is_request:
            router.send_up(line)
        elif isinstance(answer, Answer):
            router.answer(answer, now)

    def _process_started(self, event: events.ProcessStarted, now: float) -> None:
        router = self._processes.get(event.process)
        if router is not None and router.upstream.process == event.process and router.upstream.running:
            lifecycle.started(router, event.pid, now)

    def _process_tree(self, event: events.ProcessTree, _now: float) -> None:
        router = self._processes.get(event.process)
        if router is not None and router.upstream.process == event.process:
            router.detached = event.detached

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
        """Forget an upstream that has neither sessions nor a process and whose grace is over."""
        waited_for = router.sessions or router.guests or router.upstream.process
        if waited_for or ("grace", router.number) in self.timers:
            return
        self.routers = {key: other for key, other in self.routers.items() if other is not router}
        for name in ("rest", "turn", "idle"):
            self.timers.cancel((router.number, name))
        router.lanes.retired(router, now)
        if self._unused:
            self._leave_if_unused(now)

    # --- time and end -----------------------------------------------------------------------

    def _tick(self, _event: events.Tick, now: float) -> None:
        by_number = {router.number: router for router in self.routers.values()}
        for name in self.timers.due(now):
            match name:
                case ("grace", int(number)) if number in by_number:
                    router = by_number[number]
                    if not router.sessions and not router.guests:
                        self.emit(Log("info", "upstream.unused", {"upstream": router.number}))
                        lifecycle.stop(router, now)
                    self._retire(router, now)
                case (int(number), "start") if number in by_number:
                    lifecycle.overdue(by_number[number], now)
                case (int(number), "rest") if number in by_number:
                    lifecycle.rested(by_number[number], now)
                case (int(number), "idle") if number in by_number:
                    lifecycle.idle(by_number[number], now)
                case (int(number), "drain") if number in by_number:
                    lifecycle.drained(by_number[number], now, overdue=True)
                case (int(number), "turn") if number in by_number:
                    by_number[number].pump(now)
                case (int(number), "survey", questions.Survey() as survey) if number in by_number:
                    questions.overdue(by_number[number], survey)
                case ("hold", bytes(key)) if key in self._lanes:
                    self._lanes[key].hold_over(now)
                case ("stall", bytes(key)) if key in self._lanes:
                    self._lanes[key].stall_over(now)
                case "exit":
                    self._leave_if_unused(now)
                case _:
                    pass

    def _leave_if_unused(self, now: float) -> None:
        """Exit once neither a session nor a server is left; asked for again if the shell finds a connection waiting."""
        self._unused = not self.sessions and not self.draining
        if self._unused and not self.routers:
            self.emit(Exit())
            self.timers.set("exit", now + max(self.grace, limits.EXIT_AGAIN_SECONDS))

    def _halt(self, event: events.Halt, now: float) -> None:
        for router in list(self.routers.values()):
            if event.upstream in (None, router.number):
                self._halted[router.lanes.key] = event.reason
                lifecycle.halt(router, event.reason, now)

    def turn_out(self, sessions: list[Session], reason: str, now: float) -> None:
        """The sessions are told that their server was stopped for good, and are gone."""
        for session in sessions:
            self.emit(Halted(session.id, reason))
        for session in sessions:
            self._session_closed(events.SessionClosed(session.id), now)

    def _permit(self, _event: events.Permit, now: float) -> None:
        self._halted.clear()
        if not self.sessions:  # those that may come back look for a backend only now and then
            self.timers.set("exit", now + max(self.grace, limits.RETURN_SECONDS))

    def _restart(self, event: events.Restart, now: float) -> None:
        for router in self.routers.values():
            if router.number == event.upstream:
                lifecycle.restart(router, now)

    def _release(self, _event: events.Release, now: float) -> None:
        for router in list(self.routers.values()):
            if ("grace", router.number) in self.timers and router.kept_until <= now:
                self.timers.cancel(("grace", router.number))
                lifecycle.stop(router, now)
                self._retire(router, now)

    def _shutdown(self, event: events.Shutdown, now: float) -> None:
        if self.draining:
            return
        self.draining = True
        self._farewell = event.reason
        self._drain_until = now + limits.DRAIN_SECONDS
        self.timers.set("drain", self._drain_until)
        for session in self.sessions:
            self.emit(GoAway(session))

    def _drained(self, now: float) -> None:
        """After a planned exit was asked for: leave as soon as nothing is open, or time is up."""
        owing = now < self._drain_until and any(session.owed for session in self.sessions.values())
        if owing or self._left:
            return
        self._left = True
        self._handlers = dict.fromkeys(self._handlers, _ignore) | {events.SessionOpened: self._session_opened}
        for router in self.routers.values():
            lifecycle.give_up(router, "the multiplexer is being stopped.", now)
        for session in self.sessions:
            self.emit(Halted(session, self._farewell) if self._farewell else Drop(session, "planned exit"))
        self.emit(Exit())


def _ignore(_event: Event, _now: float) -> None:
    """After the exit nothing counts any more."""
