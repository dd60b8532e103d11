"""What `mux status --json` prints, as types: its schema is made from them, and the commands read answers by them.

Every field has a default: a backend of another version may leave it out. Sizes are bytes, times are seconds.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Memory(msgspec.Struct, frozen=True):
    """Of one process, or of a tree of them together.

    `rss` counts pages that are shared with other processes in full, `pss` in equal parts (null where the system does
    not tell). `private` is what its exit would free. `copy` is what another process of the kind would take: the private
    pages that differ from the files of the program, which all of its kind share.
    """

    rss: int = 0
    pss: int | None = None
    private: int = 0
    copy: int = 0


class Backend(msgspec.Struct, frozen=True):
    """The process behind the socket. `draining`: it leaves and takes no new sessions. `log`: null on a terminal."""

    version: str = ""
    pid: int = 0
    uptime_seconds: float | None = None
    memory: Memory | None = None
    socket: str = ""
    log: str | None = None
    sessions: int = 0
    draining: bool = False


class Saving(msgspec.Struct, frozen=True):
    """What sharing saves now.

    `copies`: how many more servers would run without it: for each that runs, its sessions but one. `copies_bytes`:
    what they would take, each the `memory.copy` of the one that runs. `own_bytes`: what the multiplexer itself takes,
    the private memory of backend and shims. `saved_bytes`: the difference; negative while sharing costs more.
    """

    copies: int = 0
    copies_bytes: int = 0
    own_bytes: int = 0
    saved_bytes: int = 0


class Upstream(msgspec.Struct, frozen=True):
    """One server. `id` is what other commands call it by.

    state: stopped, starting, initializing, ready, draining, stopping, backoff or failed, for `state_seconds`.
    pid, memory (of its whole tree), uptime_seconds: null while no process runs. generation: how often it was started.
    era: the protocol that it speaks: legacy (up to 2025-11-25), modern, probing (not known yet) or bare.
    in_flight, waiting: requests at the server, and those whose turn has not come.
    turns: it asks its clients questions, so that calls of different sessions go up one after the other.
    idle_seconds: since a host last said anything; null while it has work. idle_timeout_seconds: 0: never stopped.
    dropped: messages of the server that belonged to nobody. last_error: why it died or did not start, last time.
    scope, clients: how widely it is shared; scope_reason: who said so; hint: what would be possible; apart: why no
    further session may join. era_only: the only era whose sessions it serves, null for both. log: the file with its
    stderr, null if it has written none.
    """

    id: int = 0
    command: list[str] = []
    cwd: str = ""
    pid: int | None = None
    state: str = ""
    state_seconds: float | None = None
    uptime_seconds: float | None = None
    generation: int = 0
    era: str = ""
    sessions: int = 0
    in_flight: int = 0
    waiting: int = 0
    turns: bool = False
    idle_seconds: float | None = None
    idle_timeout_seconds: float = 0.0
    dropped: int = 0
    last_error: str = ""
    memory: Memory | None = None
    scope: str | None = None
    scope_reason: str | None = None
    clients: str | None = None
    era_only: str | None = None
    hint: str | None = None
    apart: str | None = None
    log: str | None = None


class Session(msgspec.Struct, frozen=True):
    """One session. pid, memory: of its shim. host, version: as it calls itself. upstream: the server that it uses."""

    id: int = 0
    pid: int | None = None
    shim_version: str | None = None
    host: str = ""
    version: str = ""
    cwd: str = ""
    in_flight: int = 0
    waiting: int = 0
    since_seconds: float | None = None
    upstream: int | None = None
    parked: bool = False
    memory: Memory | None = None


class State(msgspec.Struct, frozen=True):
    """All of one backend; `backend` is null where none runs. `others`: other backends of the same user."""

    backend: Backend | None = None
    saving: Saving = Saving()
    upstreams: list[Upstream] = []
    sessions: list[Session] = []
    others: list[Other] = []


class Other(msgspec.Struct, frozen=True):
    """Another backend of this user. `error`: it is there and does not tell more, and why."""

    socket: str = ""
    pid: int = 0
    version: str = ""
    sessions: int = 0
    upstreams: int = 0
    error: str | None = None


def schema() -> dict[str, Any]:
    """The JSON schema of the output. Fields that it does not name may appear in later versions."""
    found = msgspec.json.schema(State)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}
