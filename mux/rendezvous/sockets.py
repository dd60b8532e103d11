"""Unix stream sockets from CPython's `_socket`: the `socket` module (enum, selectors) costs the shim 1 MB and 4 ms."""

from __future__ import annotations

import _socket
from struct import Struct

Socket = _socket.socket
"""The type of every socket here: what `socket.socket` derives from."""

MSG_DONTWAIT = getattr(_socket, "MSG_DONTWAIT", 0)

SHUT_RDWR = _socket.SHUT_RDWR

_FD = Struct("i")


def unix_stream() -> Socket:
    """A new stream socket, close-on-exec. Raises OSError where a sandbox forbids AF_UNIX."""
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)


def adopt(fd: int) -> Socket:
    """A socket object on a descriptor that exists; its flags stay as they are. Closing the object closes `fd`."""
    return _socket.socket(fileno=fd)


def send_descriptor(sock: Socket, data: bytes, fd: int) -> None:
    """Send `data` with a duplicate of `fd`, on a socket with room for it. Raises OSError."""
    sent = sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _FD.pack(fd))])
    if sent != len(data):
        raise TimeoutError("the socket is full")
