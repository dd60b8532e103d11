"""Who is at the other end of a Unix socket, as the kernel knows it."""

from __future__ import annotations

import _socket
import os
import sys
from struct import Struct

from mux.errors import Denied
from mux.rendezvous import confinement

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


def may_hear(sock: Socket, where: str) -> bool:
    """Whether the listener at `where` may have a HELLO: it is this user's, and confined exactly as we are.

    False: whoever called listen() has ended, so nothing is known of its heir. A backend calls listen() again when it
    starts, and the next connection tells. Raises Denied if the listener is another's.
    """
    uid, pid = credentials(sock)
    if uid != os.geteuid():
        raise Denied(f"{where} is served by another user; nothing was sent there")
    same = confinement.same_as(pid)
    if same is False:
        raise Denied(f"{where} is served from another sandbox or container; nothing was sent there")
    return bool(same)
