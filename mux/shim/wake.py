"""The end of a park: the shell has become this process, which goes on where the shim stopped."""

from __future__ import annotations

import os

from mux import limits
from mux.rendezvous.sockets import SHUT_RDWR, adopt
from mux.shim.breaker import Breaker
from mux.shim.journal import Journal
from mux.shim.relay import Relay
from mux.shim.saved import CONTROL, SAVED, Unreadable, restore
from mux.wire.frames import FrameReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mux.rendezvous.sockets import Socket
    from mux.wire.frames import Frame


class Woken:
    """The connection as it was left: nothing has come on it since but the byte that woke."""

    __slots__ = ("frames", "reader", "session", "sock")

    def __init__(self, sock: Socket, session: bytes) -> None:
        self.sock = sock
        self.session = session
        self.frames: list[Frame] = []
        self.reader = FrameReader()


def main() -> int:
    """Relay on; the exit code. Where the notes are of a version that is not known here, begin as a new session."""
    os.set_inheritable(CONTROL, False)
    try:
        session, identity, notes, deaths, known_wire = restore(SAVED)
    except Unreadable:
        os.close(CONTROL)
        from mux.shim.main import main as begin

        return begin()
    finally:
        os.close(SAVED)
    limits.configure(session.limits)
    sock = adopt(CONTROL)
    if not known_wire:
        sock.shutdown(SHUT_RDWR)  # the relay takes it for a backend that died, and goes to the next one
    left = Journal.restored(notes), Breaker.restored(deaths)
    return Relay(Woken(sock, identity), session.attach, session.park, left).run()
