"""A router and its process: start when needed, hand over when ready, mend or refuse when it dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mux import limits
from mux.core import declaration, faults, levels, listens, questions, renewal, subscriptions
from mux.core.actions import Forward, Launch, Log, Stop
from mux.core.envelope import splice
from mux.core.handshake import INITIALIZED, welcome
from mux.core.methods import LISTEN, MAY_ASK, REPEATABLE, Era
from mux.core.upstream import State

if TYPE_CHECKING:
    from mux.core.envelope import Answer
    from mux.core.events import ProcessExited
    from mux.core.router import Router
    from mux.core.session import Call

    Fields = dict[str, str | int | float]


def need(router: Router, now: float) -> None:
    """Something waits for the server: start it unless it runs, or is to be started when a pause is over."""
    upstream = router.upstream
    if upstream.state is State.STOPPED:
        process = router.allocate(router)
        router.met = len(router.sessions)
        upstream.start(process, now)
        router.timers.set((router.number, "start"), now + limits.START_SECONDS)
        router.emit(Launch(process, router.number, upstream.generation, router.spec))
    elif upstream.state is State.OPENING and router.handshake.waiters and not router.handshake.uid:
        _open(router, now)


def started(router: Router, pid: int, now: float) -> None:
    """The process runs: open it as its era asks."""
    router.upstream.pid = pid
    router.upstream.enter(State.OPENING, now)
    if router.era is Era.PROBING:
        probes, router.probes = router.probes, []
        for call in probes:
            router.probe(call, now)
        router.lanes.probing(now)
    elif router.era is Era.LEGACY:
        _open(router, now)
    else:
        ready(router, now)


def _open(router: Router, now: float) -> None:
    if router.handshake.opening is not None:
        line = router.handshake.send(router.ids.allocate())
        router.timers.set((router.number, "start"), now + limits.START_SECONDS)
        router.emit(Forward(router.upstream.process, line))


def opened(router: Router, answer: Answer, now: float) -> None:
    """The server has answered `initialize`: everybody who waits gets that answer. A refusal is not kept.

    A new generation that refuses what the one before took is stopped, and its exit counts as a failure.
    """
    again = router.handshake.known
    declaration.heed(router, answer, now)
    for call in router.handshake.answered(answer):
        if answer.failed:
            router.deliver(call, splice(answer.line, (answer.span, call.id)))
        else:
            welcome(router, call)
    if not answer.failed:
        router.speak(router.era, tasks=b'"tasks"' in answer.line)  # undeclared, a client may ask for none
        router.lanes.initialized()
        ready(router, now)
    elif again:
        refuse_waiting(router, "it was restarted and now refuses `initialize`.", now)
        router.emit(Stop(router.upstream.process))


def ready(router: Router, now: float) -> None:
    """The server takes requests: restore what earlier generations knew, then send what waits."""
    router.upstream.enter(State.READY, now)
    router.timers.cancel((router.number, "start"))
    fields: Fields = {"upstream": router.number, "generation": router.upstream.generation, "era": router.era.value}
    router.emit(Log("info", "upstream.ready", fields))
    announce(router)
    rest_at(router, now)
    for line in router.early:
        router.emit(Forward(router.upstream.process, line))
    router.early.clear()
    router.early_bytes = 0
    levels.restore(router)
    subscriptions.restore(router)
    listens.restore(router, now)
    router.pump(now)
    renewal.renew(router, router.sessions.values())


def rest_at(router: Router, now: float) -> None:
    """Set the time at which an idle server is stopped, unless it never is."""
    if timeout := idle_timeout(router):
        router.timers.set((router.number, "idle"), max(router.active_at, now - timeout) + timeout)


def idle_timeout(router: Router) -> float:
    """Seconds after which an idle server is stopped, 0 for never: as somebody chose, else what its era bears."""
    if router.idle_timeout is not None:
        return router.idle_timeout
    return limits.IDLE_SECONDS if router.era is Era.MODERN else 0.0


def idle(router: Router, now: float) -> None:
    """The idle time-out is over, or was when it was set: stop a server that nobody would miss."""
    if router.upstream.state is not State.READY:
        return
    rest_at(router, now)
    if router.timers.due_at((router.number, "idle")) > now:
        return
    at_work = any(not call.cancelled for call in router.ids.flying.values())
    busy = at_work or router.quota.ring or router.turns.waiting or router.subscriptions.topics
    if busy or router.tasks.owned or len(router.questions) or router.detached or now < router.kept_until:
        router.timers.set((router.number, "idle"), now + limits.IDLE_AGAIN_SECONDS)
        return
    fields: Fields = {"upstream": router.number, "seconds": round(now - router.active_at)}
    router.emit(Log("info", "upstream.idle", fields))
    stop(router, now)


def restart(router: Router, now: float) -> None:
    """A new generation, planned: what is at the server is answered first, what comes meanwhile waits for the next.

    A pause after a failure is over then, and earlier failures are forgotten.
    """
    router.emit(Log("info", "upstream.restart", {"upstream": router.number, "state": router.upstream.state.value}))
    router.upstream.failures.clear()
    renewal.outdate(router)
    router.timers.cancel((router.number, "rest"))
    rested(router, now)
    _drain(router, now)


def halt(router: Router, reason: str, now: float) -> None:
    """The end, planned: what is at the server is answered first, then its sessions are told the reason."""
    router.emit(Log("info", "upstream.halt", {"upstream": router.number, "state": router.upstream.state.value}))
    router.farewell = reason
    _drain(router, now)


def allow(router: Router, now: float) -> None:
    """A halt is taken back while the server still drains: it is only restarted, and its sessions stay."""
    if router.farewell:
        router.farewell = ""
        restart(router, now)


def _drain(router: Router, now: float) -> None:
    if router.upstream.state is State.READY:
        router.upstream.enter(State.DRAINING, now)
        router.timers.set((router.number, "drain"), now + limits.DRAIN_SECONDS)
        drained(router, now)
    elif router.upstream.state is not State.DRAINING:
        stop(router, now)


def drained(router: Router, now: float, *, overdue: bool = False) -> None:
    """Stop a draining server once it has answered everything, or has had its time."""
    if router.upstream.state is State.DRAINING and (overdue or not router.quota.in_flight):
        router.timers.cancel((router.number, "drain"))
        stop(router, now)


def announce(router: Router) -> None:
    """`notifications/initialized` goes up once a generation, as soon as a session has sent it. MCP "Lifecycle"."""
    handshake = router.handshake
    if router.upstream.open and handshake.spoken and not handshake.announced:
        handshake.announced = True
        router.emit(Forward(router.upstream.process, INITIALIZED))


def stop(router: Router, now: float) -> None:
    """Take the process through the stop ladder; harmless if none runs."""
    _bid_farewell(router, now)
    if router.upstream.running:
        router.timers.cancel((router.number, "start"))
        router.handshake.ended()
        router.emit(Stop(router.upstream.process))
        router.upstream.enter(State.STOPPING, now)


def _bid_farewell(router: Router, now: float) -> None:
    """A halted server is leaving, or has gone: answer its sessions and turn them out."""
    if router.farewell:
        reason, router.farewell = router.farewell, ""
        give_up(router, reason, now)
        questions.end(router)
        router.lanes.pool.turn_out([*router.sessions.values(), *router.guests.values()], reason, now)


def overdue(router: Router, now: float) -> None:
    """The server has not opened in time: answer who waits; it may still become ready for those who come later."""
    if router.upstream.state not in (State.STARTING, State.OPENING):
        return
    cause = f"it has not answered `initialize` for {limits.START_SECONDS:.0f} s. It is still starting."
    router.emit(Log("warning", "upstream.slow", {"upstream": router.number, "seconds": limits.START_SECONDS}))
    refuse_waiting(router, cause, now)
    router.timers.set((router.number, "start"), now + limits.START_SECONDS)


def rested(router: Router, now: float) -> None:
    """A pause after a failure is over."""
    if router.upstream.state in (State.BACKOFF, State.FAILED):
        router.upstream.stopped(now)
        _need_if_wanted(router, now)


def exited(router: Router, event: ProcessExited, now: float) -> None:
    """The process is gone. What can be repeated waits for the next generation; the outcome of the rest is unknown."""
    wanted = router.upstream.state is State.STOPPING
    opening = router.upstream.state in (State.STARTING, State.OPENING)
    when = "when it was stopped" if wanted else "before it answered `initialize`" if opening else "while in use"
    _gone(router, faults.exit_cause(event.status, event.stderr, when), now, wanted=wanted)


def failed(router: Router, reason: str, now: float) -> None:
    """The process could not be started at all."""
    _gone(router, reason, now, wanted=router.upstream.state is State.STOPPING)


def _gone(router: Router, cause: str, now: float, *, wanted: bool) -> None:
    upstream = router.upstream
    first = upstream.state in (State.STARTING, State.OPENING) and not router.handshake.known
    router.timers.cancel((router.number, "start"))
    router.timers.cancel((router.number, "drain"))
    router.handshake.ended()
    router.early.clear()
    router.early_bytes = 0
    router.tasks.clear()
    router.kept_until = 0.0
    router.detached = False
    questions.end(router)
    if wanted:
        upstream.stopped(now)
    else:
        upstream.fail(cause, now)
        renewal.outdate(router)
        router.timers.set((router.number, "rest"), upstream.due)
        pause = round(upstream.due - now, 3)
        fields: Fields = {"upstream": router.number, "generation": upstream.generation, "state": upstream.state.value}
        router.emit(Log("warning", "upstream.died", {**fields, "pause": pause}))
    if router.era is Era.PROBING and not wanted:
        router.lanes.probe_died(router, cause, now)
    _orphans(router, cause, now)
    if upstream.state is State.FAILED or (first and not wanted and router.era is not Era.MODERN):
        refuse_waiting(router, cause, now)
    _bid_farewell(router, now)
    _need_if_wanted(router, now)


def _need_if_wanted(router: Router, now: float) -> None:
    """Start the next generation if anything is open that only a server can settle."""
    calls = router.quota.ring or router.turns.waiting or router.handshake.waiters or router.probes
    if calls or router.listening or router.subscriptions.held:
        need(router, now)


def _orphans(router: Router, cause: str, now: float) -> None:
    """What was at the server when it died: what can be repeated once more, the others answered."""
    again: list[Call] = []
    internal, router.internal = router.internal, {}
    for call in router.ids.restart(router.first_id()):
        router.release(call)
        call.uid = call.token = b""
        if call.cancelled:
            if call.watch is not None:
                call.watch(None, now)
        elif call.method == LISTEN and call.request is not None:
            router.listening.append(call)
        elif router.era is Era.PROBING:
            router.probes.append(call)
        elif call.method in REPEATABLE and not call.replayed:
            call.replayed = True
            again.append(call)
        else:
            router.fail(call, faults.outcome_unknown(call.id, f"The server stopped: {cause}"), now)
    for watch in internal.values():
        if watch is not None:
            watch(None, now)
    subscriptions.proceed(router, now)
    for call in reversed(again):
        if router.turns.needed and call.method in MAY_ASK:
            router.turns.wait(call, now + limits.TURN_SECONDS)
        else:
            router.quota.wait(call, first=True)


def give_up(router: Router, cause: str, now: float) -> None:
    """The backend leaves for good: answer what the next one will not repeat; the shims send it the rest."""
    for session in list(router.sessions.values()):
        for call in session.open_calls():
            if call.method in REPEATABLE:
                continue
            if router.ids.flying.get(call.uid) is call:
                line = faults.outcome_unknown(call.id, cause)
            else:
                line = faults.unavailable(call.id, router.spec.argv, cause)
            router.fail(call, line, now)


def refuse_waiting(router: Router, cause: str, now: float) -> None:
    """Nothing will answer soon: tell everybody who waits. A discover is held, for the `initialize` that may follow."""
    for call in router.handshake.release():
        router.fail(call, faults.unavailable(call.id, router.spec.argv, cause), now)
    for session in list(router.sessions.values()):
        for call in [*router.quota.clear(session), *router.turns.leave(session)]:
            router.fail(call, faults.unavailable(call.id, router.spec.argv, cause), now)
    for session in list(router.guests.values()):
        for call in router.quota.clear(session):
            router.lanes.stall(call, cause, now)
    listens.refuse(router, cause, now)
