"""A backend that a test plays by hand: one frame at a time, each wait bounded."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from mux.rendezvous.lock import try_lock
from mux.wire.frames import EOF, HELLO, LINE, OUT, WELCOME, FrameReader, Hello, frame

Frame = tuple[int, int, int, bytes]
PATIENCE = 30.0


class Backend:
    """Holds the lock of a socket, so that no other is started, and listens while `listening`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lock = try_lock(str(path.with_suffix(".lock")))
        assert lock is not None
        self.lock = lock
        self._listener: socket.socket | None = None
        self._connections: list[Connection] = []
        self.listen()

    def listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(PATIENCE)
        self._listener.bind(str(self.path))
        self._listener.listen()

    def stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self.path.unlink()
            self._listener = None

    def accept(self, *, session: bytes = b"s1", behind: bytes = b"") -> Connection:
        """The next connection, welcomed; `behind` is sent in the same piece."""
        assert self._listener is not None
        sock, _ = self._listener.accept()
        connection = Connection(sock)
        self._connections.append(connection)
        kind, _, _, payload = connection.next()
        assert kind == HELLO
        connection.hello = Hello.decode(payload)
        connection.send(frame(WELCOME, session) + behind)
        return connection

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self.stop_listening()
        os.close(self.lock)


class Connection:
    """One shim's connection. `hello` is what it said first."""

    hello: Hello

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE)
        self._reader = FrameReader()
        self._frames: list[Frame] = []

    def next(self) -> Frame:
        """The next frame. Raises EOFError at the end of the connection."""
        while not self._frames:
            data = self.sock.recv(1 << 18)
            if not data:
                raise EOFError
            self._frames = self._reader.feed(data)
        return self._frames.pop(0)

    def line(self) -> tuple[int, bytes]:
        """(seq, line) of the next frame, which is a LINE without flags."""
        kind, flags, seq, payload = self.next()
        assert (kind, flags) == (LINE, 0)
        return seq, payload

    def eof(self) -> None:
        assert self.next()[0] == EOF

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def out(self, line: bytes, *, seq: int = 0) -> None:
        self.send(frame(OUT, line, seq=seq))

    def close(self) -> None:
        self.sock.close()
