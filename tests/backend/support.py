"""A backend process with a stub core, and a shim's end of a connection to it."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mux.backend import reap
from mux.backend.reap import Identity
from mux.core.events import LaunchSpec
from mux.rendezvous.paths import Place
from mux.wire import frames
from mux.wire.frames import FrameReader, Hello
from tests.support import processes
from tests.support.processes import MARK

Frame = tuple[int, int, int, bytes]
PATIENCE = 20.0
"""Bound of every wait, seconds."""


class Peer:
    """One connection, blocking."""

    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(path)
        self._reader = FrameReader()
        self._frames: list[Frame] = []

    def hello(self, **fields: Any) -> None:
        fields = {"role": frames.ROLE_SESSION, "version": b"test", "cwd": os.getcwdb(), **fields}
        self.send(frames.HELLO, Hello(**fields).encode())

    def send(self, kind: int, payload: bytes = b"", *, seq: int = 0, flags: int = 0) -> None:
        self.sock.sendall(frames.frame(kind, payload, seq=seq, flags=flags))

    def read(self) -> Frame | None:
        """The next frame; None at the end of the connection."""
        while not self._frames:
            try:
                data = self.sock.recv(1 << 18)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._frames = self._reader.feed(data)
        return self._frames.pop(0)

    def until(self, kind: int) -> Frame:
        """Skip to the next frame of that kind."""
        while (found := self.read()) is not None:
            if found[0] == kind:
                return found
        raise AssertionError(f"the connection ended before a frame {kind:#04x}")

    def line(self) -> bytes:
        """The next line for the host."""
        return self.until(frames.OUT)[3]

    def close(self) -> None:
        self.sock.close()


class World:
    """A directory and the backends of its one socket."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.place = Place(str(directory / "s.sock"))
        self.path = self.place.socket
        self.environment = [b"PATH=" + os.environb[b"PATH"], f"{MARK}={directory}".encode()]
        self._peers: list[Peer] = []
        self._backends: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        *options: str,
        grace: float = 0.3,
        loop: str = "uvloop",
        preexec_fn: Callable[[], object] | None = None,
    ) -> subprocess.Popen[bytes]:
        """A backend that serves."""
        backend = subprocess.Popen(
            [sys.executable, "-m", "tests.backend.stub", self.path, str(grace), loop, *options],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env={**os.environ, MARK: str(self.directory)},
            preexec_fn=preexec_fn,  # noqa: PLW1509
        )
        self._backends.append(backend)
        assert backend.stdout is not None
        assert backend.stdout.readline() == b"ready\n"
        return backend

    def peer(self) -> Peer:
        """A connection that has said nothing."""
        peer = Peer(self.path)
        self._peers.append(peer)
        return peer

    def session(self, *argv: str, **fields: Any) -> Peer:
        """A connection that is welcomed."""
        peer = self.peer()
        fields = {"environment": self.environment, **fields}
        peer.hello(argv=[os.fsencode(word) for word in argv], **fields)
        welcome = peer.read()
        assert welcome is not None
        assert welcome[0] == frames.WELCOME, welcome
        return peer

    def log(self) -> str:
        return (self.directory / "s.log").read_text()

    def files(self) -> set[str]:
        return set(os.listdir(self.directory))

    def locked(self) -> bool:
        with open(self.place.lock, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def close(self) -> None:
        for peer in self._peers:
            peer.close()
        for backend in self._backends:
            if backend.poll() is None:
                backend.send_signal(signal.SIGTERM)
            try:
                backend.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                backend.kill()
                backend.wait(PATIENCE)
            assert backend.stdout is not None
            backend.stdout.close()
        left = processes.marked(self.directory)
        described = processes.describe(left)
        processes.kill(left)
        assert not described, "\n".join(["left behind:", *described])


def spec(*argv: str, cwd: str = "/", environment: Sequence[str] = (), **fields: Any) -> LaunchSpec:
    """How to start `argv`, of which the first is a path."""
    words = tuple(os.fsencode(word) for word in argv)
    variables = (b"PATH=" + os.environb[b"PATH"], *(os.fsencode(pair) for pair in environment))
    if MARK in os.environ:
        variables += (os.fsencode(f"{MARK}={os.environ[MARK]}"),)
    fields = {"executable": words[0], "umask": 0o022, "limits": (), **fields}
    return LaunchSpec(argv=words, cwd=os.fsencode(cwd), environment=variables, **fields)


def sleeper(
    *, env: Mapping[str, str] | None = None, start_new_session: bool = False, process_group: int | None = None
) -> subprocess.Popen[bytes]:
    """A process that does nothing, for whoever kills it."""
    return subprocess.Popen(
        ["/bin/sleep", "92"], env=env, start_new_session=start_new_session, process_group=process_group
    )


def identity(pid: int) -> Identity:
    """Of a process that is there."""
    row = reap.process(pid)
    assert row is not None
    return row.identity
