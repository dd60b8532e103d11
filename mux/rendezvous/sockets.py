"""Unix stream sockets from CPython's `_socket`: the `socket` module (enum, selectors) costs the shim 1 MB and 4 ms."""

from __future__ import annotations

import _socket

Socket = _socket.socket
"""The type of every socket here: what `socket.socket` derives from."""

MSG_DONTWAIT = getattr(_socket, "MSG_DONTWAIT", 0)


def unix_stream() -> Socket:
    """A new stream socket, close-on-exec. Raises OSError where a sandbox forbids AF_UNIX."""
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)


def adopt(fd: int) -> Socket:
    """A socket object on a descriptor that exists; its flags stay as they are. Closing the object closes `fd`."""
    return _socket.socket(fileno=fd)
