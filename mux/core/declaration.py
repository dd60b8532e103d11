"""What a server says about sharing, in its answer to `initialize` or `server/discover`. It narrows, never widens.

`capabilities.experimental.mux = {"scope": "session" | "directory" | "project"}`, or `x-mux = {"sharing": "isolated"}`,
there or among the capabilities, which another multiplexer has introduced.

A narrower scope takes effect before anything but the opening has reached the server: sessions that it keeps apart go
on at servers of their own, started in the directory that this scope gives them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mux.core import members
from mux.core.envelope import find_in_result
from mux.core.identity import DIRECTORY, PROJECT, SESSION, WIDTH
from mux.core.methods import Era
from mux.core.noise import PROJECT_DIRECTORIES
from mux.core.scan import Malformed

if TYPE_CHECKING:
    from mux.core.envelope import Answer
    from mux.core.events import LaunchSpec
    from mux.core.router import Router
    from mux.core.session import Session

_APART = "it declares that it bears one session only"
_REASON = "declared by the server itself"

_SCOPES = {b'"%b"' % scope.encode(): scope for scope in (SESSION, DIRECTORY, PROJECT)}
_SAYINGS = (
    ((b"capabilities", b"experimental", b"mux", b"scope"), _SCOPES),
    ((b"capabilities", b"experimental", b"x-mux", b"sharing"), {b'"isolated"': SESSION}),
    ((b"capabilities", b"x-mux", b"sharing"), {b'"isolated"': SESSION}),
)
_FOLLOW = (b"PWD", *PROJECT_DIRECTORIES)


def declared(line: bytes) -> str:
    """The widest scope that a server bears, by its answer to the request that opened it; "" if it does not say."""
    if b"mux" not in line:
        return ""
    found = []
    for path, words in _SAYINGS:
        try:
            span = find_in_result(line, *path)
        except Malformed:
            return ""
        if span is not None and (scope := words.get(line[slice(*span)])):
            found.append(scope)
    return min(found, key=WIDTH.index, default="")


def narrower(before: str, scope: str) -> str:
    """What is declared now: the narrower of two scopes, of which either may be ""."""
    return min(filter(None, (before, scope)), key=WIDTH.index, default="")


def apart(scope: str) -> str:
    """Why no other session may join an upstream, if the declared scope forbids that."""
    return _APART if scope == SESSION else ""


def heed(router: Router, answer: Answer, now: float) -> None:
    """The server has answered the request that opens it: sessions that its declaration keeps apart part here.

    Nothing of theirs has reached it: their requests wait for that answer. The first of them keeps it, and all whom it
    does not keep apart from the first, unless the server has started elsewhere than the declared scope says.
    """
    lanes = router.lanes
    scope = "" if answer.failed else narrower(lanes.declared, declared(answer.line))
    if scope == lanes.declared:
        return
    lanes.declared = scope
    common = next(key for key, other in lanes.pool.routers.items() if other is router)
    era = Era.LEGACY if router.era is Era.LEGACY else Era.MODERN
    kept = None
    for session in list(router.sessions.values()):
        own = narrow(session, scope)
        if kept is None and session.spec.cwd == router.spec.cwd:
            kept = own
            settle(router, session, common + own)
        if own != kept:
            other = lanes.pool.routers.get(common + own) or lanes.pool.new_router(lanes, session, common + own, era)
            other.apart = apart(scope)
            members.hand_over(router, session, other, now)
    lanes.pool.deserted(router, now)


def fits(router: Router, session: Session) -> bool:
    """Whether an upstream that nobody uses could be the one that a narrowed session would start."""
    return not router.sessions and router.spec.cwd == session.spec.cwd


def settle(router: Router, session: Session, key: bytes) -> None:
    """The upstream is this session's, and that of its like, from now on."""
    router.lanes.pool.rename(router, key)
    router.sharing = session.sharing
    router.apart = router.apart or apart(router.lanes.declared)


def narrow(session: Session, scope: str) -> bytes:
    """Take the server at its word, for this session; what that adds to the key of its upstream.

    Empty if it says nothing, or the session shares no wider than that anyway. Harmless if repeated.
    """
    if scope == SESSION:
        return b"\0%d" % session.id
    cwd = session.places.get(scope)
    if cwd is None:
        return b""
    session.spec = _moved(session.spec, cwd)
    session.sharing = msgspec.structs.replace(session.sharing, scope=scope, reason=_REASON, hint="")
    return b"\0" + cwd


def _moved(spec: LaunchSpec, cwd: bytes) -> LaunchSpec:
    """The same in another directory, with the variables that follow it."""
    if spec.cwd == cwd:
        return spec
    follows = {name + b"=" + spec.cwd: name + b"=" + cwd for name in _FOLLOW}
    environment = tuple(follows.get(entry, entry) for entry in spec.environment)
    return msgspec.structs.replace(spec, cwd=cwd, environment=environment)
