"""Who is at an upstream: sessions that join it, that only ask for its era, that go elsewhere, and that are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mux.core import levels, questions, subscriptions
from mux.core.actions import Log
from mux.core.methods import SETS_STATE
from mux.core.session import State

if TYPE_CHECKING:
    from mux.core.router import Router
    from mux.core.session import Call, Session

_NAME_CHARACTERS = 64
"""Of a client's own name in the log: it may be as long as a message."""

_CANCEL = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b,"reason":"client gone"}}\n'


def join(router: Router, session: Session) -> None:
    """Take the session in; nothing is started for it yet."""
    if session.state is State.OPEN:
        session.enter(State.PINNED)
    session.router = router
    router.sessions[session.id] = session
    router.met += 1
    fields: dict[str, str | int | float] = {"session": session.id, "upstream": router.number}
    if session.client[0]:
        fields |= {"host": session.client[0][:_NAME_CHARACTERS], "version": session.client[1][:_NAME_CHARACTERS]}
    router.emit(Log("info", "session.joined", fields))
    router.grace = max(router.grace, session.grace)
    if session.idle_timeout is not None:
        router.idle_timeout = session.idle_timeout


def hand_over(router: Router, session: Session, other: Router, now: float) -> list[Call]:
    """The session goes on at another upstream, with all that it has said; returns what has reached the server."""
    gone = leave(router, session, now)
    join(other, session)
    if router.handshake.opening is not None:
        other.handshake.propose(router.handshake.opening)
    other.handshake.spoken = session.initialized
    for call in sorted(gone, key=lambda call: call.seq):
        if not call.uid and call.request is not None:
            session.forget(call)
            session.unreserve(call.seq)
            other.host(session, call.seq, call.request, now)
    return [call for call in gone if call.uid]


def invite(router: Router, session: Session) -> None:
    """The session asks this server for its era."""
    session.guest_of = router
    router.guests[session.id] = session
    router.grace = max(router.grace, session.grace)


def leave(router: Router, session: Session, now: float) -> list[Call]:
    """The session is gone, or goes elsewhere: withdraw and return what it waits for, refuse what it was asked.

    What sets state is not cancelled at the server: nobody could tell whether the change was made.
    """
    router.sessions.pop(session.id, None)
    router.guests.pop(session.id, None)
    gone = _waiting(router, session)
    for call in gone:
        if call.watch is not None:
            call.watch(None, now)
    for call in session.open_calls():
        if router.ids.flying.get(call.uid) is call:
            gone.append(call)
            router.release(call)
            router.ids.cancelled(call, now)
            if call.method not in SETS_STATE:
                router.send_up(_CANCEL % call.uid)
    router.ids.leave(session)
    router.tasks.leave(session)
    questions.leave(router, session)
    subscriptions.leave(router, session, now)
    levels.leave(router, session)
    router.pump(now)
    return gone


def _waiting(router: Router, session: Session) -> list[Call]:
    """Take out every request of the session that has not gone up."""
    waiting = [*router.quota.clear(session), *router.turns.leave(session), *subscriptions.withdraw(router, session)]
    for queue in (router.probes, router.listening, router.handshake.waiters):
        waiting += [call for call in queue if call.session is session]
        queue[:] = [call for call in queue if call.session is not session]
    return waiting
