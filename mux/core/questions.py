"""Requests that a server sends to a client: whom they were put to, and under which id. MCP 2025-11-25, "Client features".

On stdio nothing says which call a question belongs to. It is put to a session only on evidence, and an answer counts only
from the session that was asked. Our ids start at random in each life of the backend, so that a late answer matches nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mux.core.session import Session


class Question:
    """An open question. server_id: the id that the server gave it, as bytes. token: its progress token, or nothing."""

    __slots__ = ("id", "method", "server_id", "session", "token")

    def __init__(self, session: Session, id_: bytes, server_id: bytes, method: str, token: bytes) -> None:
        self.session = session
        self.id = id_
        self.server_id = server_id
        self.method = method
        self.token = token


class Questions:
    """The open questions of one upstream, by our id."""

    __slots__ = ("_next", "_open")

    def __init__(self, first: int) -> None:
        self._open: dict[bytes, Question] = {}
        self._next = first

    def ask(self, session: Session, server_id: bytes, method: str, token: bytes) -> Question:
        """Enter a question for the session, under a fresh id."""
        id_ = b"%d" % self._next
        self._next += 1
        question = Question(session, id_, server_id, method, token)
        self._open[id_] = question
        return question

    def answered(self, session: Session, id_: bytes) -> Question | None:
        """Take out the question that `id_` answers, if it was this session's to answer."""
        question = self._open.get(id_)
        if question is None or question.session is not session:
            return None
        del self._open[id_]
        return question

    def withdrawn(self, server_id: bytes) -> Question | None:
        """Take out the question that the server cancels by its own id."""
        for question in self._open.values():
            if question.server_id == server_id:
                del self._open[question.id]
                return question
        return None

    def gave(self, session: Session, token: bytes) -> bool:
        """Whether the server asked this session for progress under `token`."""
        return any(q.session is session and q.token == token for q in self._open.values())

    def leave(self, session: Session) -> list[Question]:
        """Take out all that was put to the session."""
        gone = [q for q in self._open.values() if q.session is session]
        for question in gone:
            del self._open[question.id]
        return gone

    def clear(self) -> list[Question]:
        """Take out everything: the server is gone."""
        gone = list(self._open.values())
        self._open.clear()
        return gone

    def __len__(self) -> int:
        return len(self._open)
