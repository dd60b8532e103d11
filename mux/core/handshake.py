"""The one `initialize` of an upstream and its answer. MCP 2025-11-25, "Lifecycle".

The first session's request goes up; the answer is kept for each later session, with that session's own id. Never a
second one up in a generation: servers accept it and overwrite what they know of everybody.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from mux.core.envelope import Malformed, find_token, splice

if TYPE_CHECKING:
    from mux.core.envelope import Answer, Request
    from mux.core.session import Session


class _List(msgspec.Struct):
    listChanged: bool = False  # noqa: N815 - the name on the wire


class _Capabilities(msgspec.Struct):
    tools: _List = msgspec.field(default_factory=_List)
    prompts: _List = msgspec.field(default_factory=_List)
    resources: _List = msgspec.field(default_factory=_List)


class _Result(msgspec.Struct):
    capabilities: _Capabilities = msgspec.field(default_factory=_Capabilities)


class _Answer(msgspec.Struct):
    result: _Result


INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'


class Waiter:
    """A session that waits for the answer to its `initialize`."""

    __slots__ = ("id", "seq", "session")

    def __init__(self, session: Session, seq: int, id_: bytes) -> None:
        self.session = session
        self.seq = seq
        self.id = id_


class Handshake:
    """opening: the request that goes up. uid: its id while it is up. spoken: a session has sent `initialized`.

    announced: this generation has been told so.
    """

    __slots__ = ("_prefix", "_suffix", "announced", "opening", "spoken", "uid", "waiters")

    def __init__(self) -> None:
        self.opening: Request | None = None
        self.uid = b""
        self.waiters: list[Waiter] = []
        self.spoken = False
        self.announced = False
        self._prefix = b""
        self._suffix = b""

    @property
    def known(self) -> bool:
        """Whether an answer is kept."""
        return bool(self._prefix)

    def propose(self, request: Request) -> None:
        """Let `request` open the upstream, unless another one already does."""
        if self.opening is None:
            self.opening = request

    def send(self, uid: bytes) -> bytes:
        """The line that opens a generation, with `uid` as its id and as its progress token if it has one."""
        assert self.opening is not None  # a generation starts only for a session that has initialised
        self.uid = uid
        self.announced = False
        edits = [(self.opening.span, uid)]
        with suppress(Malformed):  # which of two tokens counts is the server's to say: no progress of it is delivered
            token = find_token(self.opening)
            if token is not None:
                edits.append((token, uid))
        return splice(self.opening.line, *edits)

    def answered(self, answer: Answer) -> list[Waiter]:
        """The server has answered: keep a result, forget an error; return who waited."""
        self.uid = b""
        if not answer.failed:
            start, end = answer.span
            self._prefix, self._suffix = answer.line[:start], answer.line[end:] + b"\n"
        return self.release()

    def declared_lists(self) -> list[bytes]:
        """The lists whose changes the server announces: tools, prompts, resources."""
        try:
            known = msgspec.json.decode(self._prefix + b"0" + self._suffix, type=_Answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return []
        lists = known.result.capabilities
        return [kind for kind in (b"tools", b"prompts", b"resources") if getattr(lists, kind.decode()).listChanged]

    def answer_for(self, id_: bytes) -> bytes:
        """The kept answer as a line for a session that asked with `id_`."""
        return self._prefix + id_ + self._suffix

    def release(self) -> list[Waiter]:
        """Take out everybody who waits."""
        waiters, self.waiters = self.waiters, []
        return waiters

    def ended(self) -> None:
        """The generation is over."""
        self.uid = b""
        self.announced = False
