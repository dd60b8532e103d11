"""The one `initialize` of an upstream and its answer. MCP 2025-11-25, "Lifecycle".

The first session's request goes up; the answer is kept for each later session, with that session's own id. Never a
second one up in a generation: servers accept it and overwrite what they know of everybody.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from mux import limits
from mux.core import faults
from mux.core.actions import Deliver, Keep
from mux.core.envelope import find_token, result_line, splice
from mux.core.neutral import adapted
from mux.core.scan import Malformed
from mux.core.upstream import State

if TYPE_CHECKING:
    from mux.core.envelope import Answer, Request
    from mux.core.router import Router
    from mux.core.session import Call, Session

INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'


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


class Handshake:
    """opening: the request that goes up. uid: its id while it is up. spoken: a session has sent `initialized`.

    announced: this generation has been told so. waiters: the `initialize` of each session that waits for the answer.
    digest: of the kept answer, whatever its id; empty if there is none. differs: it is not what each host was told, and
    that is logged.
    """

    __slots__ = ("_prefix", "_suffix", "announced", "differs", "digest", "opening", "spoken", "uid", "waiters")

    def __init__(self) -> None:
        self.opening: Request | None = None
        self.uid = b""
        self.waiters: list[Call] = []
        self.spoken = False
        self.announced = False
        self.digest = b""
        self.differs = False
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

    def answered(self, answer: Answer) -> list[Call]:
        """The server has answered: keep a result, forget an error; return who waited."""
        self.uid = b""
        if not answer.failed:
            start, end = answer.span
            self._prefix, self._suffix = answer.line[:start], answer.line[end:] + b"\n"
            self.digest = blake2b(self._prefix + self._suffix, digest_size=limits.ANSWER_DIGEST_BYTES).digest()
            self.differs = False
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

    def release(self) -> list[Call]:
        """Take out everybody who waits."""
        waiters, self.waiters = self.waiters, []
        return waiters

    def ended(self) -> None:
        """The generation is over, or on its way out: an answer to its `initialize` opens nothing."""
        self.uid = b""
        self.announced = False


def initialize(router: Router, session: Session, seq: int, request: Request, now: float) -> None:
    """`initialize` of a host: up if it is the first, else the kept answer."""
    wait(router, session.accept(seq, request), now)


def wait(router: Router, call: Call, now: float) -> None:
    """Answer an `initialize` that is entered, as soon as an answer is known."""
    handshake = router.handshake
    assert call.request is not None  # it is never sent up as a call
    handshake.propose(call.request)
    if handshake.known:
        welcome(router, call)
    elif router.upstream.state is State.FAILED:
        router.fail(call, faults.unavailable(call.id, router.spec.argv, router.upstream.last_error), now)
    else:
        handshake.waiters.append(call)
        router.need(now)


def welcome(router: Router, call: Call) -> None:
    """Give the kept answer to a session. Its shim keeps a digest, and the line that decided the upstream."""
    session = call.session
    if not session.initialize:
        session.initialize = call.seq
        session.answer = router.handshake.digest
        router.emit(Keep(session.id, call.seq, session.answer))
    line = router.handshake.answer_for(call.id)
    router.deliver(call, adapted(line, session.version) if router.lanes.neutral else line)


def ping(router: Router, session: Session, seq: int, request: Request, now: float) -> None:
    """`ping` of a host: the server's to answer once it can."""
    if router.upstream.state is State.READY:
        router.call(session, seq, request, now)
    else:
        router.emit(Deliver(session.id, seq, result_line(request.id)))
