"""What goes into the core: frozen values. Time comes beside them, in monotonic seconds.

`session` is a number that the shell gives to each connection and never uses again; `process` is the number that the
core gave in `Launch`. Lines come whole, without their newline.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from mux.core.identity import Sharing


class LaunchSpec(msgspec.Struct, frozen=True):
    """How a server is started. Bytes as the kernel takes them; limits as NAME=SOFT:HARD."""

    argv: tuple[bytes, ...]
    executable: bytes
    cwd: bytes
    environment: tuple[bytes, ...]
    umask: int
    limits: tuple[bytes, ...]


class SessionOpened(msgspec.Struct, frozen=True):
    """A HELLO was accepted. `resumed`: REPLAY events follow, then SessionReady.

    idle_timeout: seconds until an idle server is stopped, 0 for never, None for what its era can bear. places: scopes
    that are narrower than its own, and where its server starts under each.
    """

    session: int
    base_key: bytes
    spec: LaunchSpec
    grace: float
    resumed: bool = False
    shared: bool = True
    idle_timeout: float | None = None
    sharing: Sharing = Sharing()
    places: Mapping[str, bytes] = {}


class SessionLine(msgspec.Struct, frozen=True, gc=False):
    """One line of a host. Oversize: `data` is its first and last OVERSIZE_EDGE_BYTES, joined."""

    session: int
    seq: int
    data: bytes
    oversize: bool = False


class SessionReplay(msgspec.Struct, frozen=True, gc=False):
    """An unsettled or kept line again, after the backend it was first sent to has gone.

    answered: the host has its answer. repeated: it was sent again before this time already.
    """

    session: int
    seq: int
    data: bytes
    answered: bool
    repeated: bool
    blob: bytes
    oversize: bool = False


class SessionReady(msgspec.Struct, frozen=True):
    """All REPLAYs of the session have come."""

    session: int


class SessionEof(msgspec.Struct, frozen=True):
    """The host closed its end; answers may still be delivered."""

    session: int


class SessionClosed(msgspec.Struct, frozen=True):
    """The connection is gone: the lease is over."""

    session: int


class ProcessStarted(msgspec.Struct, frozen=True):
    """The server runs: what is forwarded from now on reaches it."""

    process: int
    pid: int


class ProcessLine(msgspec.Struct, frozen=True, gc=False):
    """One line of a server's stdout. Oversize: as in SessionLine."""

    process: int
    data: bytes
    oversize: bool = False


class ProcessTree(msgspec.Struct, frozen=True):
    """Whether something that the server started has left its process group, as what is to live on does."""

    process: int
    detached: bool


class ProcessExited(msgspec.Struct, frozen=True):
    """The server is gone, its tree reaped, its output read to the end.

    status: exit code, or minus the signal. stderr: its last lines, without secrets of ours.
    """

    process: int
    status: int
    stderr: str = ""


class ProcessFailed(msgspec.Struct, frozen=True):
    """The server could not be started at all: not found, not executable, directory gone."""

    process: int
    reason: str


class Tick(msgspec.Struct, frozen=True):
    """The deadline that the pool named has come."""


class Halt(msgspec.Struct, frozen=True):
    """The operator stops one upstream, or all, as soon as what is at it is answered.

    Their sessions are told, and are not served again until `Permit`, or until a new one asks for the same server.
    """

    upstream: int | None
    reason: str


class Permit(msgspec.Struct, frozen=True):
    """The operator allows what was halted."""


class Restart(msgspec.Struct, frozen=True):
    """The operator wants a new generation of one upstream, without losing a request."""

    upstream: int


class Release(msgspec.Struct, frozen=True):
    """The operator ends the grace of what nobody has used since then: servers, and the backend.

    since: monotonic seconds. Whoever comes before the end is served as if there had been no such order.
    """

    since: float


class Shutdown(msgspec.Struct, frozen=True):
    """A planned exit: no new sessions, answer what is in flight, stop every server.

    reason: for the sessions, if they shall not bring the next backend about.
    """

    reason: str = ""


Event = (
    SessionOpened
    | SessionLine
    | SessionReplay
    | SessionReady
    | SessionEof
    | SessionClosed
    | ProcessStarted
    | ProcessLine
    | ProcessTree
    | ProcessExited
    | ProcessFailed
    | Tick
    | Halt
    | Permit
    | Restart
    | Release
    | Shutdown
)


class Dispatch(Protocol):
    """Takes events that came together, in their order."""

    def __call__(self, *batch: Event) -> None: ...
