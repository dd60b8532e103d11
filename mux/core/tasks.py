"""Who owns a task. MCP 2025-11-25, "Tasks".

A server's task belongs to the session whose call it answered; another live session is told there is none. A task of a
session that is gone belongs to nobody: whoever knows its id may have it. Tasks that clients host have ids that are
unique per client only: the server sees ids of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mux.core import scan
from mux.core.actions import Deliver
from mux.core.envelope import error_line, find_in, find_in_result, id_key
from mux.core.scan import Malformed
from mux.errors import INVALID_PARAMS
from mux.limits import TOMBSTONES

if TYPE_CHECKING:
    from mux.core.envelope import Answer, Notification, Request
    from mux.core.router import Router
    from mux.core.scan import Span
    from mux.core.session import Edits, Session

RELATED = b"io.modelcontextprotocol/related-task"


OF_ONE = frozenset({"tasks/cancel", "tasks/get", "tasks/result"})
"""What a server asks the client that hosts the task."""


class Tasks:
    """owner: session by id of a server's task, or None once it is gone. hosted, ours: clients' tasks, by either id."""

    __slots__ = ("_next", "hosted", "ours", "owner")

    def __init__(self, first: int) -> None:
        self.owner: dict[bytes, Session | None] = {}
        self.hosted: dict[bytes, tuple[Session, bytes]] = {}
        self.ours: dict[tuple[int, bytes], bytes] = {}
        self._next = first

    @property
    def owned(self) -> bool:
        """Whether a task may be running for somebody."""
        return any(self.owner.values())

    def own(self, session: Session | None, literal: bytes) -> None:
        """The session's call was answered by this task; None if it is gone. The oldest of too many is forgotten."""
        while len(self.owner) >= TOMBSTONES:
            del self.owner[next(iter(self.owner))]
        self.owner[id_key(literal)] = session

    def belongs_elsewhere(self, session: Session, literal: bytes) -> bool:
        """Whether the task is that of another live session."""
        owner = self.owner.get(id_key(literal))
        return owner is not None and owner is not session

    def host(self, session: Session, literal: bytes) -> bytes:
        """The JSON string under which the server knows the session's own task `literal`."""
        known = self.ours.get((session.id, literal))
        if known is None:
            known = b'"mux-task-%d"' % self._next
            self._next += 1
            self.ours[session.id, literal] = known
            self.hosted[known] = (session, literal)
        return known

    def leave(self, session: Session) -> None:
        """The session's tasks become nobody's; those that it hosted are gone."""
        for task in [task for task, owner in self.owner.items() if owner is session]:
            self.owner[task] = None
        for ours in [ours for ours, (host, _) in self.hosted.items() if host is session]:
            del self.ours[session.id, self.hosted.pop(ours)[1]]

    def clear(self) -> None:
        """The server is gone, and its tasks with it."""
        self.owner.clear()
        self.hosted.clear()
        self.ours.clear()


def call(router: Router, session: Session, seq: int, request: Request, now: float) -> None:
    """A `tools/call`; if it asks for a task, its answer names the task and makes the session the owner."""
    if request.line.find(b'"task"') < 0 and not request.escaped:
        router.call(session, seq, request, now)
        return

    def answered(answer: Answer | None, now: float) -> None:
        span = _named_in_result(answer.line, b"task", b"taskId") if answer is not None and not answer.failed else None
        if answer is not None and span:
            router.tasks.own(session if session.alive else None, answer.line[slice(*span)])
            router.ids.outlast(answer.id)
            router.keep(now)

    router.call(session, seq, request, now, watch=answered)


def use(router: Router, session: Session, seq: int, request: Request, now: float) -> None:
    """`tasks/get`, `tasks/result`, `tasks/cancel`: not for the task of another live session."""
    span = find_in(request, b"taskId")
    if span and router.tasks.belongs_elsewhere(session, request.line[slice(*span)]):
        router.emit(Deliver(session.id, seq, error_line(request.id, INVALID_PARAMS, "Task not found")))
        return
    router.call(session, seq, request, now)


def list_(router: Router, session: Session, seq: int, request: Request, now: float) -> None:
    """`tasks/list`: the session's own tasks and nobody's."""

    def answered(answer: Answer | None, _now: float) -> Edits:
        span = _named_in_result(answer.line, b"tasks") if answer is not None else None
        if answer is None or span is None:
            return []
        try:
            listed = scan.elements(answer.line, span[0])
        except Malformed:  # no list of tasks: the server's own sloppiness
            return []
        shown: list[bytes] = []
        hidden = False
        for start, end in listed:
            if _is_shown(router, session, answer.line, start):
                shown.append(answer.line[start:end])
            else:
                hidden = True
        return [(span, b"[%b]" % b",".join(shown))] if hidden else []

    router.call(session, seq, request, now, watch=answered)


def _is_shown(router: Router, session: Session, line: bytes, at: int) -> bool:
    """Whether the task at `at` of a list is not another live session's. One with two ids is nobody's."""
    try:
        span = scan.find(line, b"taskId", at=at)
    except Malformed:
        return False
    return not (span and router.tasks.belongs_elsewhere(session, line[slice(*span)]))


def related(router: Router, message: Request | Notification) -> tuple[bool, Session | None]:
    """Whether `_meta` relates a message to a task that was seen here, and the task's owner while that lives.

    MCP "Tasks", "Associating task-related messages".
    """
    span = _named(message, b"_meta", RELATED, b"taskId")
    task = id_key(message.line[slice(*span)]) if span else b""
    return task in router.tasks.owner, router.tasks.owner.get(task)


def status_from_server(router: Router, message: Notification) -> Session | None:
    """Whom a `notifications/tasks/status` of the server concerns."""
    span = _named(message, b"taskId")
    return router.tasks.owner.get(id_key(message.line[slice(*span)])) if span else None


def notification_edits(router: Router, session: Session, message: Notification, *path: bytes) -> Edits:
    """The host's own task at `path` of its notification as the server knows it; nothing if it was never told of it.

    Raises Malformed if it names two.
    """
    span = find_in(message, *path)
    ours = router.tasks.ours.get((session.id, message.line[slice(*span)])) if span else None
    return [(span, ours)] if span and ours else []


def question_edits(router: Router, message: Request) -> tuple[Session | None, Edits]:
    """For a server's `tasks/*`: the session that hosts the task, and the task id as it knows it."""
    span, also = _named(message, b"taskId"), _named(message, b"_meta", RELATED, b"taskId")
    task = message.line[slice(*span)] if span else b""
    hosted = router.tasks.hosted.get(task)
    if hosted is None:
        return None, []
    return hosted[0], [(at, hosted[1]) for at in (span, also) if at and message.line[slice(*at)] == task]


def answer_edits(router: Router, session: Session, method: str, line: bytes) -> Edits:
    """What a host's answer to a question says of its own tasks, in ids of ours."""
    if method == "tasks/list":
        spans = _listed(line)
    elif method.startswith("tasks/"):
        spans = [_named_in_result(line, b"taskId"), _named_in_result(line, b"_meta", RELATED, b"taskId")]
    else:  # what else it relates to would be a task of the server's
        spans = [_named_in_result(line, b"task", b"taskId")]
    return [(span, router.tasks.host(session, line[slice(*span)])) for span in spans if span]


def _listed(line: bytes) -> list[Span | None]:
    """Where the ids of a list of tasks stand."""
    span = _named_in_result(line, b"tasks")
    try:
        return [scan.find(line, b"taskId", at=start) for start, _ in scan.elements(line, span[0])] if span else []
    except Malformed:
        return []


def _named(message: Request | Notification, *path: bytes) -> Span | None:
    try:
        return find_in(message, *path)
    except Malformed:
        return None


def _named_in_result(line: bytes, *path: bytes) -> Span | None:
    try:
        return find_in_result(line, *path)
    except Malformed:
        return None
