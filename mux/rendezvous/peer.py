"""Who is at the other end of a Unix socket, as the kernel knows it."""

from __future__ import annotations

import _socket
import os
import sys
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mux.rendezvous.sockets import Socket

_UCRED = Struct("=3i")
# macOS and the BSDs: struct xucred of <sys/ucred.h> starts with its version and the uid
_SOL_LOCAL = 0
_LOCAL_PEERCRED = 1
_LOCAL_PEERPID = 2
_XUCRED = Struct("=II")
_XUCRED_BYTES = 76


def credentials(sock: Socket) -> tuple[int, int]:
    """(uid, pid) of the process that connected, or that called listen(). pid 0: not known, or in another namespace.

    Raises OSError if the socket is gone.
    """
    if hasattr(_socket, "SO_PEERCRED"):
        pid, uid, _ = _UCRED.unpack(sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _UCRED.size))
        return uid & 0xFFFFFFFF, pid
    _, uid = _XUCRED.unpack_from(sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_BYTES))
    pid = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID) if sys.platform == "darwin" else 0
    return uid, pid


def is_ours(sock: Socket) -> bool:
    """Whether the process at the other end runs as this user."""
    return credentials(sock)[0] == os.geteuid()
