"""`subscriptions/listen`: long-lived requests of single sessions. MCP 2026-07-28, "Subscriptions".

A listen goes up one to one and is not counted as in flight. What the server sends for it names it by the id that it has
up there; each session sees the id that it gave, with its JSON type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mux.core.actions import Acknowledge, Deliver, Keep
from mux.core.envelope import Malformed, find_in, find_in_result, splice
from mux.core.upstream import State

if TYPE_CHECKING:
    from mux.core.envelope import Answer, Notification, Request
    from mux.core.router import Router
    from mux.core.session import Call, Edits, Session, Watch

METHOD = "subscriptions/listen"
META = (b"_meta", b"io.modelcontextprotocol/subscriptionId")
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_BLOB = b"acknowledged"


def listen(router: Router, session: Session, seq: int, request: Request, now: float) -> Call:
    """A host's `subscriptions/listen`. Its line is kept by the shim for as long as it is open."""
    call = router.register(session, seq, request)
    call.watch = _result(call)
    router.emit(Keep(session.id, seq))
    _up(router, call, now)
    return call


def rebuild(router: Router, session: Session, seq: int, request: Request, blob: bytes, now: float) -> None:
    """The session listened under an earlier backend; the host may have seen the acknowledgement already."""
    call = listen(router, session, seq, request, now)
    if blob == _BLOB and session.calls.get(call.key) is call:
        call.acknowledged = True
        router.emit(Keep(session.id, seq, _BLOB))


def _up(router: Router, call: Call, now: float) -> None:
    if router.upstream.state is State.READY:
        router.lift(call)
    else:
        router.listening.append(call)
        router.need(now)


def restore(router: Router, now: float) -> None:
    """The server is ready: send what was opened before it was, and again what an earlier generation had."""
    calls, router.listening = router.listening, []
    for call in calls:
        if call.session.alive and not call.cancelled:
            _up(router, call, now)


def _result(call: Call) -> Watch:
    def answered(answer: Answer | None, _now: float) -> Edits:
        try:
            span = find_in_result(answer.line, *META) if answer is not None else None
        except Malformed:
            span = None
        return [(span, call.id)] if span else []

    return answered


def route(router: Router, message: Notification) -> bool:
    """Deliver a notification that names a listen; False if it names none."""
    try:
        span = find_in(message, *META)
    except Malformed:
        router.dropped += 1
        return True
    if span is None:
        return False
    call = router.ids.flying.get(message.line[slice(*span)].strip(b'"'))
    if call is None or call.method != METHOD or call.cancelled:
        router.dropped += 1
    elif message.method == ACKNOWLEDGED and call.acknowledged:
        pass  # the host has seen the one of an earlier generation
    else:
        if message.method == ACKNOWLEDGED:
            call.acknowledged = True
            router.emit(Keep(call.session.id, call.seq, _BLOB))
        router.emit(Deliver(call.session.id, 0, splice(message.line, (span, call.id))))
    return True


def ended_by_server(router: Router, message: Notification, span: tuple[int, int]) -> None:
    """`notifications/cancelled` of the server: the only request that it may name is a listen."""
    uid = message.line[slice(*span)].strip(b'"')
    call = router.ids.flying.get(uid)
    if call is None or call.method != METHOD or call.cancelled:
        return
    del router.ids.flying[uid]
    router.finish(call)
    router.emit(Deliver(call.session.id, 0, splice(message.line, (span, call.id))))
    router.emit(Acknowledge(call.session.id, call.seq))
    router.rest(call.session)
