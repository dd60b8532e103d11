"""Notifications of a host: to the server where they concern it, under the ids that it knows. MCP "Notifications"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mux import limits
from mux.core import lifecycle, tasks
from mux.core.actions import Acknowledge, Forward, Keep
from mux.core.envelope import find_in, id_key, splice
from mux.core.methods import SETS_STATE, Era
from mux.core.scan import Malformed

if TYPE_CHECKING:
    from mux.core.envelope import Notification
    from mux.core.router import Router
    from mux.core.session import Session


def notification(router: Router, session: Session, seq: int, message: Notification, now: float) -> None:
    """A notification of a host. What names a thing twice names nothing, and goes nowhere."""
    method = message.method
    if method == "notifications/initialized" and router.era is Era.LEGACY:
        _initialized(router, session, seq)
        return
    try:
        if method == "notifications/cancelled":
            _cancelled(router, session, message, now)
        elif method == "notifications/tasks/status":
            edits = tasks.notification_edits(router, session, message, b"taskId")
            if edits:
                router.send_up(splice(message.line, *edits))
        elif method == "notifications/progress":
            if _is_progress_of(router, session, message):
                edits = tasks.notification_edits(router, session, message, b"_meta", tasks.RELATED, b"taskId")
                router.send_up(splice(message.line, *edits))
        elif method == "notifications/roots/list_changed" and router.lanes.neutral:
            pass  # the server was told of no roots
        else:
            _pass_up(router, message)
    except Malformed:
        router.dropped += 1
    router.emit(Acknowledge(session.id, seq))


def _initialized(router: Router, session: Session, seq: int) -> None:
    """Once up for all of them; the shim keeps one line that says so for its session."""
    if session.initialized:
        router.emit(Acknowledge(session.id, seq))
    else:
        session.initialized = True
        router.emit(Keep(session.id, seq))
    router.handshake.spoken = True
    lifecycle.announce(router)


def _pass_up(router: Router, message: Notification) -> None:
    line = message.line + b"\n"
    if router.upstream.open:
        router.emit(Forward(router.upstream.process, line))
    elif router.upstream.running and router.early_bytes + len(line) <= limits.EARLY_BYTES:
        router.early.append(line)
        router.early_bytes += len(line)
    else:
        router.dropped += 1


def _is_progress_of(router: Router, session: Session, message: Notification) -> bool:
    span = find_in(message, b"progressToken")
    return span is not None and router.questions.gave(session, message.line[slice(*span)])


def _cancelled(router: Router, session: Session, message: Notification, now: float) -> None:
    """MCP "Cancellation": under our id; nothing for a request unknown, finished, or setting state."""
    span = find_in(message, b"requestId")
    call = session.calls.get(id_key(message.line[slice(*span)])) if span else None
    if call is None or span is None or call.method in SETS_STATE:
        return
    if router.ids.flying.get(call.uid) is call:
        router.ids.cancelled(call, now)
        router.emit(Forward(router.upstream.process, splice(message.line, (span, call.uid))))
    else:
        router.withdraw(call)
    router.finish(call)
    router.acknowledge(call)
    router.rest(session)
    router.pump(now)
