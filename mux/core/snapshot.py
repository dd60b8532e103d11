"""What `mux status` shows of the core: plain values, no environment, no payloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mux.core import lifecycle
from mux.core.identity import Sharing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mux.core.router import Router
    from mux.core.session import Session


class SessionSnapshot(msgspec.Struct, frozen=True):
    """One session. since: monotonic seconds. upstream: the number of its upstream, or None."""

    session: int
    client_name: str
    client_version: str
    cwd: str
    in_flight: int
    waiting: int
    since: float
    upstream: int | None


class UpstreamSnapshot(msgspec.Struct, frozen=True):
    """One upstream. since, active_at: when it entered its state, and when a host last said anything, 0.0: never yet.

    Times are monotonic seconds. idle_timeout: 0 for never. turns: calls go up one session at a time. dropped: messages
    that nobody could be given.
    """

    upstream: int
    process: int
    pid: int
    state: str
    generation: int
    argv: tuple[bytes, ...]
    cwd: str
    sessions: int
    in_flight: int
    waiting: int
    since: float
    active_at: float
    era: str
    idle_timeout: float
    turns: bool
    dropped: int
    last_error: str
    sharing: Sharing
    apart: str


class Unused(msgspec.Struct, frozen=True):
    """What could be ended without anybody's loss. backend: whether all of it; upstreams: by number."""

    backend: bool
    upstreams: frozenset[int]


class PoolSnapshot(msgspec.Struct, frozen=True):
    """Everything, in the order of its arrival."""

    draining: bool
    sessions: list[SessionSnapshot]
    upstreams: list[UpstreamSnapshot]


def snapshot(sessions: Iterable[Session], routers: Iterable[Router], *, draining: bool) -> PoolSnapshot:
    """The state as it is."""
    return PoolSnapshot(
        draining=draining,
        sessions=[
            SessionSnapshot(
                session=session.id,
                client_name=session.client[0],
                client_version=session.client[1],
                cwd=session.spec.cwd.decode(errors="replace"),
                in_flight=session.in_flight,
                waiting=len(session.waiting),
                since=session.opened_at,
                upstream=session.router.number if session.router else None,
            )
            for session in sessions
        ],
        upstreams=[
            UpstreamSnapshot(
                upstream=router.number,
                process=router.upstream.process,
                pid=router.upstream.pid,
                state=router.upstream.state.value,
                generation=router.upstream.generation,
                argv=router.spec.argv,
                cwd=router.spec.cwd.decode(errors="replace"),
                sessions=len(router.sessions),
                in_flight=router.quota.in_flight,
                waiting=sum(len(s.waiting) for s in router.quota.ring) + len(router.turns.waiting),
                since=router.upstream.since,
                active_at=router.active_at,
                era=router.era.value,
                idle_timeout=lifecycle.idle_timeout(router),
                turns=router.turns.needed,
                dropped=router.dropped,
                last_error=router.upstream.last_error,
                sharing=router.sharing,
                apart=router.apart,
            )
            for router in routers
        ],
    )
