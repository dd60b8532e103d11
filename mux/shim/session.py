"""Who a session is: what it says of itself, and where. The same at every attach, and after a park."""

from __future__ import annotations

import os
import stat
import sys

from mux import __version__
from mux.wire.frames import MAJOR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mux.rendezvous.attach import Attached, Wait
    from mux.rendezvous.paths import Place
    from mux.rendezvous.sockets import Socket
    from mux.shim.breaker import Breaker
    from mux.shim.journal import Journal
    from mux.wire.frames import Hello

SHELL = os.environ.get("MUX_PARK_SHELL", "/bin/sh")
"""What a parked shim is. The variable is for systems that have it elsewhere, and for tests."""


def can_park(stdin: int = 0) -> bool:
    """Whether another process can poll stdin, and there are a shell and an interpreter to come back with."""
    mode = os.fstat(stdin).st_mode
    return (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)) and os.access(SHELL, os.X_OK) and bool(sys.executable)


class Session:
    """hello: sent at every attach. socket: as configured, None for the user's default.

    backend: options of one that is started. limits: those of this process that somebody has set. sleepless: no shell
    can be had, as it has turned out.
    """

    __slots__ = ("backend", "hello", "limits", "sleepless", "socket")

    def __init__(
        self, hello: Hello, socket: str | None, backend: Sequence[str], limits: Mapping[str, int | float]
    ) -> None:
        self.hello = hello
        self.socket = socket
        self.backend = tuple(backend)
        self.limits = dict(limits)
        self.sleepless = False

    def attach(self, session: bytes, not_before: float, wait: Wait | None) -> Attached:
        """Reach a backend as `session`, or as a new one. Raises as mux.rendezvous.attach.attach does, or UsageError."""
        from mux.rendezvous.attach import attach, wait_readable
        from mux.rendezvous.paths import places

        self.hello.session = session
        self.hello.major = MAJOR
        self.hello.version = __version__.encode()
        return attach(
            places(self.socket),
            self.hello.encode(),
            not_before=not_before,
            resumed=bool(session),
            start=self._start,
            wait=wait_readable if wait is None else wait,
        )

    def park(self, control: Socket, identity: bytes, journal: Journal, breaker: Breaker) -> None:
        """As mux.shim.park.park, on this session."""
        from mux.shim.park import park

        park(control, self, identity, journal, breaker)

    def _start(self, place: Place, lock: int, listener: int) -> int:
        from mux.rendezvous.spawn import start

        return start(place, lock, listener, options=self.backend)
