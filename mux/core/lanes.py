"""The two eras of one base key. DESIGN: eras on one process; MCP 2026-07-28, "server/discover", "Versioning".

Both SDK families pin a stdio process to one era by its opening request, so a base key has two lanes, each started when
first needed: modern (one upstream), and legacy (one per canonical `initialize`). A session is pinned by its first
request that is not `server/discover`. The first discover goes to a fresh process; its answer says which lane that is.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from mux import errors, limits
from mux.core import faults, lifecycle
from mux.core.actions import Deliver
from mux.core.envelope import Answer, Malformed, Request, error_line, find_in, splice
from mux.core.identity import canonical_initialize
from mux.core.methods import Era
from mux.core.neutral import opening
from mux.core.scan import find
from mux.core.upstream import State

if TYPE_CHECKING:
    from mux.core.pool import Pool
    from mux.core.router import Router
    from mux.core.session import Session, Watch

VERSION = (b"_meta", b"io.modelcontextprotocol/protocolVersion")
CLIENT = (b"_meta", b"io.modelcontextprotocol/clientInfo")
DISCOVER = "server/discover"

MODERN_ERRORS = frozenset({b"-32020", b"-32021", b"-32022"})
"""Errors that only a modern server gives to a discover. MCP 2026-07-28, "Error codes"."""

FIRST_MODERN = "2026-07-28"

_ASKS = "it asks its clients questions, and of several it could not be told whom"
_DECLARED = "it declares that it bears one session only"
_INITIALIZE_FIRST = (
    "This server is shared by clients of every kind (--clients any), in the protocol up to 2025-11-25: "
    "send `initialize` first."
)

_NOT_FOUND = b'{"jsonrpc":"2.0","id":0,"error":{"code":-32601,"message":"Method not found"}}'
_NOT_FOUND_ID = (_NOT_FOUND.index(b"0,"), _NOT_FOUND.index(b"0,") + 1)


class Verdict(Enum):
    """What is known of a server's eras."""

    UNKNOWN = "unknown"
    PROBING = "probing"
    MODERN = "modern"
    LEGACY = "legacy"


class Held(msgspec.Struct):
    """An `initialize` that waits for the verdict, or a discover whose server died."""

    session: Session
    seq: int
    request: Request


class Lanes:
    """The upstreams of one base key.

    refusal: how the server answered a discover that it does not know. spare: a process that was started by a probe and
    turned out to be legacy; the first session that initialises gets it. asks: it was seen to ask questions whose
    owner is unclear, so each new session gets an upstream of its own. declared: it says so itself, whatever it asks.
    neutral: one upstream for every kind of client, in the era that all of them speak: the legacy one.
    """

    def __init__(self, pool: Pool, key: bytes, *, neutral: bool = False) -> None:
        self.pool = pool
        self.key = key
        self.neutral = neutral
        self.declared = False
        self.verdict = self._at_first = Verdict.LEGACY if neutral else Verdict.UNKNOWN
        self.modern: Router | None = None
        self.spare: Router | None = None
        self.refusal = (_NOT_FOUND, _NOT_FOUND_ID)
        self.asks = False
        self.held: list[Held] = []
        self.stalled: list[Held] = []
        self.stalled_cause = ""

    def first(self, session: Session, seq: int, request: Request, now: float) -> None:
        """A request of a session that is not pinned yet. Raises nothing; everything is answered sooner or later."""
        if request.method == DISCOVER:
            self._discover(session, seq, request, now)
        elif request.method == "initialize":
            if self.verdict is Verdict.PROBING and self.modern is not None:
                self._hold(session, seq, request, now)
            else:
                self.pin_legacy(session, request, now).host(session, seq, request, now)
        elif self.neutral:
            self.pool.emit(Deliver(session.id, seq, error_line(request.id, errors.INVALID_REQUEST, _INITIALIZE_FIRST)))
        elif is_enveloped(request):
            self.pin_modern(session, request, now).host(session, seq, request, now)
        else:
            key = self.key + b"bare%d" % session.id
            router = self.pool.new_router(self, session, key, Era.BARE)
            self._move(session, router, now)
            router.host(session, seq, request, now)

    # --- pinning ----------------------------------------------------------------------------

    def pin_modern(self, session: Session, request: Request, now: float) -> Router:
        """The one upstream of the modern lane."""
        _read_modern_client(session, request)
        router = self.modern or self._new_modern(session, Era.MODERN)
        self._move(session, router, now)
        return router

    def pin_legacy(self, session: Session, request: Request, now: float) -> Router:
        """The upstream for this `initialize`: one that was opened by its like, the spare process, or a new one."""
        self.settle_stalled(session)
        params = b"" if request.params is UNSET else bytes(request.params)
        _read_legacy_client(session, params)
        key = self.key + b"legacy"
        if self.neutral:
            session.capabilities = frozenset()
        else:
            key += canonical_initialize(params)
        router = self.pool.routers.get(key)
        self.asks = self.asks or (router is not None and router.turns.needed and not self.neutral)
        apart = _DECLARED if self.declared else _ASKS if self.asks and (router is None or router.sessions) else ""
        if apart:
            key += b"\0%d" % session.id
            router = None
        if router is None and self.spare is not None:
            router, self.spare = self.spare, None
            self.pool.rename(router, key)
        if router is None:
            router = self.pool.new_router(self, session, key, Era.LEGACY)
        router.apart = router.apart or apart
        if self.neutral:
            router.handshake.propose(opening())
        self._move(session, router, now)
        return router

    def part(self, router: Router, now: float) -> None:
        """The server has just declared that it bears one session: whoever came later gets one of his own.

        Nothing of theirs has reached it: their requests wait for its `initialize` to be answered.
        """
        self.declared = True
        router.apart = _DECLARED
        for session in list(router.sessions.values())[1:]:
            own = self.pool.new_router(self, session, self.key + b"legacy\0%d" % session.id, Era.LEGACY)
            own.apart = _DECLARED
            router.hand_over(session, own, now)

    def _move(self, session: Session, router: Router, now: float) -> None:
        before = session.guest_of
        session.guest_of = None
        self.pool.timers.cancel(("grace", router.number))
        router.join(session)
        router.guests.pop(session.id, None)
        if before is not None and before is not router:
            before.guests.pop(session.id, None)
            self.pool.deserted(before, now)

    def _new_modern(self, session: Session, era: Era) -> Router:
        self.modern = self.pool.new_router(self, session, self.key + b"modern", era)
        return self.modern

    # --- discover ---------------------------------------------------------------------------

    def _discover(self, session: Session, seq: int, request: Request, now: float) -> None:
        if self.verdict is Verdict.LEGACY:
            self._refuse(session, seq, request.id)
            return
        router = self.modern
        if router is None:
            known = self.verdict is Verdict.MODERN
            router = self._new_modern(session, Era.MODERN if known else Era.PROBING)
            self.verdict = Verdict.MODERN if known else Verdict.PROBING
        self.pool.timers.cancel(("grace", router.number))
        router.invite(session)
        call = router.register(session, seq, request)
        call.watch = self._judge(router)
        if router.era is Era.PROBING:
            router.probe(call, now)
        else:
            router.dispatch(call, now)

    def _judge(self, router: Router) -> Watch:
        def answered(answer: Answer | None, now: float) -> None:
            if answer is None or router.era is not Era.PROBING:
                return
            if not answer.failed or _is_modern_refusal(answer):
                self._is_modern(router, now)
            else:
                self.refusal = (answer.line, answer.span)
                self._is_legacy(router, now)

        return answered

    def _is_modern(self, router: Router, now: float) -> None:
        self.verdict = Verdict.MODERN
        router.era = Era.MODERN
        lifecycle.ready(router, now)
        self._let_go(now)

    def _is_legacy(self, router: Router, now: float) -> None:
        """The probed process is the legacy lane's. What was sent to it as modern is refused as such a server would."""
        self.verdict = Verdict.LEGACY
        self.modern = None
        self.spare = router
        router.era = Era.LEGACY
        self.pool.rename(router, self.key + b"spare%d" % router.number)
        self.pool.timers.cancel((router.number, "start"))
        for session in list(router.sessions.values()):
            for call in [*router.quota.clear(session), *(c for c in router.listening if c.session is session)]:
                router.fail(call, error_line(call.id, errors.METHOD_NOT_FOUND, "Method not found"), now)
        router.listening.clear()
        self._let_go(now)

    def _refuse(self, session: Session, seq: int, id_: bytes) -> None:
        line, span = self.refusal
        self.pool.emit(Deliver(session.id, seq, splice(line, (span, id_))))

    # --- an initialize while a discover is open ---------------------------------------------

    def _hold(self, session: Session, seq: int, request: Request, now: float) -> None:
        """Some legacy servers never answer what they do not know: wait until the process has run a while, no longer."""
        router = self.modern
        assert router is not None  # a verdict is open only while a process is asked
        session.held = True
        self.held.append(Held(session, seq, request))
        runs = router.upstream.state is State.OPENING
        due = (
            max(now, router.upstream.since + limits.DISCOVER_RUN_SECONDS) if runs else now + limits.DISCOVER_RUN_SECONDS
        )
        name = ("lanes", self.key)
        if name not in self.pool.timers:
            self.pool.timers.set(name, min(due, now + limits.HANDSHAKE_HOLD_SECONDS))

    def _let_go(self, now: float) -> None:
        self.pool.timers.cancel(("lanes", self.key))
        held, self.held = self.held, []
        for waiting in held:
            session = waiting.session
            session.held = False
            if session.alive:  # a second `initialize` of one session meets it pinned
                router = session.router or self.pin_legacy(session, waiting.request, now)
                router.host(session, waiting.seq, waiting.request, now)

    def due(self, now: float) -> None:
        """A wait is over: a silent server is a legacy one; a dead one has not come back with an `initialize`."""
        if self.stalled:
            stalled, self.stalled = self.stalled, []
            for waiting in stalled:
                if waiting.session.alive:
                    argv = waiting.session.spec.argv
                    line = faults.unavailable(waiting.request.id, argv, self.stalled_cause)
                    self.pool.emit(Deliver(waiting.session.id, waiting.seq, line))
        router = self.modern
        if self.verdict is not Verdict.PROBING or router is None or not self.held:
            return
        if router.upstream.state is State.STARTING:
            self.pool.timers.set(("lanes", self.key), now + limits.DISCOVER_RUN_SECONDS)
            return
        for call in [c for c in router.ids.flying.values() if c.method == DISCOVER and not c.cancelled]:
            router.ids.cancelled(call, now)
            router.finish(call)
            self._refuse(call.session, call.seq, call.id)
        self._is_legacy(router, now)

    def probe_died(self, router: Router, cause: str, now: float) -> None:
        """The process that was asked is gone: an `initialize` tells its host more, so the discovers wait for one."""
        self.verdict = Verdict.UNKNOWN
        self.modern = None
        self.stalled_cause = cause
        for call in [*router.probes, *router.ids.restart(router.first_id())]:
            if not call.cancelled and call.request is not None:
                router.finish(call)
                self.stalled.append(Held(call.session, call.seq, call.request))
        router.probes.clear()
        for session in list(router.guests.values()):
            session.guest_of = None
        router.guests.clear()
        lifecycle.give_up(router, cause, now)
        self._let_go(now)
        self.pool.timers.set(("lanes", self.key), now + limits.DISCOVER_FAILED_SECONDS)

    def settle_stalled(self, session: Session) -> None:
        """The session has initialised after all: its discover is answered as a legacy server would."""
        for waiting in [w for w in self.stalled if w.session is session]:
            self.stalled.remove(waiting)
            self._refuse(session, waiting.seq, waiting.request.id)

    def leave(self, session: Session) -> None:
        """The session is gone."""
        self.held = [w for w in self.held if w.session is not session]
        self.stalled = [w for w in self.stalled if w.session is not session]

    def retired(self, router: Router) -> None:
        """That upstream is gone for good; the next one may be of another version, and speak another era."""
        if not any(other.lanes is self for other in self.pool.routers.values()):
            self.verdict = self._at_first
        if self.modern is router:
            self.modern = None
            if self.verdict is Verdict.PROBING:
                self.verdict = Verdict.UNKNOWN
        if self.spare is router:
            self.spare = None


def is_enveloped(request: Request) -> bool:
    """Whether a request carries the version of a modern client."""
    try:
        return find_in(request, *VERSION) is not None
    except Malformed:
        return False


def _is_modern_refusal(answer: Answer) -> bool:
    """Whether a discover failed as only modern servers fail, and not because it wants an older version."""
    try:
        code = find(answer.line, b"error", b"code")
        supported = find(answer.line, b"error", b"data", b"supported")
    except Malformed:
        return False
    if code is None or answer.line[slice(*code)] not in MODERN_ERRORS:
        return False
    if supported is None:
        return True
    try:
        versions = msgspec.json.decode(answer.line[slice(*supported)], type=list[str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return any(version >= FIRST_MODERN for version in versions)


class _Client(msgspec.Struct):
    name: str = ""
    version: str = ""


class _Initialize(msgspec.Struct):
    version: str = msgspec.field(default="", name="protocolVersion")
    capabilities: dict[str, msgspec.Raw] = {}
    client: _Client = msgspec.field(default_factory=_Client, name="clientInfo")


def _read_legacy_client(session: Session, params: bytes) -> None:
    try:
        known = msgspec.json.decode(params, type=_Initialize)
    except (msgspec.DecodeError, RecursionError):
        return
    session.capabilities = frozenset(known.capabilities)
    session.client = (known.client.name, known.client.version)
    session.version = known.version


def _read_modern_client(session: Session, request: Request) -> None:
    try:
        span = find_in(request, *CLIENT)
        known = msgspec.json.decode(request.line[slice(*span)], type=_Client) if span else _Client()
    except (Malformed, msgspec.DecodeError, RecursionError):
        return
    session.client = (known.name, known.version)
