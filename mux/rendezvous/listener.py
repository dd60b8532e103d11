"""The listening socket. It is bound at its final path under the lock, so only a lock holder ever unlinks one."""

from __future__ import annotations

import os
import stat

from mux.errors import RendezvousError, UnsafePath
from mux.failpoints import ARMED, hit
from mux.limits import LISTEN_BACKLOG
from mux.rendezvous.lock import try_lock
from mux.rendezvous.paths import unusable
from mux.rendezvous.sockets import unix_stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from mux.rendezvous.paths import Place
    from mux.rendezvous.sockets import Socket


def listen(place: Place) -> Socket:
    """Bind and listen at `place.socket`, mode 0600, in place of a stale socket. The caller holds the lock.

    Raises UnsafePath if something that is no socket of ours stands there, Denied or RendezvousError otherwise.
    """
    _remove_stale(place.socket)
    listener: Socket | None = None
    mask = os.umask(0o177)
    try:
        if ARMED:
            hit("socket.unlinked")
        listener = unix_stream()
        listener.bind(place.socket)
        if ARMED:
            hit("socket.bound")
        listener.listen(LISTEN_BACKLOG)
        if ARMED:
            hit("socket.listening")
    except OSError as error:
        if listener is not None:
            listener.close()
        raise unusable(f"cannot listen at {place.socket}", error) from error
    finally:
        os.umask(mask)
    return listener


def _remove_stale(path: str) -> None:
    try:
        found = os.stat(path, follow_symlinks=False)
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
            raise UnsafePath(f"{path} is no socket of ours, and is left alone: remove it, or name another --socket")
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unusable(f"cannot remove the stale socket {path}", error) from error


def take(place: Place) -> tuple[int, socket.socket]:
    """Become the holder of `place`: (descriptor of the lock, listener), both close-on-exec.

    Raises RendezvousError if another backend holds it, and as Place.prepare, try_lock and listen do.
    """
    import socket

    place.prepare()
    lock = try_lock(place.lock)
    if lock is None:
        raise RendezvousError(f"another backend serves {place.socket}: `mux status` shows it, `mux stop` ends it")
    try:
        return lock, socket.socket(fileno=listen(place).detach())
    except BaseException:
        os.close(lock)
        raise


def inode(path: str) -> tuple[int, int] | None:
    """(device, inode) of what stands at `path`, None if nothing can be seen there. A holder reads its own at start."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def unlink_own(path: str, own: tuple[int, int] | None) -> bool:
    """Remove the socket at `path` if it is still the one that `own` names; whether it was. For a lock holder."""
    if own is None or inode(path) != own:
        return False
    os.unlink(path)
    return True
