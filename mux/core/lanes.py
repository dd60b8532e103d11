"""The two eras of one base key. DESIGN: eras on one process; MCP 2026-07-28, "server/discover", "Versioning".

Both SDK families pin a stdio process to one era by its opening request, so a base key has two lanes, each started when
first needed: modern (one upstream), and legacy (one per canonical `initialize`). A session is pinned by its first
request that is not `server/discover`. The first discover goes to a fresh process; its answer says which lane that is.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import UNSET

from mux import limits
from mux.core import clients, declaration, eras, faults, lifecycle, members
from mux.core.actions import Deliver
from mux.core.envelope import Request, splice
from mux.core.identity import ANY, LEGACY, MODERN, canonical_initialize
from mux.core.methods import DISCOVER, Era
from mux.core.neutral import opening
from mux.core.session import rest
from mux.core.upstream import State

if TYPE_CHECKING:
    from mux.core.envelope import Answer
    from mux.core.identity import Sharing
    from mux.core.pool import Pool
    from mux.core.router import Router
    from mux.core.session import Call, Session, Watch

_ASKS = "it asks its clients questions, and of several it could not be told whom"


class Verdict(Enum):
    """What is known of a server's eras."""

    UNKNOWN = "unknown"
    PROBING = "probing"
    MODERN = "modern"
    LEGACY = "legacy"


_GIVEN = {LEGACY: Verdict.LEGACY, MODERN: Verdict.MODERN}
"""What is known where nobody has to be asked."""


class Lanes:
    """The upstreams of one base key.

    refusal: how the server answered a discover that it does not know. spare: a process that was started by a probe and
    turned out to be legacy; the first session that initialises gets it. asks: it was seen to ask questions whose
    owner is unclear, so each new session gets an upstream of its own. declared: the scope that it says it bears, or "".
    only: the one era that sessions may speak, "" for both. neutral: one upstream for every kind of client. held:
    sessions whose `initialize` waits for the verdict, with all that they say after it. stalled: discovers whose server
    died, with the time at which they are answered and why.
    """

    def __init__(self, pool: Pool, key: bytes, sharing: Sharing) -> None:
        self.pool = pool
        self.key = key
        self.neutral = sharing.clients == ANY
        self.only = sharing.only
        self.declared = ""
        self.verdict = self._at_first = _GIVEN.get(self.only, Verdict.UNKNOWN)
        self.modern: Router | None = None
        self.spare: Router | None = None
        self.refusal = eras.not_found()
        self.asks = False
        self.held: list[Session] = []
        self.stalled: dict[Call, tuple[float, str]] = {}
        self._hold_until = 0.0
        self._ended_by_probe = False

    @property
    def unused(self) -> bool:
        """Whether nobody waits here; what is known may be forgotten."""
        return not self.held and not self.stalled

    def first(self, session: Session, seq: int, request: Request, now: float) -> None:
        """A request of a session that is not pinned yet. Raises nothing; everything is answered sooner or later."""
        if request.method == DISCOVER:
            self._discover(session.accept(seq, request), now)
        elif self.only and (refusal := self._other_era(request)):
            self.pool.emit(Deliver(session.id, seq, refusal))
        elif request.method == "initialize":
            if self.verdict is Verdict.PROBING:
                self._hold(session, seq, request, now)
            else:
                self.pin_legacy(session, request, now).host(session, seq, request, now)
        elif clients.is_enveloped(request):
            clients.read_modern(session, request)
            router = self._modern(session, Era.MODERN)
            self._move(session, router, now)
            router.host(session, seq, request, now)
        else:
            router = self.pool.new_router(self, session, self.key + b"bare%d" % session.id, Era.BARE)
            self._move(session, router, now)
            router.host(session, seq, request, now)

    def _other_era(self, request: Request) -> bytes:
        """Why a request is not for the one era that is served; empty if it is."""
        if self.only == LEGACY:
            return b"" if request.method == "initialize" else eras.by_legacy(request)
        enveloped = request.method != "initialize" and clients.is_enveloped(request)
        return b"" if enveloped else eras.by_modern(request)

    # --- pinning ----------------------------------------------------------------------------

    def pin_legacy(self, session: Session, request: Request, now: float) -> Router:
        """The upstream for this `initialize`: one that was opened by its like, the spare process, or a new one."""
        self._refuse_stalled(session)
        clients.read_legacy(session, request)
        params = b"" if request.params is UNSET else bytes(request.params)
        key = self.key + b"legacy"
        if self.neutral:
            session.capabilities = frozenset()
        else:
            key += canonical_initialize(params)
        key += declaration.narrow(session, self.declared)
        router = self.pool.routers.get(key)
        apart = declaration.apart(self.declared)
        if not apart and self.asks and (router is None or router.sessions):
            apart = _ASKS
            key += b"\0%d" % session.id
            router = None
        if router is None and self.spare is not None and self.spare.spec.cwd == session.spec.cwd:
            router, self.spare = self.spare, None
            self.pool.rename(router, key)
        if router is None:
            router = self.pool.new_router(self, session, key, Era.LEGACY)
        router.apart = router.apart or apart
        if self.neutral:
            router.handshake.propose(opening())
        self._move(session, router, now)
        return router

    def _move(self, session: Session, router: Router, now: float) -> None:
        """Pin the session. What it still asks another process for its era is answered as a legacy server would."""
        before = session.guest_of
        session.guest_of = None
        self.pool.timers.cancel(("grace", router.number))
        members.join(router, session)
        router.guests.pop(session.id, None)
        if before is not None and before is not router:
            for call in members.leave(before, session, now):
                self._refuse(call)
            self.pool.deserted(before, now)

    def _modern(self, session: Session, era: Era) -> Router:
        """The upstream of the modern lane, one unless the server declares otherwise; if there is none, a new one."""
        key = self.key + b"modern" + declaration.narrow(session, self.declared)
        router = self.pool.routers.get(key)
        if router is None and self.modern is not None and declaration.fits(self.modern, session):
            router = self.modern  # it was asked for its era, and no more
            declaration.settle(router, session, key)
        if router is None:
            router = self.pool.new_router(self, session, key, era)
            router.apart = declaration.apart(self.declared)
        self.modern = self.modern or router
        return router

    # --- discover ---------------------------------------------------------------------------

    def _discover(self, call: Call, now: float) -> None:
        if self.verdict is Verdict.LEGACY:
            self._refuse(call)
            return
        if self.modern is None and self.verdict is Verdict.UNKNOWN:
            self.verdict = Verdict.PROBING
        router = self._modern(call.session, Era.PROBING if self.verdict is Verdict.PROBING else Era.MODERN)
        self.pool.timers.cancel(("grace", router.number))
        members.invite(router, call.session)
        router.active_at = now
        if router.era is Era.PROBING:
            call.watch = self._judge(router)
            router.probe(call, now)
        elif router.upstream.state is State.FAILED:
            self.stall(call, router.upstream.last_error, now)
        else:
            call.watch = self._note
            router.dispatch(call, now)

    def _note(self, answer: Answer | None, _now: float) -> None:
        """A server that is in use already declares a scope: it counts for sessions that come from now on."""
        if answer is not None and not answer.failed:
            self.declared = declaration.narrower(self.declared, declaration.declared(answer.line))

    def _judge(self, router: Router) -> Watch:
        def answered(answer: Answer | None, now: float) -> None:
            if answer is None or router.era is not Era.PROBING or router.upstream.state is not State.OPENING:
                return
            if not answer.failed or eras.is_modern_refusal(answer):
                declaration.heed(router, answer, now)
                self._is_modern(router, now)
            else:
                self.refusal = (answer.line, answer.span)
                self._is_legacy(router, now)

        return answered

    def _is_modern(self, router: Router, now: float) -> None:
        self.verdict = Verdict.MODERN
        router.speak(Era.MODERN)
        lifecycle.ready(router, now)
        self._let_go(now)

    def _is_legacy(self, router: Router, now: float) -> None:
        """The probed process is the legacy lane's. Sessions that spoke as modern get one that nobody initialises."""
        self.verdict = Verdict.LEGACY
        self.modern = None
        self.spare = router
        router.speak(Era.LEGACY)
        self.pool.rename(router, self.key + b"spare%d" % router.number)
        self.pool.timers.cancel((router.number, "start"))
        for session in list(router.sessions.values()):
            for call in members.hand_over(router, session, self._modern(session, Era.MODERN), now):
                self._refuse(call)
        self.pool.deserted(router, now)
        self._let_go(now)

    def initialized(self) -> None:
        """The server took an `initialize`. If a discover has ended it before, that is how it refuses one."""
        if self._ended_by_probe and self.verdict is Verdict.UNKNOWN:
            self.verdict = Verdict.LEGACY
            self._refuse_stalled()

    def _refuse_stalled(self, session: Session | None = None) -> None:
        for call in [call for call in self.stalled if session is None or call.session is session]:
            del self.stalled[call]
            self._refuse(call)

    def _refuse(self, call: Call) -> None:
        line, span = self.refusal
        session = call.session
        session.forget(call)
        self.pool.emit(Deliver(session.id, call.seq, splice(line, (span, call.id))))
        rest(session, self.pool.emit)

    # --- an initialize while a discover is open ---------------------------------------------

    def _hold(self, session: Session, seq: int, request: Request, now: float) -> None:
        """Some legacy servers never answer what they do not know: wait until the process has run a while, no longer."""
        if not self.held:
            self._hold_until = now + limits.HANDSHAKE_HOLD_SECONDS
        session.held.append((seq, request))
        self.held.append(session)
        self.probing(now)

    def probing(self, now: float) -> None:
        """Set the time at which the silence of the process that is asked counts as an answer, if anybody cares."""
        if self.held:
            self.pool.timers.set(("hold", self.key), max(now, self._patience(now)))

    def _patience(self, now: float) -> float:
        upstream = self.modern.upstream if self.modern is not None else None
        since = upstream.since if upstream is not None and upstream.state is State.OPENING else now
        return min(self._hold_until, since + limits.DISCOVER_RUN_SECONDS)

    def _let_go(self, now: float) -> None:
        self.pool.timers.cancel(("hold", self.key))
        held, self.held = self.held, []
        for session in held:
            first = session.held[0][1]
            assert isinstance(first, Request)  # the `initialize` for which it is held
            router = self.pin_legacy(session, first, now)
            for seq, message in session.held:
                (session.router or router).host(session, seq, message, now)
            session.held = []
            rest(session, self.pool.emit)

    def hold_over(self, now: float) -> None:
        """A silent server is a legacy one: its process gets the `initialize`; an answer to the discover is too late."""
        router = self.modern
        if router is None or not self.held:
            return
        if self._patience(now) > now:
            self.probing(now)
            return
        for call in [*router.probes, *router.ids.flying.values()]:
            if not call.cancelled:
                if call.uid:
                    router.ids.cancelled(call, now)
                self._refuse(call)
        router.probes.clear()
        self._is_legacy(router, now)

    # --- a server that can not be asked -----------------------------------------------------

    def probe_died(self, router: Router, cause: str, now: float) -> None:
        """The process that was asked is gone. Sessions that spoke as modern already keep it, as their server."""
        self.verdict = Verdict.UNKNOWN
        self._ended_by_probe = True
        for call in [*router.probes, *router.ids.flying.values()]:
            if not call.cancelled:
                self.stall(call, cause, now)
        router.probes.clear()
        router.ids.flying.clear()
        for session in router.guests.values():
            session.guest_of = None
        router.guests.clear()
        router.speak(Era.MODERN)
        if not router.sessions:
            self.modern = None
        self._let_go(now)

    def stall(self, call: Call, cause: str, now: float) -> None:
        """An `initialize` that fails tells its host more than a discover that does, so the discover waits for one."""
        self.stalled[call] = (now + limits.DISCOVER_FAILED_SECONDS, cause)
        if ("stall", self.key) not in self.pool.timers:
            self.pool.timers.set(("stall", self.key), now + limits.DISCOVER_FAILED_SECONDS)

    def stall_over(self, now: float) -> None:
        """No `initialize` has come."""
        for call, (until, cause) in list(self.stalled.items()):
            if until > now:
                self.pool.timers.set(("stall", self.key), until)
                return
            session = call.session
            del self.stalled[call]
            session.forget(call)
            self.pool.emit(Deliver(session.id, call.seq, faults.unavailable(call.id, session.spec.argv, cause)))
            rest(session, self.pool.emit)

    # --- ends -------------------------------------------------------------------------------

    def leave(self, session: Session) -> None:
        """The session is gone."""
        self.held = [other for other in self.held if other is not session]
        for call in [call for call in self.stalled if call.session is session]:
            del self.stalled[call]

    def retired(self, router: Router, now: float) -> None:
        """That upstream is gone for good; the next one may be of another version, and speak another era."""
        if self.modern is router:
            self.modern = None
        if self.spare is router:
            self.spare = None
        if self.modern is None and self.verdict is Verdict.PROBING:
            self.verdict = Verdict.UNKNOWN
        if not any(other.lanes is self for other in self.pool.routers.values()):
            self.verdict = self._at_first
            self._ended_by_probe = bool(self.stalled)
        if self.verdict is not Verdict.PROBING:
            self._let_go(now)
