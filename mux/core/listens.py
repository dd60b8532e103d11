"""`subscriptions/listen`: long-lived requests of single sessions. MCP 2026-07-28, "Subscriptions".

A listen goes up one to one and is not counted as in flight. What the server sends for it names it by the id that it has
up there; each session sees the id that it gave, with its JSON type. The next process acknowledges it anew: to the host
that is the news that lists which it listens for may have changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mux.core import faults
from mux.core.actions import Deliver, Keep
from mux.core.envelope import find_in, find_in_result, splice
from mux.core.methods import LISTEN
from mux.core.scan import Malformed
from mux.core.upstream import State

if TYPE_CHECKING:
    from mux.core.envelope import Answer, Notification, Request
    from mux.core.router import Router
    from mux.core.session import Call, Edits, Session, Watch

META = (b"_meta", b"io.modelcontextprotocol/subscriptionId")
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_BLOB = b"acknowledged"
_LIST_CHANGED = b'{"jsonrpc":"2.0","method":"notifications/%b/list_changed","params":{"_meta":{"%b":%b}}}\n'


class _Agreed(msgspec.Struct):
    toolsListChanged: bool | None = None  # noqa: N815 - the names on the wire
    promptsListChanged: bool | None = None  # noqa: N815
    resourcesListChanged: bool | None = None  # noqa: N815


class _Params(msgspec.Struct):
    notifications: _Agreed


class _Acknowledgement(msgspec.Struct):
    params: _Params


def listen(router: Router, session: Session, seq: int, request: Request, now: float) -> None:
    """A host's `subscriptions/listen`. Its line is kept by the shim for as long as it is open."""
    if not session.reserve(seq, len(request.line)):
        router.emit(Deliver(session.id, seq, faults.kept_too_much(request.id)))
        return
    call = session.accept(seq, request)
    call.watch = _result(call)
    router.emit(Keep(session.id, seq))
    up(router, call, now)


def resumed(router: Router, call: Call, blob: bytes) -> None:
    """The session listened under an earlier backend; the host may have seen the acknowledgement already."""
    if blob == _BLOB:
        call.acknowledged = True
        router.emit(Keep(call.session.id, call.seq, _BLOB))


def up(router: Router, call: Call, now: float) -> None:
    """Send up a listen, or let it wait for the server. It takes no place among those in flight."""
    state = router.upstream.state
    if state is State.READY:
        router.send(call, now, counted=False)
    elif state is State.FAILED and not call.acknowledged:
        router.fail(call, faults.unavailable(call.id, router.spec.argv, router.upstream.last_error), now)
    else:
        router.listening.append(call)
        router.need(now)


def refuse(router: Router, cause: str, now: float) -> None:
    """The server does not start: who has not listened yet is told; the others go on when it does."""
    for call in [call for call in router.listening if not call.acknowledged]:
        router.listening.remove(call)
        router.fail(call, faults.unavailable(call.id, router.spec.argv, cause), now)


def restore(router: Router, now: float) -> None:
    """The server is ready: send what was opened before it was, and again what an earlier generation had."""
    calls, router.listening = router.listening, []
    for call in calls:
        up(router, call, now)


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
    if call is None or call.method != LISTEN or call.cancelled:
        router.dropped += 1
    elif message.method == ACKNOWLEDGED and call.acknowledged:
        _lists_changed(router, call, message)  # the host has seen the acknowledgement of an earlier process
    else:
        if message.method == ACKNOWLEDGED:
            call.acknowledged = True
            router.emit(Keep(call.session.id, call.seq, _BLOB))
        router.emit(Deliver(call.session.id, 0, splice(message.line, (span, call.id))))
    return True


def _lists_changed(router: Router, call: Call, message: Notification) -> None:
    """The lists of another process may differ: tell the host once, of those that the server agrees to speak of."""
    try:
        agreed = msgspec.json.decode(message.line, type=_Acknowledgement).params.notifications
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    for kind, changes in (
        (b"tools", agreed.toolsListChanged),
        (b"prompts", agreed.promptsListChanged),
        (b"resources", agreed.resourcesListChanged),
    ):
        if changes:
            router.emit(Deliver(call.session.id, 0, _LIST_CHANGED % (kind, META[1], call.id)))


def ended_by_server(router: Router, message: Notification, span: tuple[int, int]) -> None:
    """`notifications/cancelled` of the server: the only request that it may name is a listen."""
    uid = message.line[slice(*span)].strip(b'"')
    call = router.ids.flying.get(uid)
    if call is None or call.method != LISTEN or call.cancelled:
        return
    del router.ids.flying[uid]
    router.finish(call)
    router.emit(Deliver(call.session.id, 0, splice(message.line, (span, call.id))))
    router.acknowledge(call)
