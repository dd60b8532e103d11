from __future__ import annotations

import fcntl
import os
import socket
import stat
from pathlib import Path

import pytest

from mux.errors import RendezvousError, UnsafePath
from mux.rendezvous import peer
from mux.rendezvous.listener import inode, listen, take, unlink_own
from mux.rendezvous.lock import try_lock
from mux.rendezvous.paths import Place


def held(path: Path) -> int:
    fd = try_lock(str(path))
    assert fd is not None
    return fd


def test_a_lock_is_held_once_and_free_again_when_its_descriptor_closes(private: Path) -> None:
    first = held(private / "l")
    assert try_lock(str(private / "l")) is None
    os.close(first)
    os.close(held(private / "l"))


def test_a_lock_file_is_0600_close_on_exec_and_stays(private: Path) -> None:
    fd = held(private / "l")
    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o600
    assert not os.get_inheritable(fd)
    os.close(fd)
    assert (private / "l").exists()


def test_a_lock_on_a_file_that_was_replaced_meanwhile_is_not_taken_for_the_lock(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = private / "l"
    real = fcntl.flock
    replaced: list[int] = []

    def replace_first(fd: int, operation: int) -> None:
        if not replaced:
            replaced.append(os.fstat(fd).st_ino)
            (private / "new").write_text("")
            (private / "new").rename(path)
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", replace_first)
    fd = held(path)
    assert os.fstat(fd).st_ino == path.stat().st_ino != replaced[0]
    os.close(fd)


def test_a_lock_that_is_replaced_for_ever_is_given_up(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: (private / "l").unlink())
    with pytest.raises(RendezvousError, match="again and again"):
        try_lock(str(private / "l"))


def test_a_link_in_the_lock_s_place_is_refused_and_its_target_untouched(private: Path) -> None:
    (private / "l").symlink_to(private / "target")
    with pytest.raises(RendezvousError):
        try_lock(str(private / "l"))
    assert not (private / "target").exists()


def test_a_fifo_in_the_lock_s_place_is_refused_without_waiting_for_its_reader(private: Path) -> None:
    os.mkfifo(private / "l")
    with pytest.raises(UnsafePath):
        try_lock(str(private / "l"))


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
