"""Starting a backend under the lock, and hearing how it went. Imported only where nobody was found to be there."""

from __future__ import annotations

import os

from mux.errors import StartFailed, Stopped
from mux.failpoints import ARMED, hit
from mux.limits import RECORD_BYTES
from mux.rendezvous import failure, notes, spawn
from mux.rendezvous.listener import listen
from mux.rendezvous.lock import try_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mux.rendezvous.paths import Place

    Start = Callable[[Place, int, int], int]

_SERVES = b'"leaving":false'
"""In a record, as mux/backend/record.py writes it; a shim that looked closer would pay for `json`."""

DIED = "the backend ended while it was starting, without a word"


class Birth:
    """A backend that this process has started. `fd`: the read end of its status pipe, readable when it has a word."""

    __slots__ = ("_place", "_said", "fd")

    def __init__(self, fd: int, place: Place) -> None:
        self.fd = fd
        self._place = place
        self._said = b""

    def hear(self) -> str | None:
        """Read what is there. None: not all is said. "": it serves. Else the reason why it does not."""
        data = os.read(self.fd, 4096)
        if data:
            self._said += data
            return None
        return "" if self._said == b"ok" else self._said.decode(errors="replace") or DIED

    def serves(self) -> None:
        """It does: an earlier failure is history."""
        failure.clear(self._place.fail)

    def failed(self, reason: str) -> StartFailed:
        """It does not: nobody else should try for a while. The error to raise."""
        failure.write(self._place.fail, reason)
        return StartFailed(reason)

    def close(self) -> None:
        """Let go of the status pipe."""
        os.close(self.fd)


def begin(place: Place, start: Start | None, *, resumed: bool = False) -> Birth | None:
    """Take the lock of `place`, bind its socket, start a backend that inherits both; None if another holds the lock.

    resumed: for a session that lost its backend. Raises Stopped to it if the operator has stopped that, also where it
    could not be told; StartFailed while an earlier failure holds; and what `try_lock`, `listen` and `start` raise.
    """
    lock = try_lock(place.lock)
    if lock is None:
        return None
    try:
        if ARMED:
            hit("lock.taken")
        if resumed and (reason := notes.read(place.stopped)):
            raise Stopped(reason.strip())
        known = failure.read(place.fail)
        if known is not None and known.holds:
            raise StartFailed(known.reason)
        listener = listen(place)
        try:
            return Birth((start or spawn.start)(place, lock, listener.fileno()), place)
        except BaseException:
            os.unlink(place.socket)  # at which nobody would answer
            raise
        finally:
            listener.close()
    finally:
        os.close(lock)


def is_cut_off(place: Place) -> bool:
    """Where the lock is held and nobody listens: whether the holder's record says that it serves.

    One that starts listens before it writes a record, and one that leaves says so before it lets go of its socket: so
    somebody else has taken that away. What one look finds may be of two lives; what stays so is not.
    """
    try:
        return _SERVES in notes.contents(place.record, RECORD_BYTES)
    except (OSError, ValueError):
        return False
