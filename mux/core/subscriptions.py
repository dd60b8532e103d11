"""`resources/subscribe` of many sessions, counted per URI. MCP 2025-11-25, "Resources", "Subscriptions".

Only the first subscription and the last cancellation of a URI go up, one change at a time; a count changes only after
the server has agreed.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mux.core.actions import Acknowledge, Deliver, Keep
from mux.core.envelope import Malformed, find_in, result_line
from mux.core.scan import unescape

if TYPE_CHECKING:
    from mux.core.envelope import Answer, Notification, Request
    from mux.core.router import Router
    from mux.core.session import Call, Session, Watch

SUBSCRIBE = "resources/subscribe"


class Topic:
    """One URI. literal: its JSON string. holders: sessions with the LINE that subscribed. busy: a change is up."""

    __slots__ = ("busy", "holders", "literal", "queue")

    def __init__(self, literal: bytes) -> None:
        self.literal = literal
        self.holders: dict[int, int] = {}
        self.busy = False
        self.queue: deque[Call] = deque()


class Subscriptions:
    """The topics that anybody holds or is changing, by URI."""

    __slots__ = ("topics",)

    def __init__(self) -> None:
        self.topics: dict[bytes, Topic] = {}

    def concerned(self, uri: bytes) -> set[int]:
        """Sessions subscribed to `uri`, or else to its longest prefix: a server may name a part of what was asked."""
        topic = self.topics.get(uri)
        if topic is not None and topic.holders:
            return set(topic.holders)
        prefixes = [held for held, other in self.topics.items() if other.holders and uri.startswith(held)]
        return set(self.topics[max(prefixes, key=len)].holders) if prefixes else set()


def change(router: Router, session: Session, seq: int, request: Request, now: float) -> None:
    """`resources/subscribe` or `resources/unsubscribe` of a host."""
    literal = uri_of(request)
    if literal is None:
        router.call(session, seq, request, now)
        return
    topic = router.subscriptions.topics.setdefault(unescape(literal), Topic(literal))
    topic.queue.append(router.register(session, seq, request))
    _advance(router, topic, now)


def uri_of(message: Request | Notification) -> bytes | None:
    """The JSON string of `params.uri`, or None."""
    try:
        span = find_in(message, b"uri")
    except Malformed:
        return None
    literal = message.line[slice(*span)] if span else b""
    return literal if literal[:1] == b'"' else None


def _advance(router: Router, topic: Topic, now: float) -> None:
    while topic.queue and not topic.busy:
        call = topic.queue.popleft()
        session = call.session
        if not session.alive or call.cancelled:
            continue
        held = session.id in topic.holders
        alone = len(topic.holders) == (1 if held else 0)
        if alone if call.method != SUBSCRIBE else not topic.holders:
            topic.busy = True
            call.watch = _watch(router, topic, call)
            router.dispatch(call, now)
        else:
            _settle(router, topic, call)
            router.emit(Deliver(session.id, call.seq, result_line(call.id)))
            router.finish(call)
    if not topic.holders and not topic.queue and not topic.busy:
        router.subscriptions.topics.pop(unescape(topic.literal), None)


def _watch(router: Router, topic: Topic, call: Call) -> Watch:
    def answered(answer: Answer | None, now: float) -> None:
        topic.busy = False
        if answer is not None and not answer.failed:
            if call.session.alive:
                _settle(router, topic, call)
            elif call.method == SUBSCRIBE:
                _release(router, topic)
        _advance(router, topic, now)

    return answered


def _settle(router: Router, topic: Topic, call: Call) -> None:
    """The session's own state changes; its shim keeps the LINE that rebuilds it."""
    session = call.session
    earlier = topic.holders.pop(session.id, 0)
    if earlier and earlier != call.seq:
        router.emit(Acknowledge(session.id, earlier))
    if call.method == SUBSCRIBE:
        topic.holders[session.id] = call.seq
        router.emit(Keep(session.id, call.seq))


def _release(router: Router, topic: Topic) -> None:
    """Nobody holds the URI any more: tell the server."""
    topic.busy = True

    def answered(_answer: Answer | None, now: float) -> None:
        topic.busy = False
        _advance(router, topic, now)

    if not router.request_up(b"resources/unsubscribe", b'{"uri":%b}' % topic.literal, answered):
        topic.busy = False


def leave(router: Router, session: Session, now: float) -> None:
    """A session that is gone holds nothing."""
    for topic in list(router.subscriptions.topics.values()):
        if topic.holders.pop(session.id, None) and not topic.holders and not topic.busy:
            _release(router, topic)
        _advance(router, topic, now)


def rebuild(router: Router, session: Session, seq: int, request: Request) -> None:
    """The session held this URI under an earlier backend."""
    literal = uri_of(request)
    if literal is None:
        return
    topic = router.subscriptions.topics.setdefault(unescape(literal), Topic(literal))
    first = not topic.holders
    topic.holders[session.id] = seq
    if first:
        _hold(router, topic)


def restore(router: Router) -> None:
    """A new generation knows of no subscription yet."""
    for topic in list(router.subscriptions.topics.values()):
        if topic.holders and not topic.busy:
            _hold(router, topic)


def _hold(router: Router, topic: Topic) -> None:
    def answered(_answer: Answer | None, now: float) -> None:
        topic.busy = False
        _advance(router, topic, now)

    topic.busy = router.request_up(b"resources/subscribe", b'{"uri":%b}' % topic.literal, answered)
