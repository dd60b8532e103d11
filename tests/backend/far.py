"""A connection on a real socket within this process, and its peer's end of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from mux.backend.connection import Connection
from mux.limits import MIB
from mux.wire.frames import FrameReader
from tests.backend.support import PATIENCE, Frame


class Far:
    """The peer's end of a connection's socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._loop = asyncio.get_running_loop()

    async def say(self, *said: bytes) -> None:
        await asyncio.wait_for(self._loop.sock_sendall(self.sock, b"".join(said)), PATIENCE)

    async def rest(self) -> list[Frame]:
        """All frames until the end, however that comes."""
        reader, found = FrameReader(), []
        with contextlib.suppress(ConnectionResetError):
            while data := await asyncio.wait_for(self._loop.sock_recv(self.sock, MIB), PATIENCE):
                found += reader.feed(data)
        return found


async def join(made: Connection) -> Far:
    """Put a connection on a socket, as the server does."""
    ours, theirs = socket.socketpair()
    await asyncio.get_running_loop().connect_accepted_socket(lambda: made, ours)
    return Far(theirs)
