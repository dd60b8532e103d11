"""What `mux status` asks for: the core's numbers joined with what only the shell knows. No values of environments."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from mux import __version__
from mux.backend import logs, memory, reap
from mux.backend.state import Backend, Memory, Saving, Session, State, Upstream

if TYPE_CHECKING:
    from mux.backend.runtime import Runtime
    from mux.core.snapshot import SessionSnapshot, UpstreamSnapshot


async def status(runtime: Runtime, socket: str, started: float) -> dict[str, Any]:
    """A State, as plain values. started: monotonic seconds."""
    now = time.monotonic()
    core = runtime.snapshot()
    upstreams = [_upstream(entry, runtime, now) for entry in core.upstreams]
    sessions = [_session(entry, runtime, now) for entry in core.sessions]
    backend = Backend(
        version=__version__,
        pid=os.getpid(),
        uptime_seconds=round(now - started, 3),
        socket=socket,
        log=logs.written_to(),
        sessions=len(sessions),
        draining=core.draining,
    )
    state = State(backend=backend, upstreams=upstreams, sessions=sessions)
    # In a thread: it takes a fraction of a millisecond per process, and there may be hundreds.
    weighed = await asyncio.to_thread(_weigh, state)
    found: dict[str, Any] = msgspec.to_builtins(weighed)
    return found


def _upstream(entry: UpstreamSnapshot, runtime: Runtime, now: float) -> Upstream:
    child = runtime.upstreams.get(entry.process)
    busy = bool(entry.in_flight or entry.waiting)
    sharing = entry.sharing
    return Upstream(
        id=entry.upstream,
        command=[os.fsdecode(word) for word in entry.argv],
        cwd=entry.cwd,
        pid=child.identity.pid if child and child.identity else None,
        state=entry.state,
        state_seconds=round(now - entry.since, 3),
        uptime_seconds=round(now - child.started, 3) if child else None,
        generation=entry.generation,
        era=entry.era,
        sessions=entry.sessions,
        in_flight=entry.in_flight,
        waiting=entry.waiting,
        turns=entry.turns,
        idle_seconds=None if busy else round(now - (entry.active_at or entry.since), 3),
        idle_timeout_seconds=entry.idle_timeout,
        dropped=entry.dropped,
        last_error=entry.last_error,
        scope=sharing.scope,
        scope_reason=sharing.reason,
        clients=sharing.clients,
        era_only=sharing.only or None,
        hint=sharing.hint or None,
        apart=entry.apart or None,
        log=runtime.upstreams.log_of(entry.upstream),
    )


def _session(entry: SessionSnapshot, runtime: Runtime, now: float) -> Session:
    connection = runtime.sessions.get(entry.session)
    return Session(
        id=entry.session,
        pid=connection.peer.pid if connection else None,
        shim_version=connection.peer.version.decode(errors="replace") if connection else None,
        host=entry.client_name,
        version=entry.client_version,
        cwd=entry.cwd,
        in_flight=entry.in_flight,
        waiting=entry.waiting,
        since_seconds=round(now - entry.since, 3),
        upstream=entry.upstream,
        parked=connection.parked if connection else False,
    )


def _weigh(state: State) -> State:
    """The same state with the memory of every process in it."""
    assert state.backend is not None
    rows = reap.table() if any(upstream.pid for upstream in state.upstreams) else {}
    replace = msgspec.structs.replace
    own = memory.weigh([state.backend.pid])
    upstreams = [replace(entry, memory=_weigh_tree(entry.pid, rows)) for entry in state.upstreams]
    sessions = [replace(entry, memory=memory.weigh([entry.pid]) if entry.pid else None) for entry in state.sessions]
    return replace(
        state,
        backend=replace(state.backend, memory=own),
        upstreams=upstreams,
        sessions=sessions,
        saving=_saving([own, *(entry.memory for entry in sessions)], upstreams),
    )


def _weigh_tree(pid: int | None, rows: reap.Table) -> Memory | None:
    return memory.weigh([pid, *(process.pid for process in reap.descendants(pid, rows))]) if pid else None


def _saving(ours: list[Memory | None], upstreams: list[Upstream]) -> Saving:
    copies = copies_bytes = 0
    for upstream in upstreams:
        if upstream.memory is not None and upstream.sessions > 1:
            copies += upstream.sessions - 1
            copies_bytes += (upstream.sessions - 1) * upstream.memory.copy
    own_bytes = sum(weight.private for weight in ours if weight is not None)
    return Saving(copies, copies_bytes, own_bytes, copies_bytes - own_bytes)
