"""`resources/subscribe` of many sessions, counted per URI. MCP 2025-11-25, "Resources", "Subscriptions".

Only the first subscription and the last cancellation of a URI go up, one change at a time; a count changes only after
the server has agreed.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mux.core import faults
from mux.core.actions import Acknowledge, Deliver, Keep
from mux.core.envelope import find_in, result_line
from mux.core.methods import SUBSCRIBE
from mux.core.scan import unescape

if TYPE_CHECKING:
    from mux.core.envelope import Answer, Notification, Request
    from mux.core.router import Router
    from mux.core.session import Call, Session, Watch


class Topic:
    """One URI. literal: its JSON string. holders: sessions with the LINE that subscribed. busy: a change is up.

    told: the server has agreed that we are subscribed. advancing: somebody is already at its queue.
    """

    __slots__ = ("advancing", "busy", "holders", "literal", "queue", "told")

    def __init__(self, literal: bytes) -> None:
        self.literal = literal
        self.holders: dict[int, int] = {}
        self.busy = False
        self.told = False
        self.advancing = False
        self.queue: deque[Call] = deque()


class Subscriptions:
    """The topics that anybody holds or is changing, by URI. due: those whose change is over, once it is answered."""

    __slots__ = ("due", "topics")

    def __init__(self) -> None:
        self.topics: dict[bytes, Topic] = {}
        self.due: list[Topic] = []

    def topic(self, literal: bytes) -> Topic:
        """The topic of a URI, as a JSON string; a new one if there is none."""
        uri = unescape(literal)
        topic = self.topics.get(uri)
        if topic is None:
            topic = self.topics[uri] = Topic(literal)
        return topic

    @property
    def held(self) -> bool:
        """Whether any session is subscribed to anything."""
        return any(topic.holders for topic in self.topics.values())

    def concerned(self, uri: bytes) -> list[int]:
        """Sessions subscribed to `uri`, or else to its longest prefix: a server may name a part of what was asked."""
        topic = self.topics.get(uri)
        if topic is not None and topic.holders:
            return list(topic.holders)
        prefixes = [held for held, other in self.topics.items() if other.holders and uri.startswith(held)]
        return list(self.topics[max(prefixes, key=len)].holders) if prefixes else []


def change(router: Router, session: Session, seq: int, request: Request, now: float) -> None:
    """`resources/subscribe` or `resources/unsubscribe` of a host."""
    literal = uri_of(request)
    if literal is None:
        router.call(session, seq, request, now)
        return
    if request.method == SUBSCRIBE and not session.reserve(seq, len(request.line)):
        router.emit(Deliver(session.id, seq, faults.kept_too_much(request.id)))
        return
    topic = router.subscriptions.topic(literal)
    topic.queue.append(session.accept(seq, request))
    _advance(router, topic, now)


def uri_of(message: Request | Notification) -> bytes | None:
    """The JSON string of `params.uri`, or None. Raises Malformed if it stands twice."""
    span = find_in(message, b"uri")
    literal = message.line[slice(*span)] if span else b""
    return literal if literal[:1] == b'"' else None


def _advance(router: Router, topic: Topic, now: float) -> None:
    """Take up the next changes, until one has to go up. An answer to it that comes at once is taken up here too."""
    if topic.advancing:
        return
    topic.advancing = True
    while topic.queue and not topic.busy:
        call = topic.queue.popleft()
        session = call.session
        held = session.id in topic.holders
        alone = len(topic.holders) == (1 if held else 0)
        if alone if call.method != SUBSCRIBE else not topic.holders:
            topic.busy = True
            call.watch = _watch(router, topic, call)
            router.dispatch(call, now)
        else:
            _settle(router, topic, call)
            router.deliver(call, result_line(call.id))
    topic.advancing = False
    if not topic.holders and not topic.queue and not topic.busy:
        router.subscriptions.topics.pop(unescape(topic.literal), None)


def _watch(router: Router, topic: Topic, call: Call) -> Watch:
    def answered(answer: Answer | None, _now: float) -> None:
        topic.busy = False
        if answer is None or answer.failed:
            call.session.unreserve(call.seq)
        else:
            topic.told = call.method == SUBSCRIBE
            if call.session.alive:
                _settle(router, topic, call)
        if answer is not None:
            _correct(router, topic)
        router.subscriptions.due.append(topic)

    return answered


def proceed(router: Router, now: float) -> None:
    """Take up what waited for changes that have their answers now."""
    due = router.subscriptions.due
    while due:
        _advance(router, due.pop(), now)


def _settle(router: Router, topic: Topic, call: Call) -> None:
    """The session's own state changes; its shim keeps the LINE that rebuilds it."""
    session = call.session
    earlier = topic.holders.pop(session.id, 0)
    if earlier:
        session.unreserve(earlier)
        router.emit(Acknowledge(session.id, earlier))
    if call.method == SUBSCRIBE:
        topic.holders[session.id] = call.seq
        router.emit(Keep(session.id, call.seq))


def _correct(router: Router, topic: Topic) -> None:
    """Tell the server what its clients hold, where that is not what it knows: a session has left, or was rebuilt."""
    wanted = bool(topic.holders)
    if topic.busy or topic.told == wanted:
        return

    def answered(answer: Answer | None, now: float) -> None:
        topic.busy = False
        if answer is not None and not answer.failed:
            topic.told = wanted
            _correct(router, topic)
        _advance(router, topic, now)

    verb = b"resources/subscribe" if wanted else b"resources/unsubscribe"
    topic.busy = router.request_up(verb, b'{"uri":%b}' % topic.literal, answered)


def withdraw(router: Router, session: Session) -> list[Call]:
    """Take out the changes of the session that wait behind others."""
    gone: list[Call] = []
    for topic in router.subscriptions.topics.values():
        gone += [call for call in topic.queue if call.session is session]
        topic.queue = deque(call for call in topic.queue if call.session is not session)
    return gone


def leave(router: Router, session: Session, now: float) -> None:
    """A session that is gone holds nothing."""
    for topic in list(router.subscriptions.topics.values()):
        topic.holders.pop(session.id, None)
        _correct(router, topic)
        _advance(router, topic, now)


def rebuild(router: Router, session: Session, seq: int, size: int, literal: bytes) -> None:
    """The session held this URI under an earlier backend, by a line of so many bytes."""
    topic = router.subscriptions.topic(literal)
    session.reserve(seq, size)
    topic.holders[session.id] = seq
    router.emit(Keep(session.id, seq))
    _correct(router, topic)


def restore(router: Router) -> None:
    """A new generation knows of no subscription yet."""
    for topic in router.subscriptions.topics.values():
        topic.told = False
        _correct(router, topic)
