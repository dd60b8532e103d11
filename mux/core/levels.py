"""`logging/setLevel` of many sessions on one server. MCP 2025-11-25, "Logging".

Up goes the most verbose level that any session set; each session gets what its own level lets through. Every request is
forwarded, so that the server judges a bad level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mux.core.actions import Acknowledge, Keep
from mux.core.envelope import Request, find_in, read_host, splice
from mux.core.scan import Malformed

if TYPE_CHECKING:
    from mux.core.envelope import Answer, Notification
    from mux.core.router import Router
    from mux.core.session import Session

NAMES = (b"debug", b"info", b"notice", b"warning", b"error", b"critical", b"alert", b"emergency")
RANKS = {b'"%b"' % name: rank for rank, name in enumerate(NAMES)}
DEFAULT = RANKS[b'"info"']
"""What a session that never set a level gets once another one has."""


class Levels:
    """of: the level of each session that set one, with the LINE that did. up: the level that the server has."""

    __slots__ = ("of", "up")

    def __init__(self) -> None:
        self.of: dict[int, tuple[int, int]] = {}
        self.up: int | None = None

    def wanted(self) -> int | None:
        """The most verbose level that a session set."""
        return min((rank for rank, _ in self.of.values()), default=None)

    def passes(self, session: Session, rank: int | None) -> bool:
        """Whether a message of this level is for the session."""
        if rank is None or not self.of:
            return True
        return rank >= self.of.get(session.id, (DEFAULT, 0))[0]


def rank_of(message: Request | Notification) -> int | None:
    """The level that a message names, or None. Raises Malformed if it names two."""
    span = find_in(message, b"level")
    return RANKS.get(message.line[slice(*span)]) if span else None


def rank_of_log(message: Notification) -> int | None:
    """The level of a server's log message, or None where it can not be told."""
    try:
        return rank_of(message)
    except Malformed:
        return None


def set_level(router: Router, session: Session, seq: int, request: Request, now: float) -> None:
    """`logging/setLevel` of a host: goes up as the level that all of them need together."""
    rank = rank_of(request)
    if rank is None:
        router.call(session, seq, request, now)
        return
    others = [other for id_, (other, _) in router.levels.of.items() if id_ != session.id]
    needed = min([rank, *others])
    if needed != rank:
        span = find_in(request, b"level")
        assert span is not None  # rank_of found it
        raised = read_host(splice(request.line, (span, b'"%b"' % NAMES[needed]))[:-1])
        assert isinstance(raised, Request)  # only a word of the same kind was exchanged
        request = raised

    def answered(answer: Answer | None, _now: float) -> None:
        if answer is not None and not answer.failed:
            router.levels.up = needed
            if session.alive:
                remember(router, session, seq, rank)
            reconcile(router)

    router.call(session, seq, request, now, watch=answered)


def remember(router: Router, session: Session, seq: int, rank: int) -> None:
    """The session has this level; the LINE that set it rebuilds it, an earlier one is not needed any more."""
    _, earlier = router.levels.of.get(session.id, (0, 0))
    if earlier and earlier != seq:
        router.emit(Acknowledge(session.id, earlier))
    router.levels.of[session.id] = (rank, seq)
    router.emit(Keep(session.id, seq))


def reconcile(router: Router) -> None:
    """Tell the server what is needed now, if that is not what it has."""
    wanted = router.levels.wanted()
    if wanted is None or wanted == router.levels.up:
        return
    router.levels.up = wanted
    router.request_up(b"logging/setLevel", b'{"level":"%b"}' % NAMES[wanted])


def leave(router: Router, session: Session) -> None:
    """A session that is gone needs no level."""
    if router.levels.of.pop(session.id, None):
        reconcile(router)


def restore(router: Router) -> None:
    """A new generation has no level yet."""
    router.levels.up = None
    reconcile(router)
