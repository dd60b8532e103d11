"""All sessions and all upstreams of one backend: who joins which, and when each of them, and the backend, may end.

The door of the core: `handle(event, now)` returns what is to be done, in order. It never waits, never raises for what a
peer sent, and knows the time only from its caller.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mux import limits
from mux.core import events, intake, lifecycle, members, questions, replay
from mux.core.actions import Drop, Exit, GoAway, Halted, Log, Refuse, Welcome
from mux.core.lanes import Lanes
from mux.core.router import Router
from mux.core.session import Session, State, rest
from mux.core.snapshot import PoolSnapshot, Unused, snapshot
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
        self.processes: dict[int, Router] = {}
        self._out: list[Action] = []
        self.emit = self._out.append
        self._last_process = 0
        self._last_router = 0
        self._drain_until = 0.0
        self._left = False
        self._deserted_at = 0.0
        self._unused = False
        self._halted: dict[bytes, str] = {}
        self._farewell = ""
        self._handlers: dict[type, Callable[..., None]] = {
            events.SessionLine: partial(intake.session_line, self),
            events.ProcessLine: partial(intake.process_line, self),
            events.SessionOpened: self._session_opened,
            events.SessionReplay: partial(replay.replayed, self),
            events.SessionReady: _ignore,
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
        self._empty(now, self.grace)

    def handle(self, event: Event, now: float) -> list[Action]:
        """What `event` at `now` (monotonic seconds) leads to. After a planned Exit only refusals: no restarts."""
        return self.handle_all((event,), now)

    def handle_all(self, batch: Iterable[Event], now: float) -> list[Action]:
        """What events that came together lead to, one after the other."""
        for event in batch:
            self._handlers[type(event)](event, now)
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

    def unused(self, since: float, now: float) -> Unused:
        """What nobody has used since then, and no client's open state needs.

        A server is started for a session: it is never younger than the time that it has been without one.
        """
        kept = {router.number for router in self.routers.values() if router.kept_until > now}
        upstreams = {
            router.number
            for router in self.routers.values()
            if ("grace", router.number) in self.timers and router.deserted_at <= since
        }
        return Unused(not self.sessions and not kept and self._deserted_at <= since, frozenset(upstreams - kept))

    def quiet(self, session: int) -> bool:
        """Whether nothing is under way for the session but what it listens to: no request of either side."""
        found = self.sessions.get(session)
        if found is None or self.draining or found.state is State.ENDING or found.owed:
            return False
        router = found.router or found.guest_of
        return router is None or not router.questions.open_for(found)

    def unanswered(self, session: int) -> int:
        """How many requests of the session are at its server, or wait for their turn."""
        found = self.sessions.get(session)
        return 0 if found is None else found.in_flight + len(found.waiting)

    # --- sessions ---------------------------------------------------------------------------

    def _session_opened(self, event: events.SessionOpened, now: float) -> None:
        if self.draining:
            final = event.resumed and self._farewell
            refusal = Refuse(event.session, "draining", limits.DRAIN_RETRY_MS)
            self.emit(Halted(event.session, self._farewell) if final else refusal)
            return
        if not event.resumed:
            self._allow(event.base_key, now)
        elif event.base_key in self._halted:
            self.emit(Halted(event.session, self._halted[event.base_key]))
            return
        self.sessions[event.session] = Session(event, now)
        self.timers.cancel("exit")
        self._unused = False
        self.emit(Welcome(event.session))

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
        self.processes[self._last_process] = router
        return self._last_process

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
            members.leave(router, session, now)
            self.deserted(router, now)
        if not self.sessions:
            self._empty(now, self.grace)

    def deserted(self, router: Router, now: float) -> None:
        """If nobody is left at the upstream, its grace begins."""
        if not router.sessions and not router.guests:
            router.deserted_at = now
            self.timers.set(("grace", router.number), max(now + router.grace, router.kept_until))

    # --- processes --------------------------------------------------------------------------

    def _process_started(self, event: events.ProcessStarted, now: float) -> None:
        router = self.processes.get(event.process)
        if router is not None and router.upstream.process == event.process and router.upstream.running:
            lifecycle.started(router, event.pid, now)

    def _process_tree(self, event: events.ProcessTree, _now: float) -> None:
        router = self.processes.get(event.process)
        if router is not None and router.upstream.process == event.process:
            router.detached = event.detached

    def _process_exited(self, event: events.ProcessExited, now: float) -> None:
        router = self.processes.pop(event.process, None)
        if router is not None:
            lifecycle.exited(router, event, now)
            self._retire(router, now)

    def _process_failed(self, event: events.ProcessFailed, now: float) -> None:
        router = self.processes.pop(event.process, None)
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

    def _empty(self, now: float, grace: float) -> None:
        """If nobody comes, the backend leaves after so many seconds."""
        self._deserted_at = now
        self.timers.set("exit", now + grace)

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

    def _allow(self, key: bytes, now: float) -> None:
        if self._halted.pop(key, None):
            for router in self.routers.values():
                if router.lanes.key == key:
                    lifecycle.allow(router, now)

    def turn_out(self, sessions: list[Session], reason: str, now: float) -> None:
        """The sessions are told that their server was stopped for good, and are gone."""
        for session in sessions:
            self.emit(Halted(session.id, reason))
        for session in sessions:
            self._session_closed(events.SessionClosed(session.id), now)

    def _permit(self, _event: events.Permit, now: float) -> None:
        for key in list(self._halted):
            self._allow(key, now)
        if not self.sessions:  # those that may come back look for a backend only now and then
            self._empty(now, max(self.grace, limits.RETURN_SECONDS))

    def _restart(self, event: events.Restart, now: float) -> None:
        for router in self.routers.values():
            if router.number == event.upstream:
                lifecycle.restart(router, now)

    def _release(self, event: events.Release, now: float) -> None:
        unused = self.unused(event.since, now)
        for router in list(self.routers.values()):
            if router.number in unused.upstreams:
                self.timers.cancel(("grace", router.number))
                lifecycle.stop(router, now)
                self._retire(router, now)
        if unused.backend:
            self._leave_if_unused(now)

    def _shutdown(self, event: events.Shutdown, now: float) -> None:
        until = now + (limits.STOP_DRAIN_SECONDS if event.reason else limits.DRAIN_SECONDS)
        self._drain_until = min(self._drain_until, until) if self.draining else until
        self.timers.set("drain", self._drain_until)
        self._farewell = event.reason or self._farewell
        if not self.draining:
            self.draining = True
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
    """SessionReady, as each REPLAY was complete in itself; and all that comes after the exit."""
