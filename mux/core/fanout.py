"""What a server says unasked: to the session it concerns by evidence, to all where it concerns all, else to nobody.

MCP 2025-11-25, "Progress", "Logging", "Resources", "Client features". Guessing leaks one user's question to another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mux import errors
from mux.core.actions import Deliver
from mux.core.envelope import Malformed, Notification, Request, error_line, find_in, find_token, result_line, splice
from mux.core.methods import CAPABILITY_OF_QUESTION, LIST_CHANGED, MAY_ASK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mux.core.router import Router
    from mux.core.session import Session


def notification(router: Router, message: Notification, now: float) -> None:
    """A notification of the server."""
    rule = _NOTIFICATIONS.get(message.method)
    if rule is not None:
        rule(router, message, now)
    elif message.method in LIST_CHANGED or not router.ids.flying:
        deliver(router.sessions.values(), router, message.line)
    else:
        router.dropped += 1


def deliver(sessions: Iterable[Session], router: Router, line: bytes) -> None:
    """The line to each of the sessions."""
    data = line + b"\n"
    for session in sessions:
        router.emit(Deliver(session.id, 0, data))


def _progress(router: Router, message: Notification, now: float) -> None:
    """To the session whose request it belongs to, under the token that the session gave."""
    try:
        span = find_in(message, b"progressToken")
    except Malformed:
        span = None
    owner = router.ids.progress(message.line[slice(*span)].strip(b'"'), now) if span else None
    if owner is None or span is None:
        router.dropped += 1
        return
    session, token = owner
    router.emit(Deliver(session.id, 0, splice(message.line, (span, token))))


def _log_message(router: Router, message: Notification, _now: float) -> None:
    """One session at work: to it. None: to all. Several: it may be anybody's, so it is nobody's."""
    at_work = {call.session.id: call.session for call in router.ids.flying.values()}
    if not at_work:
        deliver(router.sessions.values(), router, message.line)
        return
    session = next(iter(at_work.values()))
    if len(at_work) == 1 and session.alive:
        deliver((session,), router, message.line)
    else:
        router.dropped += 1


def _cancelled(router: Router, message: Notification, _now: float) -> None:
    """The server withdraws a question of its own."""
    try:
        span = find_in(message, b"requestId")
    except Malformed:
        return
    question = router.questions.withdrawn(message.line[slice(*span)]) if span else None
    if question is None or span is None:
        return
    router.emit(Deliver(question.session.id, 0, splice(message.line, (span, question.id))))


_NOTIFICATIONS: dict[str, Callable[[Router, Notification, float], None]] = {
    "notifications/cancelled": _cancelled,
    "notifications/message": _log_message,
    "notifications/progress": _progress,
}


def request(router: Router, message: Request) -> None:
    """A request of the server: answered here (ping), put to the one session it can belong to, or refused."""
    if message.method == "ping":
        router.send_up(result_line(message.id))
        return
    session, reason = _whom_to_ask(router, message.method)
    if session is None:
        line = error_line(message.id, errors.INTERNAL_ERROR, reason)
        router.send_up(line)
        return
    try:
        span = find_token(message)
    except Malformed:
        span = None
    token = message.line[slice(*span)] if span else b""
    question = router.questions.ask(session, message.id, message.method, token)
    router.emit(Deliver(session.id, 0, splice(message.line, (message.span, question.id))))


def _whom_to_ask(router: Router, method: str) -> tuple[Session | None, str]:
    """The one session that can be meant, or None and why not.

    A question belongs to a request in flight. Cancelled requests count too: the server may still be at work for them.
    """
    capability = CAPABILITY_OF_QUESTION.get(method)
    asking = {call.session.id: call.session for call in router.ids.flying.values() if call.method in MAY_ASK}
    if not asking and method == "roots/list":
        asking = dict(router.sessions)
    able = [s for s in asking.values() if capability is None or capability in s.capabilities]
    if len(able) == 1 and able[0].alive:
        return able[0], ""
    if not asking:
        return None, f"`{method}` belongs to a request of a client, and none is in flight."
    if not able:
        return None, f"The client has not declared `{capability}`."
    return None, (
        f"Several clients share this server and `{method}` does not say which one it concerns, so nobody was asked. "
        "Run the server with `--scope session` to give each client its own."
    )
