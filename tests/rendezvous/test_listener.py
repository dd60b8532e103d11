"""The socket at its path: bound under the lock, ours alone, and only ever ours removed."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from mux import failpoints
from mux.errors import Denied, RendezvousError, UnsafePath
from mux.rendezvous import listener as listening
from mux.rendezvous import peer
from mux.rendezvous.listener import inode, listen, take, unlink_own
from mux.rendezvous.paths import Place
from tests.rendezvous.conftest import held


def test_a_stale_socket_is_replaced_by_a_listener_of_mode_0600(private: Path) -> None:
    place = Place(f"{private}/s.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(place.socket)
    before = os.umask(0o777)
    listener = listen(place)
    assert os.umask(before) == 0o777
    assert stat.S_IMODE(os.stat(place.socket).st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(place.socket)
        assert peer.credentials(client) == (os.geteuid(), os.getpid())
        assert peer.may_hear(client, place.socket)
    listener.close()


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_what_is_no_socket_is_never_removed(private: Path, kind: str) -> None:
    path = private / "s.sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "link":
        path.symlink_to(private / "elsewhere")
    else:
        path.mkdir()
    with pytest.raises(UnsafePath):
        listen(Place(str(path)))
    assert path.is_symlink() or path.exists()


def test_only_our_own_socket_is_unlinked(private: Path) -> None:
    path = str(private / "s.sock")
    with socket.socket(socket.AF_UNIX) as first:
        first.bind(path)
        own = inode(path)
        os.rename(path, f"{path}.old")
        with socket.socket(socket.AF_UNIX) as second:
            second.bind(path)
            assert not unlink_own(path, own)
            assert unlink_own(path, inode(path))
            assert not unlink_own(path, own)
    assert inode(path) is None
    assert not unlink_own(path, None)


def test_a_foreground_backend_takes_lock_and_listener_and_a_second_one_is_told_why_not(private: Path) -> None:
    place = Place(f"{private}/s.sock")
    lock, listener = take(place)
    with listener, pytest.raises(RendezvousError, match="another backend serves"):
        take(place)
    os.close(lock)
    lock, listener = take(place)
    listener.close()
    os.close(lock)


def test_a_take_that_fails_leaves_the_lock_free(private: Path) -> None:
    (private / "s.sock").write_text("")
    with pytest.raises(UnsafePath):
        take(Place(f"{private}/s.sock"))
    os.close(held(private / "s.lock"))


def test_a_directory_that_is_gone_is_told_and_nothing_is_left_open(private: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(RendezvousError, match="cannot listen at"):
        listen(Place(f"{private}/gone/s.sock"))
    assert os.listdir("/proc/self/fd") == before


def test_a_sandbox_that_forbids_unix_sockets_is_a_denial(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    before = os.umask(0o027)
    monkeypatch.setattr(listening, "unix_stream", forbidden)
    with pytest.raises(Denied, match=r"cannot listen at .*: Operation not permitted"):
        listen(Place(f"{private}/s.sock"))
    assert os.umask(before) == 0o027


def test_a_stale_socket_that_can_not_be_removed_is_told(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(_path: str) -> None:
        raise OSError(30, "Read-only file system")

    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{private}/s.sock")
    monkeypatch.setattr(os, "unlink", read_only)
    with pytest.raises(RendezvousError, match=r"cannot remove the stale socket .*: Read-only"):
        listen(Place(f"{private}/s.sock"))
    monkeypatch.undo()


def test_a_socket_of_another_user_is_left_alone(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{private}/s.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UnsafePath, match="no socket of ours"):
        listen(Place(path))
    assert inode(path) is not None


def test_lock_and_listener_of_a_foreground_backend_are_inherited_by_no_server(private: Path) -> None:
    lock, listener = take(Place(f"{private}/s.sock"))
    with listener:
        assert not os.get_inheritable(lock)
        assert not os.get_inheritable(listener.fileno())
    os.close(lock)


def test_a_fault_can_be_put_between_any_two_steps(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hit: list[str] = []
    monkeypatch.setattr(listening, "ARMED", True)
    monkeypatch.setattr(listening, "hit", hit.append)
    listen(Place(f"{private}/s.sock")).close()
    assert hit == ["socket.unlinked", "socket.bound", "socket.listening"]
    assert set(hit) <= set(failpoints.SITES)
