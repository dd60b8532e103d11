"""A backend is begun under the lock, or not at all, and what it says of its start is heard."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mux.errors import StartFailed, Stopped
from mux.rendezvous import birth, failure, notes
from mux.rendezvous.birth import DIED, Birth, begin
from mux.rendezvous.lock import try_lock
from mux.rendezvous.paths import Place
from tests.rendezvous.conftest import held


@pytest.fixture
def place(private: Path) -> Place:
    return Place(f"{private}/s.sock")


def saying(*words: bytes) -> int:
    """The status pipe of a backend that has said these and is gone."""
    read, write = os.pipe()
    for word in words:
        os.write(write, word)
    os.close(write)
    return read


def heard(place: Place, *words: bytes) -> str | None:
    born = Birth(saying(*words), place)
    while (said := born.hear()) is None:
        pass
    born.close()
    return said


def test_a_backend_that_says_ok_serves(place: Place) -> None:
    assert heard(place, b"ok") == ""


def test_nothing_is_believed_before_the_pipe_has_ended(place: Place) -> None:
    read, write = os.pipe()
    born = Birth(read, place)
    os.write(write, b"o")
    assert born.hear() is None
    os.write(write, b"k")
    assert born.hear() is None
    os.close(write)
    assert born.hear() == ""
    born.close()


@pytest.mark.parametrize("reason", [b"no room at the inn", b"okay", b"\xff"])
def test_any_other_word_is_the_reason_why_it_does_not(place: Place, reason: bytes) -> None:
    assert heard(place, reason) == reason.decode(errors="replace")


def test_a_backend_without_a_word_has_died(place: Place) -> None:
    assert heard(place) == DIED


def test_a_failed_birth_keeps_others_from_trying_until_one_succeeds(place: Place) -> None:
    born = Birth(saying(), place)
    error = born.failed("why")
    assert isinstance(error, StartFailed)
    assert str(error) == "why"
    with pytest.raises(StartFailed, match="why"):
        begin(place, never)
    os.close(held(Path(place.lock)))
    born.serves()
    assert failure.read(place.fail) is None
    born.close()


def never(_place: Place, _lock: int, _listener: int) -> int:
    raise AssertionError("nobody should be started")


def test_who_holds_the_lock_is_left_alone(place: Place) -> None:
    lock = held(Path(place.lock))
    assert begin(place, never) is None
    assert not os.path.exists(place.socket)
    os.close(lock)


def test_a_backend_is_started_with_the_lock_and_a_listener_that_answers_at_once(place: Place) -> None:
    kept: list[int] = []

    def start(given: Place, lock: int, listener: int) -> int:
        assert given is place
        assert try_lock(place.lock) is None
        kept.extend((os.dup(lock), os.dup(listener)))
        return saying(b"ok")

    born = begin(place, start)
    assert born is not None
    assert born.hear() is None
    assert born.hear() == ""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(place.socket)
    assert try_lock(place.lock) is None, "the backend has it now"
    for fd in kept:
        os.close(fd)
    born.close()
    os.close(held(Path(place.lock)))


def test_after_a_stop_a_session_that_comes_back_starts_nothing_and_hears_why(place: Place) -> None:
    notes.write(place.stopped, "by hand")
    with pytest.raises(Stopped, match=r"by hand\Z"):
        begin(place, never, resumed=True)
    assert not os.path.exists(place.socket)
    os.close(held(Path(place.lock)))


@pytest.mark.parametrize(("resumed", "note"), [(False, "by hand"), (True, ""), (True, None)])
def test_a_new_session_starts_a_backend_after_a_stop_and_any_session_where_none_is_noted(
    place: Place, resumed: bool, note: str | None
) -> None:
    if note:
        notes.write(place.stopped, note)
    elif note is not None:
        Path(place.stopped).write_text("torn")
    born = begin(place, lambda *_: saying(b"ok"), resumed=resumed)
    assert born is not None
    born.close()


def test_a_start_that_fails_leaves_neither_socket_nor_lock_nor_descriptor(place: Place) -> None:
    def start(_place: Place, _lock: int, _listener: int) -> int:
        assert os.path.exists(place.socket)
        raise StartFailed("no more processes")

    before = os.listdir("/proc/self/fd")
    with pytest.raises(StartFailed, match="no more processes"):
        begin(place, start)
    assert not os.path.exists(place.socket)
    assert os.listdir("/proc/self/fd") == before
    os.close(held(Path(place.lock)))


def test_a_fault_can_be_put_behind_the_lock(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(site: str) -> None:
        raise OSError(site)

    monkeypatch.setattr(birth, "ARMED", True)
    monkeypatch.setattr(birth, "hit", fail)
    with pytest.raises(OSError, match=r"lock\.taken"):
        begin(place, never)
    os.close(held(Path(place.lock)))
