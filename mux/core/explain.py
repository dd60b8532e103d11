"""Why two upstreams are two, and what would make them one: names of what differs, never a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from mux.core import faults
from mux.core.environment import INSIDE
from mux.core.identity import SESSION, Identity, Sharing, differences
from mux.core.methods import Era
from mux.core.noise import PROJECT_DIRECTORIES
from mux.errors import UsageError

if TYPE_CHECKING:
    from mux.core.pool import Pool
    from mux.core.router import Router
    from mux.core.session import Session


class Explained(msgspec.Struct, frozen=True):
    """One upstream. apart: why no other session may join it, beyond what differs."""

    upstream: int
    command: str
    cwd: str
    sessions: list[int]
    sharing: Sharing
    apart: str


class Difference(msgspec.Struct, frozen=True):
    """Another upstream of the same program, and the parts in which it differs, named as in `differences`."""

    other: Explained
    parts: list[str]


class Explanation(msgspec.Struct, frozen=True):
    """Of one upstream, with the others of its program; of two, with the one difference that was asked for."""

    of: Explained
    differs: list[Difference]


def explain(pool: Pool, first: int, second: int | None = None, *, upstreams: bool = False) -> Explanation:
    """Sessions by their numbers, or upstreams. Raises UsageError for a number that there is not."""
    of = _upstream(pool, first) if upstreams else _of_session(pool, first)
    if second is not None:
        others = [_upstream(pool, second) if upstreams else _of_session(pool, second)]
    else:
        others = [other for other in pool.routers.values() if other is not of and _alike(of, other)]
    return Explanation(
        _explained(of), [Difference(_explained(other), parts_between(of, other)) for other in others if other is not of]
    )


def parts_between(a: Router, b: Router) -> list[str]:
    """What keeps the sessions of two upstreams apart, sorted."""
    parts = differences(_identity(a), _identity(b))
    if not parts:
        if a.era is not b.era:
            parts = [f"protocol {min(a.era.value, b.era.value)} and {max(a.era.value, b.era.value)}"]
        else:
            parts = [f"initialize {name}" for name in _differing(_opening(a), _opening(b))]
    return parts or ["session"]


def _identity(router: Router) -> Identity:
    spec, sharing = router.spec, router.sharing
    follows = {name + b"=" + spec.cwd for name in (b"PWD", *PROJECT_DIRECTORIES)}  # differs with cwd, and not by itself
    return Identity(
        scope=sharing.scope,
        argv=spec.argv,
        executable=spec.executable,
        cwd=spec.cwd,
        environment=tuple(
            entry for entry in spec.environment if entry not in follows and not entry.startswith(INSIDE + b"=")
        ),
        umask=spec.umask,
        limits=spec.limits,
        salt=router.lanes.key if sharing.scope == SESSION else b"",
        clients=sharing.clients,
        era=sharing.era,
    )


def _alike(a: Router, b: Router) -> bool:
    """Whether somebody could expect them to be one: they run the same program."""
    return a.spec.argv[0].rpartition(b"/")[2] == b.spec.argv[0].rpartition(b"/")[2]


def _explained(router: Router) -> Explained:
    return Explained(
        upstream=router.number,
        command=faults.text(router.spec.argv),
        cwd=router.spec.cwd.decode(errors="replace"),
        sessions=sorted(router.sessions),
        sharing=router.sharing,
        apart=router.apart,
    )


def _upstream(pool: Pool, number: int) -> Router:
    for router in pool.routers.values():
        if router.number == number:
            return router
    raise UsageError(f"there is no server {number}: `mux status` lists them")


def _of_session(pool: Pool, number: int) -> Router:
    session: Session | None = pool.sessions.get(number)
    if session is None:
        raise UsageError(f"there is no session {number}: `mux status` lists them")
    router = session.router or session.guest_of
    if router is None:
        what = f"session {number} has not said anything yet that decides which server it gets"
        raise UsageError(f"{what}. Repeat this when it has")
    return router


def _opening(router: Router) -> Any:
    request = router.handshake.opening
    if request is None or request.params is UNSET or router.era is not Era.LEGACY:
        return None
    try:
        return msgspec.json.decode(request.params)
    except (msgspec.DecodeError, RecursionError):
        return None


def _differing(a: Any, b: Any, path: str = "") -> list[str]:
    """The members in which two `initialize` differ, with dots for depth."""
    if isinstance(a, dict) and isinstance(b, dict):
        names = sorted(a.keys() | b.keys())
        return [
            part
            for name in names
            if (name in a) != (name in b) or a[name] != b[name]
            for part in _differing(a.get(name), b.get(name), f"{path}.{name}" if path else name)
        ]
    return [path] if a != b and path else []
