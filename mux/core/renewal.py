"""Sessions that go on at another process than the one that their hosts know. DESIGN: upstream life, wire.

Where a server has died or was restarted, or its backend is gone, its lists may differ from what the hosts have read:
each is told once, of the lists whose changes the new process announces. MCP 2025-11-25, "List Changed Notification";
what modern hosts are told is in `listens`. A server that was stopped because it was idle comes back unseen. Where its
answer to `initialize` is not the one that a host has, that is logged: it can not be given another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mux.core.actions import Deliver, Keep, Log
from mux.core.upstream import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mux.core.router import Router
    from mux.core.session import Session


def outdate(router: Router) -> None:
    """The process that the sessions know is gone, or about to go, and its end is no secret."""
    for session in router.sessions.values():
        session.outdated = bool(session.initialize)


def resume(router: Router, session: Session, seq: int, answer: bytes) -> None:
    """The session has initialised under an earlier backend, by that LINE; `answer`: the digest of what it was told."""
    session.initialize = seq
    session.answer = answer
    session.outdated = True
    router.emit(Keep(session.id, seq, answer))
    if router.upstream.state is State.READY:
        renew(router, (session,))


def renew(router: Router, sessions: Iterable[Session]) -> None:
    """The sessions have a server that is ready: tell each what it has to know of the change, if there was one."""
    lists: list[bytes] | None = None
    for session in sessions:
        _compare(router, session)
        if session.outdated:
            session.outdated = False
            lists = router.handshake.declared_lists() if lists is None else lists
            for kind in lists:
                line = b'{"jsonrpc":"2.0","method":"notifications/%b/list_changed"}\n' % kind
                router.emit(Deliver(session.id, 0, line))


def _compare(router: Router, session: Session) -> None:
    """Log, once a generation, that what a host was told of the server is not what it says now."""
    handshake = router.handshake
    if session.answer and session.answer != handshake.digest and not handshake.differs:
        handshake.differs = True
        fields: dict[str, str | int | float] = {"upstream": router.number, "generation": router.upstream.generation}
        router.emit(Log("warning", "upstream.differs", fields))
