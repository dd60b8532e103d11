"""Requests that a server sends to a client: whom they concern, and under which id. MCP 2025-11-25, "Client features".

On stdio nothing says which call a question belongs to. It is put to a session only on evidence, and an answer counts
only from the session that was asked. Our ids start at random in each backend: a late answer matches nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mux import errors
from mux.core import tasks
from mux.core.actions import Deliver, Log
from mux.core.envelope import (
    Answer,
    Request,
    error_line,
    find_in,
    find_in_result,
    find_token,
    read_host,
    result_line,
    splice,
)
from mux.core.methods import CAPABILITY_OF_QUESTION, MAY_ASK
from mux.core.scan import Malformed, elements, find
from mux.limits import SURVEY_SECONDS, TOMBSTONES

if TYPE_CHECKING:
    from collections.abc import Callable

    from mux.core.router import Router
    from mux.core.session import Edits, Session

ROOTS = "roots/list"


class Survey:
    """A `roots/list` put to several sessions; their roots are joined. missing: who has not answered."""

    __slots__ = ("missing", "roots", "server_id")

    def __init__(self, server_id: bytes) -> None:
        self.server_id = server_id
        self.missing: set[bytes] = set()
        self.roots: dict[bytes, bytes] = {}


class Question:
    """An open question. server_id: the id that the server gave it, as bytes. token: its progress token, or nothing."""

    __slots__ = ("id", "method", "server_id", "session", "survey", "token")

    def __init__(self, session: Session, id_: bytes, server_id: bytes, method: str, token: bytes = b"") -> None:
        self.session = session
        self.id = id_
        self.server_id = server_id
        self.method = method
        self.token = token
        self.survey: Survey | None = None


class Questions:
    """The open questions of one upstream, by our id.

    elicited: whom an `elicitationId` was put to. _lasting: tokens of questions that a task has answered, by session.
    """

    __slots__ = ("_lasting", "_next", "_open", "elicited")

    def __init__(self, first: int) -> None:
        self._open: dict[bytes, Question] = {}
        self._next = first
        self.elicited: dict[bytes, Session] = {}
        self._lasting: dict[tuple[Session, bytes], None] = {}

    def ask(self, session: Session, server_id: bytes, method: str, token: bytes = b"") -> Question:
        """Enter a question for the session, under a fresh id."""
        id_ = b"%d" % self._next
        self._next += 1
        question = Question(session, id_, server_id, method, token)
        self._open[id_] = question
        return question

    def put_to(self, session: Session, elicitation: bytes) -> None:
        """Remember whom that `elicitationId` was put to; the oldest of too many is forgotten."""
        while len(self.elicited) >= TOMBSTONES:
            del self.elicited[next(iter(self.elicited))]
        self.elicited[elicitation] = session

    def answered(self, session: Session, id_: bytes) -> Question | None:
        """Take out the question that `id_` answers, if it was this session's to answer."""
        question = self._open.get(id_)
        if question is None or question.session is not session:
            return None
        del self._open[id_]
        return question

    def withdrawn(self, server_id: bytes) -> list[Question]:
        """Take out what the server cancels by its own id: one question, or all of a survey."""
        gone = [q for q in self._open.values() if q.server_id == server_id]
        for question in gone:
            del self._open[question.id]
        return gone

    def drop(self, id_: bytes) -> None:
        """Forget one question."""
        self._open.pop(id_, None)

    def gave(self, session: Session, token: bytes) -> bool:
        """Whether the server asked this session for progress under `token`."""
        if (session, token) in self._lasting:
            return True
        return any(q.session is session and q.token == token for q in self._open.values())

    def outlast(self, question: Question) -> None:
        """Its progress token lives on with the task that answered it; the oldest of too many is forgotten."""
        while len(self._lasting) >= TOMBSTONES:
            del self._lasting[next(iter(self._lasting))]
        if question.token:
            self._lasting[question.session, question.token] = None

    def put(self, session: Session) -> list[bytes]:
        """The ids of what the session owes an answer to."""
        return [id_ for id_, question in self._open.items() if question.session is session]

    def open_for(self, session: Session) -> bool:
        """Whether the session owes an answer."""
        return bool(self.put(session))

    def leave(self, session: Session) -> list[Question]:
        """Take out all that was put to the session."""
        self.elicited = {id_: asked for id_, asked in self.elicited.items() if asked is not session}
        self._lasting = {key: None for key in self._lasting if key[0] is not session}
        gone = [q for q in self._open.values() if q.session is session]
        for question in gone:
            del self._open[question.id]
        return gone

    def clear(self) -> list[Question]:
        """Take out everything: the server is gone."""
        gone = list(self._open.values())
        self._open.clear()
        self.elicited.clear()
        self._lasting.clear()
        return gone

    def __len__(self) -> int:
        return len(self._open)


def request(router: Router, message: Request, now: float) -> None:
    """A request of the server: answered here (ping), put to whom it concerns, or refused with a reason."""
    if message.method == "ping":
        router.send_up(result_line(message.id))
        return
    if message.method in tasks.OF_ONE:
        host, edits = tasks.question_edits(router, message)
        if host is None or not host.alive:
            router.send_up(error_line(message.id, errors.INVALID_PARAMS, "Task not found"))
        else:
            _ask(router, host, message, edits)
        return
    able, refusal = _candidates(router, message, now)
    if len(able) == 1 and able[0].alive:
        _ask(router, able[0], message, [])
    elif message.method == ROOTS:
        _survey(router, message, now)
    else:
        if len(able) > 1:
            _ambiguous(router, message.method)
        elif able:
            refusal = _GONE
        router.send_up(error_line(message.id, errors.INTERNAL_ERROR, refusal.format(message.method)))


_IDLE = "`{}` belongs to a request of a client, and none is in flight."
_UNABLE = "No client that is at work here has declared what `{}` needs."
_GONE = "The client that `{}` concerns is gone."
_SEVERAL = (
    "Several clients share this server and `{}` does not say which one it concerns, so nobody was asked. "
    "From now on their calls take turns; `mux-shim --scope session` gives each client a server of its own."
)


def _candidates(router: Router, message: Request, now: float) -> tuple[list[Session], str]:
    """The sessions that a question can concern, and what to say if that is not exactly one.

    Cancelled requests count for a while, those of sessions that are gone too: the server may still be at work for them.
    The only session at work is asked what it has not declared, too: it answers that as it would without us. So is one
    that this server has never shared with another, at work or not.
    """
    known, owner = tasks.related(router, message)
    if known:
        return [owner] if owner else [], _GONE
    at_work = {call.session.id: call.session for call in router.ids.at_work(now) if call.method in MAY_ASK}
    capability = CAPABILITY_OF_QUESTION.get(message.method)
    able = [s for s in at_work.values() if capability is None or capability in s.capabilities]
    if not able and not router.lanes.neutral:  # whose server was told that its client can nothing
        if len(at_work) == 1:
            able = list(at_work.values())
        elif not at_work and router.met == 1:
            able = list(router.sessions.values())
    return able, _SEVERAL if able else _UNABLE if at_work else _IDLE


def _ambiguous(router: Router, method: str) -> None:
    """Its calls take turns from now on, and no other session joins it, nor any other server of this command."""
    router.lanes.asks = not router.lanes.neutral
    if not router.turns.needed:
        router.turns.needed = True
        router.emit(Log("warning", "question.ambiguous", {"upstream": router.number, "method": method}))


def _ask(router: Router, session: Session, message: Request, edits: Edits) -> None:
    try:
        span = find_token(message)
        elicitation = find_in(message, b"elicitationId")
    except Malformed:
        span = elicitation = None
    token = message.line[slice(*span)] if span else b""
    question = router.questions.ask(session, message.id, message.method, token)
    if elicitation:
        router.questions.put_to(session, message.line[slice(*elicitation)])
    router.emit(Deliver(session.id, 0, splice(message.line, (message.span, question.id), *edits)))


def _survey(router: Router, message: Request, now: float) -> None:
    """`roots/list` concerns everybody who declared roots: the union, by URI. MCP "Roots"."""
    survey = Survey(message.id)
    for session in list(router.sessions.values()):
        if "roots" in session.capabilities:
            question = router.questions.ask(session, message.id, ROOTS)
            question.survey = survey
            survey.missing.add(question.id)
            router.emit(Deliver(session.id, 0, splice(message.line, (message.span, question.id))))
    router.timers.set((router.number, "survey", survey), now + SURVEY_SECONDS)
    _conclude(router, survey)


def _conclude(router: Router, survey: Survey) -> None:
    if survey.missing:
        return
    router.timers.cancel((router.number, "survey", survey))
    router.send_up(result_line(survey.server_id, b'{"roots":[%b]}' % b",".join(survey.roots.values())))


def overdue(router: Router, survey: Survey) -> None:
    """Somebody does not answer: go on with the roots of those who did."""
    for id_ in survey.missing:
        router.questions.drop(id_)
    survey.missing.clear()
    _conclude(router, survey)


def withdraw(router: Router, server_id: bytes) -> list[Question]:
    """The server wants no answer any more to what it asked under that id of its own; returns what to cancel."""
    gone = router.questions.withdrawn(server_id)
    for question in gone:
        router.timers.cancel((router.number, "survey", question.survey))
    return gone


def end(router: Router) -> None:
    """The server is gone: nobody has to answer it any more, and an answer would reach its successor."""
    for question in router.questions.clear():
        router.timers.cancel((router.number, "survey", question.survey))
        line = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b}}\n' % question.id
        router.emit(Deliver(question.session.id, 0, line))


def answered(router: Router, session: Session, answer: Answer) -> None:
    """An answer of a host: to the server, if it was this session's to give."""
    question = router.questions.answered(session, answer.id)
    if question is None:
        return
    if question.survey is not None:
        _collect(question.survey, question.id, answer)
        _conclude(router, question.survey)
        return
    edits = [] if answer.failed else tasks.answer_edits(router, session, question.method, answer.line)
    if edits and not question.method.startswith("tasks/"):
        router.questions.outlast(question)
    router.send_up(splice(answer.line, (answer.span, question.server_id), *edits))


def lost(router: Router, session: Session, id_: bytes | None, refusal: Callable[[bytes], bytes]) -> None:
    """The session has answered in a way that can not be passed on: the server gets a refusal, and waits no longer.

    id_: what was answered; None if that can not be read: then it is the session's only open question, if there is one.
    refusal: an error of ours for an id, as a line.
    """
    asked = [id_] if id_ is not None else router.questions.put(session)
    answer = read_host(refusal(asked[0])[:-1]) if len(asked) == 1 else None
    if isinstance(answer, Answer):
        answered(router, session, answer)


def _collect(survey: Survey, id_: bytes, answer: Answer) -> None:
    survey.missing.discard(id_)
    try:
        span = None if answer.failed else find_in_result(answer.line, b"roots")
        for start, end in elements(answer.line, span[0]) if span else []:
            uri = find(answer.line, b"uri", at=start)
            if uri:
                survey.roots.setdefault(answer.line[slice(*uri)], answer.line[start:end])
    except Malformed:
        return


def leave(router: Router, session: Session) -> None:
    """A session that is gone answers nothing."""
    for question in router.questions.leave(session):
        if question.survey is not None:
            question.survey.missing.discard(question.id)
            _conclude(router, question.survey)
        else:
            line = error_line(question.server_id, errors.INTERNAL_ERROR, "The client that was asked is gone.")
            router.send_up(line)
