"""A router and its process: start when needed, hand over when ready, mend or refuse when it dies. DESIGN: upstream life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mux import limits
from mux.core import faults
from mux.core.actions import Deliver, Forward, Launch, Log, Stop
from mux.core.handshake import INITIALIZED
from mux.core.methods import SAFE
from mux.core.upstream import State

if TYPE_CHECKING:
    from mux.core.envelope import Answer
    from mux.core.events import ProcessExited
    from mux.core.router import Router


def need(router: Router, now: float) -> None:
    """Something waits for the server: start it unless it runs, or is to be started when a pause is over."""
    upstream = router.upstream
    if upstream.state is State.STOPPED:
        process = router.allocate(router)
        upstream.start(process, now)
        router.timers.set((router.number, "start"), now + limits.START_SECONDS)
        router.emit(Launch(process, upstream.generation, router.spec))
    elif upstream.state is State.OPENING and router.handshake.waiters and not router.handshake.uid:
        _open(router)


def started(router: Router, pid: int, now: float) -> None:
    """The process runs: open it, or use it at once if its session never initialised."""
    router.upstream.pid = pid
    router.upstream.enter(State.OPENING, now)
    if router.bare:
        _ready(router, now)
    else:
        _open(router)


def _open(router: Router) -> None:
    line = router.handshake.send(router.ids.allocate())
    router.emit(Forward(router.upstream.process, line))


def opened(router: Router, answer: Answer, now: float) -> None:
    """The server has answered `initialize`: everybody who waits gets that answer. A refusal is not kept."""
    again = router.handshake.known
    waiters = router.handshake.answered(answer)
    for waiter in waiters:
        if answer.failed:
            line = answer.line[: answer.span[0]] + waiter.id + answer.line[answer.span[1] :] + b"\n"
            router.emit(Deliver(waiter.session.id, waiter.seq, line))
        else:
            router.welcome(waiter)
    if not answer.failed:
        _ready(router, now)
    elif again:
        _refuse_waiting(router, "it was restarted and now refuses `initialize`.")
        stop(router, now)
    for waiter in waiters:
        router.rest(waiter.session)


def _ready(router: Router, now: float) -> None:
    router.upstream.enter(State.READY, now)
    router.timers.cancel((router.number, "start"))
    announce(router)
    for line in router.early:
        router.emit(Forward(router.upstream.process, line))
    router.early.clear()
    router.pump(now)


def announce(router: Router) -> None:
    """`notifications/initialized` goes up once a generation, as soon as a session has sent it. MCP "Lifecycle"."""
    handshake = router.handshake
    if router.upstream.state is State.READY and handshake.spoken and not handshake.announced:
        handshake.announced = True
        router.emit(Forward(router.upstream.process, INITIALIZED))


def stop(router: Router, now: float) -> None:
    """Take the process through the stop ladder; harmless if none runs."""
    if router.upstream.running:
        router.timers.cancel((router.number, "start"))
        router.emit(Stop(router.upstream.process))
        router.upstream.enter(State.STOPPING, now)


def overdue(router: Router, now: float) -> None:
    """The server has not opened in time: answer who waits; it may still become ready for those who come later."""
    if router.upstream.state not in (State.STARTING, State.OPENING):
        return
    cause = f"it has not answered `initialize` for {limits.START_SECONDS:.0f} s. It is still starting: try again."
    _refuse_waiting(router, cause)
    router.timers.set((router.number, "start"), now + limits.START_SECONDS)


def rested(router: Router, now: float) -> None:
    """A pause after a failure is over."""
    if router.upstream.state in (State.BACKOFF, State.FAILED):
        router.upstream.stopped(now)
        if router.quota.ring or router.handshake.waiters:
            need(router, now)


def exited(router: Router, event: ProcessExited, now: float) -> None:
    """The process is gone. Safe requests wait for the next generation; the outcome of others is unknown."""
    wanted = router.upstream.state is State.STOPPING
    opening = router.upstream.state in (State.STARTING, State.OPENING)
    when = "when it was stopped" if wanted else "before it answered `initialize`" if opening else "while in use"
    cause = faults.exit_cause(event.status, event.stderr, when)
    _gone(router, cause, now, wanted=wanted)


def failed(router: Router, reason: str, now: float) -> None:
    """The process could not be started at all."""
    _gone(router, reason, now, wanted=router.upstream.state is State.STOPPING)


def _gone(router: Router, cause: str, now: float, *, wanted: bool) -> None:
    upstream = router.upstream
    opening = upstream.state in (State.STARTING, State.OPENING)
    router.timers.cancel((router.number, "start"))
    router.handshake.ended()
    router.early.clear()
    for question in router.questions.clear():
        line = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b}}\n' % question.id
        router.emit(Deliver(question.session.id, 0, line))
    if wanted:
        upstream.stopped(now)
    else:
        upstream.fail(cause, now)
        router.timers.set((router.number, "rest"), upstream.due)
        fields: dict[str, str | int | float] = {"upstream": router.number, "generation": upstream.generation}
        router.emit(Log("warning", "upstream-died", fields))
    _orphans(router, cause)
    if upstream.state is State.FAILED or (opening and not wanted and not router.handshake.known):
        _refuse_waiting(router, cause)
    if router.quota.ring or router.handshake.waiters:
        need(router, now)


def _orphans(router: Router, cause: str) -> None:
    """What was at the server when it died: safe ones once more, the others answered."""
    again = []
    for call in router.ids.restart(router.first_id()):
        if call.cancelled:
            continue
        router.quota.release(call.session)
        if call.method in SAFE and not call.replayed:
            call.replayed = True
            call.uid = call.token = b""
            again.append(call)
        else:
            router.fail(call, faults.outcome_unknown(call.id, f"The server stopped: {cause}"))
    for call in reversed(again):
        router.quota.wait(call, first=True)


def give_up(router: Router, cause: str) -> None:
    """The backend leaves for good: answer everybody who still waits."""
    _refuse_waiting(router, cause)
    for call in router.ids.restart(router.first_id()):
        if not call.cancelled:
            router.quota.release(call.session)
            router.fail(call, faults.outcome_unknown(call.id, cause))


def _refuse_waiting(router: Router, cause: str) -> None:
    for waiter in router.handshake.release():
        line = faults.unavailable(waiter.id, router.spec.argv, cause)
        router.emit(Deliver(waiter.session.id, waiter.seq, line))
        router.rest(waiter.session)
    for session in list(router.sessions.values()):
        for call in router.quota.clear(session):
            router.fail(call, faults.unavailable(call.id, router.spec.argv, cause))
