"""The lock that makes a backend single: a flock, held for the holder's whole life, freed by the kernel at its death.

The file is never unlinked: whoever holds a removed file's lock would hold nothing.
"""

from __future__ import annotations

import fcntl
import os
import stat

from mux.errors import RendezvousError, UnsafePath
from mux.rendezvous.paths import unusable

_TRIES = 16


def try_lock(path: str) -> int | None:
    """A descriptor that holds the lock, close-on-exec; None if another process holds it. Never waits.

    Guarantees that the locked file is the one at `path`. Raises UnsafePath if that is no plain file of ours,
    Denied or RendezvousError if it can not be opened or locked.
    """
    for _ in range(_TRIES):
        fd = _open(path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(fd, path):
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError as error:
            os.close(fd)
            raise unusable(f"cannot lock {path}", error) from error
        os.close(fd)
    raise RendezvousError(f"{path} is replaced again and again")


def _open(path: str) -> int:
    mask = os.umask(0o077)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise unusable(f"cannot open {path}", error) from error
    finally:
        os.umask(mask)
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(fd)
        raise UnsafePath(f"{path} is no plain file of ours: remove it, or name another --socket")
    return fd


def _is_at(fd: int, path: str) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(fd), there)
