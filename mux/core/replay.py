"""What becomes of a line that a shim sends again, because the backend that had it is gone. DESIGN: recovery.

A request whose effect is unknown is never executed again; a safe one is repeated at most once in the life of a session,
so that a poisonous request can not take every generation down.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from mux.core import faults, intake, levels, listens, renewal, subscriptions
from mux.core.actions import Acknowledge, Deliver
from mux.core.envelope import Answer, Message, Notification, Rejected, Request, id_key, read_host
from mux.core.methods import LISTEN, REPEATABLE, REPEATABLE_NOTIFICATIONS, SAFE, SUBSCRIBE
from mux.core.scan import Malformed

if TYPE_CHECKING:
    from mux.core.events import SessionReplay
    from mux.core.pool import Pool
    from mux.core.router import Router
    from mux.core.session import Session


class Fate(Enum):
    """What to do with a replayed line."""

    REBUILD = "restore the state that it set; the host has its answer"
    SERVE = "treat it as new"
    UNKNOWN = "answer that its outcome is unknown"
    FORGET = "acknowledge it"


def fate(message: Message, *, answered: bool, repeated: bool) -> Fate:
    """The rule for one replayed line."""
    if isinstance(message, Answer):
        return Fate.FORGET
    if isinstance(message, Rejected):
        return Fate.SERVE
    if isinstance(message, Notification):
        return Fate.REBUILD if message.method in REPEATABLE_NOTIFICATIONS else Fate.FORGET
    if answered:
        return Fate.REBUILD
    if message.method not in REPEATABLE or (message.method in SAFE and repeated):
        return Fate.UNKNOWN
    return Fate.SERVE


def replayed(pool: Pool, event: SessionReplay, now: float) -> None:
    """One line of a session of an earlier backend."""
    session = pool.sessions.get(event.session)
    if session is None or pool.draining:
        return
    if event.oversize:
        intake.oversize_from_host(pool, session, event)
        return
    message = read_host(event.data)
    match fate(message, answered=event.answered, repeated=event.repeated):
        case Fate.FORGET:
            pool.emit(Acknowledge(session.id, event.seq))
        case Fate.UNKNOWN:
            assert isinstance(message, Request)  # the only kind with an outcome
            line = faults.outcome_unknown(message.id, "the multiplexer was restarted while it ran.")
            pool.emit(Deliver(session.id, event.seq, line))
        case Fate.SERVE:
            _serve_again(pool, session, event, message, now)
        case Fate.REBUILD:
            _rebuild(pool, session, event, message, now)


def _serve_again(pool: Pool, session: Session, event: SessionReplay, message: Message, now: float) -> None:
    if isinstance(message, Rejected):
        intake.reject(pool, session, event.seq, message, event.data)
        return
    intake.take(pool, session, event.seq, message, now)
    call = session.calls.get(id_key(message.id)) if isinstance(message, Request) else None
    if call is not None and call.seq == event.seq:
        call.replayed = True
        if session.router is not None and call.method == LISTEN and call.seq in session.kept:
            listens.resumed(session.router, call, event.blob)


def _rebuild(pool: Pool, session: Session, event: SessionReplay, message: Message, now: float) -> None:
    """Restore what a line had set, without a word to the host; a server is started only where one has to know."""
    router = session.router
    if isinstance(message, Request) and message.method == "initialize" and router is None:
        router = pool.lanes_of(session).pin_legacy(session, message, now)
        router.handshake.propose(message)
        renewal.resume(router, session, event.seq, event.blob)
    elif isinstance(message, Notification) and router is not None:
        router.host(session, event.seq, message, now)
    elif not (isinstance(message, Request) and router is not None and _restored(router, session, event, message, now)):
        pool.emit(Acknowledge(session.id, event.seq))


def _restored(router: Router, session: Session, event: SessionReplay, message: Request, now: float) -> bool:
    """Whether the request set something that is set again now."""
    try:
        if message.method == SUBSCRIBE:
            literal = subscriptions.uri_of(message)
            if literal is not None:
                subscriptions.rebuild(router, session, event.seq, len(message.line), literal)
                router.need(now)
            return literal is not None
        rank = levels.rank_of(message) if message.method == "logging/setLevel" else None
    except Malformed:
        return False
    if rank is not None:
        levels.remember(router, session, event.seq, rank)
        levels.reconcile(router)
    return rank is not None
