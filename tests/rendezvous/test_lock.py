from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

import pytest

from mux.errors import RendezvousError, UnsafePath
from mux.rendezvous.lock import try_lock
from tests.rendezvous.conftest import held


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
