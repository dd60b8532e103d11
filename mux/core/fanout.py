"""What a server says unasked: to the session it concerns by evidence, to all where it concerns all, else to nobody.

MCP 2025-11-25, "Progress", "Logging", "Resources", "Elicitation", "Tasks"; 2026-07-28, "Subscriptions". Guessing would
show one user's work to another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mux.core import levels, listens, questions, subscriptions, tasks
from mux.core.actions import Deliver
from mux.core.envelope import Notification, find_in, find_progress, find_token, splice
from mux.core.identity import SHARE
from mux.core.methods import LIST_CHANGED, Era
from mux.core.scan import Malformed, unescape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mux.core.router import Router
    from mux.core.session import Session


def notification(router: Router, message: Notification, now: float) -> None:
    """A notification of the server."""
    if listens.route(router, message):
        return
    rule = _RULES.get(message.method)
    if rule is not None:
        rule(router, message, now)
    elif message.method in LIST_CHANGED:
        _to(router, router.sessions.values(), message.line)
    else:
        _unknown(router, message, now)


def _to(router: Router, sessions: Iterable[Session], line: bytes) -> None:
    """The line to each of the sessions; counted as dropped if there is none."""
    data = line + b"\n"
    nobody = True
    for session in sessions:
        nobody = False
        router.emit(Deliver(session.id, 0, data))
    router.dropped += nobody


def _unknown(router: Router, message: Notification, now: float) -> None:
    """By what correlates it: a task, a progress token. With nothing: to all, but only while nobody is at work."""
    known, owner = tasks.related(router, message)
    if known:
        _to(router, (owner,) if owner else (), message.line)
        return
    try:
        token = find_token(message) or find_in(message, b"progressToken")
        request = find_in(message, b"requestId")
    except Malformed:
        router.dropped += 1
        return
    if token is not None:
        _to_owner(router, message, token, now)
    elif request is not None:
        call = router.ids.flying.get(message.line[slice(*request)].strip(b'"'))
        sessions = (call.session,) if call is not None and not call.cancelled else ()
        _to(router, sessions, splice(message.line, (request, call.id))[:-1] if call else b"")
    elif not router.ids.at_work(now):
        _to(router, router.sessions.values(), message.line)
    else:
        router.dropped += 1


def _to_owner(router: Router, message: Notification, span: tuple[int, int], now: float) -> None:
    owner = router.ids.progress(message.line[slice(*span)].strip(b'"'), now)
    if owner is None:
        router.dropped += 1
        return
    session, token = owner
    router.emit(Deliver(session.id, 0, splice(message.line, (span, token))))


def _progress(router: Router, message: Notification, now: float) -> None:
    """To the session whose request it belongs to, under the token that the session gave."""
    try:
        span = find_progress(message)
    except Malformed:
        span = None
    if span is None:
        router.dropped += 1
    else:
        _to_owner(router, message, span, now)


def _log_message(router: Router, message: Notification, now: float) -> None:
    """Legacy: one session at work: to it; none: to all. Modern: to the one request that asked. Several: to nobody.

    Several that all allow it hear it all.
    """
    rank = levels.rank_of_log(message)
    flying = router.ids.at_work(now)
    if router.era is Era.MODERN:
        wanted = [call for call in flying if call.level is not None and (rank is None or call.level <= rank)]
        meant = {call.session.id: call.session for call in wanted}
    else:
        meant = {call.session.id: call.session for call in flying} or dict(router.sessions)
        if len(meant) > 1 and flying and not _shared(meant.values()):
            meant = {}
    alive = [s for s in meant.values() if s.alive and router.levels.passes(s, rank)]
    if router.era is Era.MODERN and len(meant) > 1 and not _shared(meant.values()):
        alive = []
    _to(router, alive, message.line)


def _shared(sessions: Iterable[Session]) -> bool:
    """Whether each of the sessions allows that the others hear what may be its own, as `logs = "share"` says."""
    return all(session.sharing.logs == SHARE for session in sessions)


def _cancelled(router: Router, message: Notification, _now: float) -> None:
    """The server withdraws a question of its own, or ends a listen."""
    try:
        span = find_in(message, b"requestId")
    except Malformed:
        return
    if span is None:
        return
    id_ = message.line[slice(*span)]
    for question in questions.withdraw(router, id_):
        router.emit(Deliver(question.session.id, 0, splice(message.line, (span, question.id))))
    listens.ended_by_server(router, message, span)


def _updated(router: Router, message: Notification, _now: float) -> None:
    try:
        literal = subscriptions.uri_of(message)
    except Malformed:
        literal = None
    concerned = router.subscriptions.concerned(unescape(literal)) if literal else []
    _to(router, [router.sessions[id_] for id_ in concerned], message.line)


def _elicited(router: Router, message: Notification, _now: float) -> None:
    """To the session that was asked; a server that names an unknown elicitation is heard by all."""
    try:
        span = find_in(message, b"elicitationId")
    except Malformed:
        span = None
    asked = router.questions.elicited.pop(message.line[slice(*span)], None) if span else None
    _to(router, router.sessions.values() if asked is None else (asked,), message.line)


def _task_status(router: Router, message: Notification, _now: float) -> None:
    owner = tasks.status_from_server(router, message)
    _to(router, (owner,) if owner is not None else (), message.line)


_RULES: dict[str, Callable[[Router, Notification, float], None]] = {
    "notifications/cancelled": _cancelled,
    "notifications/elicitation/complete": _elicited,
    "notifications/message": _log_message,
    "notifications/progress": _progress,
    "notifications/resources/updated": _updated,
    "notifications/tasks/status": _task_status,
}
