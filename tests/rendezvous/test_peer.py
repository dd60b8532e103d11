"""Who is at the other end, and whether it may hear an environment: real sockets, and real processes at them."""

from __future__ import annotations

import _socket
import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from struct import pack

import pytest

from mux.errors import Denied
from mux.rendezvous import confinement, peer
from mux.rendezvous.sockets import Socket, unix_stream

LISTEN = """if True:
    import ctypes, os, socket, sys
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    os.setuid(int(sys.argv[2]))
    if sys.argv[3] == "confined":
        ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
    listener.listen()
    print(flush=True)
    sys.stdin.read()
"""
NOBODY = 65534


@contextmanager
def listening(path: Path, uid: int = -1, how: str = "plain") -> Generator[subprocess.Popen[bytes]]:
    """A process that listens at `path`, as that user and as confined as said."""
    command = [sys.executable, "-c", LISTEN, str(path), str(os.getuid() if uid < 0 else uid), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def connected(path: Path) -> Generator[Socket]:
    sock = unix_stream()
    try:
        sock.connect(str(path))
        yield sock
    finally:
        sock.close()


def test_who_connects_learns_who_listens(private: Path) -> None:
    with listening(private / "s") as process, connected(private / "s") as sock:
        assert peer.credentials(sock) == (os.geteuid(), process.pid)


def test_who_listens_learns_who_has_connected(private: Path) -> None:
    connect = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(private / "s"))
        listener.listen()
        listener.settimeout(20.0)
        with subprocess.Popen([sys.executable, "-c", connect, str(private / "s")]) as process:
            accepted, _ = listener.accept()
            with accepted:
                assert peer.credentials(accepted) == (os.geteuid(), process.pid)


def test_of_a_socket_that_is_gone_nothing_is_known() -> None:
    sock = unix_stream()
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        peer.credentials(sock)


def test_a_listener_of_ours_that_is_confined_as_we_are_may_hear(private: Path) -> None:
    with listening(private / "s"), connected(private / "s") as sock:
        assert peer.may_hear(sock, "there") is True


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_a_listener_of_another_user_may_not(private: Path) -> None:
    with listening(private / "s", NOBODY), connected(private / "s") as sock:
        assert peer.credentials(sock)[0] == NOBODY
        with pytest.raises(Denied, match="there is served by another user; nothing was sent"):
            peer.may_hear(sock, "there")


@pytest.mark.skipif(confinement.mark() == "" or confinement.values()[-2] == "1", reason="nothing to differ in")
def test_a_listener_in_another_sandbox_may_not(private: Path) -> None:
    sentence = "there is served from another sandbox or container; nothing was sent"
    with (
        listening(private / "s", how="confined"),
        connected(private / "s") as sock,
        pytest.raises(Denied, match=sentence),
    ):
        peer.may_hear(sock, "there")


@pytest.mark.skipif(confinement.mark() == "", reason="elsewhere every peer of our user passes")
def test_of_a_listener_whose_process_has_ended_another_connection_must_tell(private: Path) -> None:
    with listening(private / "s") as process, connected(private / "s") as sock:
        process.kill()
        process.wait()
        assert peer.may_hear(sock, "there") is False


@pytest.mark.parametrize(("platform", "pid"), [("darwin", 4711), ("freebsd14", 0)])
def test_where_the_kernel_speaks_of_it_as_on_a_bsd_it_is_understood(
    monkeypatch: pytest.MonkeyPatch, platform: str, pid: int
) -> None:
    """The layout of <sys/ucred.h>, answered by a stand-in: there is no such kernel here."""

    class Bsd:
        def getsockopt(self, level: int, option: int, size: int = 0) -> bytes | int:
            assert level == 0
            if option == 2:
                return 4711
            assert (option, size) == (1, 76)
            return pack("=IIh2x16I", 0, 501, 1, *[20] * 16)

    monkeypatch.delattr(_socket, "SO_PEERCRED", raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    assert peer.credentials(Bsd()) == (501, pid)  # type: ignore[arg-type]
