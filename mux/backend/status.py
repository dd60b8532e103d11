"""What `mux status` asks for: the core's numbers joined with what only the shell knows. No values of environments."""

from __future__ import annotations

import os
import time
from typing import Any

import anyio.to_thread

from mux import __version__
from mux.backend.runtime import Runtime

Json = dict[str, Any]


async def status(runtime: Runtime, socket: str, started: float) -> Json:
    """Backend, upstreams and sessions. Memory is measured in a thread: reading it takes milliseconds per process."""
    now = time.monotonic()
    core = runtime.snapshot()
    upstreams = [_upstream(entry, runtime, now) for entry in core["upstreams"]]
    sessions = [_session(entry, runtime, now) for entry in core["sessions"]]
    pids = [entry["pid"] for entry in upstreams if entry["pid"]]
    own, *others = await anyio.to_thread.run_sync(_measure, os.getpid(), pids)
    memory = dict(zip(pids, others, strict=True))
    for entry in upstreams:
        entry["memory"] = memory.get(entry["pid"])
    backend = {
        "version": __version__,
        "pid": os.getpid(),
        "uptime_seconds": round(now - started, 3),
        "memory": own,
        "socket": socket,
        "sessions": len(sessions),
        "draining": core["draining"],
    }
    return {"backend": backend, "upstreams": upstreams, "sessions": sessions}


def _upstream(entry: Json, runtime: Runtime, now: float) -> Json:
    child = runtime.upstreams.get(entry["process"])
    started = child.started if child else None
    argv = [os.fsdecode(word) for word in child.spec.argv] if child else [entry["command"]]
    return {
        "id": entry["upstream"],
        "pid": entry["pid"] or None,
        "command": argv,
        "cwd": entry["cwd"],
        "state": entry["state"],
        "generation": entry["generation"],
        "sessions": entry["sessions"],
        "in_flight": entry["in_flight"],
        "waiting": entry["waiting"],
        "dropped": entry["dropped"],
        "last_error": entry["last_error"],
        **_sharing(entry),
        "uptime_seconds": None if started is None else round(now - started, 3),
    }


def _sharing(entry: Json) -> Json:
    """How widely it is shared, and why."""
    sharing = entry.get("sharing") or {}
    return {
        "scope": sharing.get("scope"),
        "scope_reason": sharing.get("reason"),
        "clients": sharing.get("clients"),
        "hint": sharing.get("hint") or None,
        "apart": entry.get("apart") or None,
    }


def _session(entry: Json, runtime: Runtime, now: float) -> Json:
    connection = runtime.sessions.get(entry["session"])
    return {
        "id": entry["session"],
        "pid": connection.peer.pid if connection else None,
        "shim_version": connection.peer.version.decode(errors="replace") if connection else None,
        "host": entry["client_name"],
        "version": entry["client_version"],
        "cwd": entry["cwd"],
        "in_flight": entry["in_flight"],
        "waiting": entry["waiting"],
        "since_seconds": round(now - entry["since"], 3),
        "upstream": entry["upstream"],
    }


def _measure(own: int, pids: list[int]) -> list[Json | None]:
    """Memory of this process alone, then of the tree of each pid, bytes; None where it is gone."""
    import psutil

    found: list[Json | None] = [_memory([psutil.Process(own)])]
    for pid in pids:
        try:
            root = psutil.Process(pid)
            found.append(_memory([root, *root.children(recursive=True)]))
        except psutil.NoSuchProcess:
            found.append(None)
    return found


def _memory(processes: list[Any]) -> Json | None:
    """Shared pages count once per process in rss, in parts in pss (Linux only); private is what an exit would free."""
    import psutil

    rss = pss = private = 0
    seen = split = False
    for process in processes:
        try:
            full = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        seen, split = True, hasattr(full, "pss")
        rss += full.rss
        private += full.uss
        pss += getattr(full, "pss", 0)
    return {"rss": rss, "pss": pss if split else None, "private": private} if seen else None
