"""Who owns a task. MCP 2025-11-25, "Tasks".

A server's task belongs to the session whose call it answered; another live session is told there is none. A task of a
session that is gone belongs to nobody: whoever knows its id may have it. Tasks that clients host have ids that are
unique per client only: the server sees ids of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mux.core import scan
from mux.core.actions import Deliver
from mux.core.envelope import Malformed, error_line, find_in, find_in_result, splice
from mux.errors import INVALID_PARAMS

if TYPE_CHECKING:
    from mux.core.envelope import Answer, Notification, Request
    from mux.core.router import Router
    from mux.core.scan import Span
    from mux.core.session import Edits, Session

RELATED = b"io.modelcontextprotocol/related-task"


class Tasks:
    """owner: session by id of a server's task. hosted: (session, its id) by our id of a client's task."""

    __slots__ = ("_next", "hosted", "ours", "owner")

    def __init__(self, first: int) -> None:
        self.owner: dict[bytes, Session] = {}
        self.hosted: dict[bytes, tuple[Session, bytes]] = {}
        self.ours: dict[tuple[int, bytes], bytes] = {}
        self._next = first

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
        self.owner = {task: owner for task, owner in self.owner.items() if owner is not session}
        for ours in [ours for ours, (host, _) in self.hosted.items() if host is session]:
            del self.ours[session.id, self.hosted.pop(ours)[1]]

    def clear(self) -> None:
        """The server is gone, and its tasks with it."""
        self.owner.clear()
        self.hosted.clear()
        self.ours.clear()


def call(router: Router, session: Session, seq: int, request: Request, now: float) -> None:
    """A `tools/call`; if it asks for a task, its answer names the task and makes the session the owner."""
    if b'"task"' not in request.line and b"\\u" not in request.line:
        router.call(session, seq, request, now)
        return

    def answered(answer: Answer | None, _now: float) -> None:
        if answer is not None and not answer.failed and session.alive:
            span = _named_in_result(answer.line, b"task", b"taskId")
            if span:
                router.tasks.owner[answer.line[slice(*span)]] = session

    router.call(session, seq, request, now, watch=answered)


def use(router: Router, session: Session, seq: int, request: Request, now: float) -> None:
    """`tasks/get`, `tasks/result`, `tasks/cancel`: not for the task of another live session."""
    span = _named(request, b"taskId")
    owner = router.tasks.owner.get(request.line[slice(*span)]) if span else None
    if owner is not None and owner is not session:
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
    owner = router.tasks.owner.get(line[slice(*span)]) if span else None
    return owner is None or owner is session


def related(router: Router, message: Request | Notification) -> Session | None:
    """The owner of the task that `_meta` relates a message to. MCP "Tasks", "Associating task-related messages"."""
    span = _named(message, b"_meta", RELATED, b"taskId")
    return router.tasks.owner.get(message.line[slice(*span)]) if span else None


def status_from_server(router: Router, message: Notification) -> Session | None:
    """Whom a `notifications/tasks/status` of the server concerns."""
    span = _named(message, b"taskId")
    return router.tasks.owner.get(message.line[slice(*span)]) if span else None


def status_from_host(router: Router, session: Session, message: Notification) -> bytes | None:
    """A host's `notifications/tasks/status` as the server knows the task, or None for a task it was never told of."""
    span = _named(message, b"taskId")
    ours = router.tasks.ours.get((session.id, message.line[slice(*span)])) if span else None
    return splice(message.line, (span, ours)) if span and ours else None


def question_edits(router: Router, message: Request) -> tuple[Session | None, Edits]:
    """For a server's `tasks/*`: the session that hosts the task, and the task id as it knows it."""
    span = _named(message, b"taskId")
    hosted = router.tasks.hosted.get(message.line[slice(*span)]) if span else None
    return (hosted[0], [(span, hosted[1])]) if span and hosted else (None, [])


def answer_edits(router: Router, session: Session, method: str, line: bytes) -> Edits:
    """What a host's answer to a question says of its own tasks, in ids of ours."""
    edits: Edits = []
    own = (b"taskId",) if method.startswith("tasks/") else (b"task", b"taskId")
    for path in ((b"_meta", RELATED, b"taskId"), own):
        span = _named_in_result(line, *path)
        if span:
            edits.append((span, router.tasks.host(session, line[slice(*span)])))
    return edits


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
