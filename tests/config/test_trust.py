"""Records of what the user trusts."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from mux.config import trust as store
from mux.config.trust import forget, trust
from mux.errors import MuxError
from tests.config.conftest import Place

CONTENT = b"grace = 1\n"


def records(place: Place) -> Path:
    return place.home / ".local" / "state" / "mux" / "trust"


def is_trusted(path: str, content: bytes, place: Place) -> bool:
    """Where no record is wrong: nothing is complained of."""
    return store.is_trusted(path, content, place.environment, pytest.fail)


def ignored(place: Place, record: Path) -> bool:
    """Whether the record of the project's file counts for nothing, with one complaint that names it."""
    complaints: list[str] = []
    found = store.is_trusted(str(place.file), CONTENT, place.environment, complaints.append)
    (complaint,) = complaints
    return not found and complaint.startswith(f"{record} is ignored: ")


def test_a_file_is_trusted_with_its_content_and_no_other(place: Place) -> None:
    path = str(place.file)
    assert not is_trusted(path, CONTENT, place)
    trust(path, CONTENT, place.environment)
    assert is_trusted(path, CONTENT, place)
    assert not is_trusted(path, CONTENT + b" ", place)
    assert not is_trusted(str(place.sub / "mux.toml"), CONTENT, place)
    assert [known for known, _ in store.trusted(place.environment, pytest.fail)] == [path]
    assert forget(path, place.environment)
    assert not forget(path, place.environment)
    assert not is_trusted(path, CONTENT, place)


def test_a_record_is_only_ours_and_written_in_one_step(place: Place) -> None:
    os.umask(0)
    trust(str(place.file), CONTENT, place.environment)
    (record,) = records(place).iterdir()
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert stat.S_IMODE(records(place).stat().st_mode) == 0o700


def test_a_record_that_others_could_have_written_is_none(place: Place) -> None:
    trust(str(place.file), CONTENT, place.environment)
    (record,) = records(place).iterdir()
    record.chmod(0o666)
    assert ignored(place, record)
    record.chmod(0o600)
    records(place).chmod(0o777)
    assert ignored(place, record)
    with pytest.raises(MuxError, match="others can write"):
        trust(str(place.file), CONTENT, place.environment)


@pytest.mark.parametrize("content", [b"", b"\n", b"abc", b"\xff" * 100, b"\0" * 100])
def test_a_torn_record_is_none_and_hides_no_other(place: Place, content: bytes) -> None:
    trust(str(place.file), CONTENT, place.environment)
    other = place.sub / "mux.toml"
    trust(str(other), CONTENT, place.environment)
    record = next(r for r in records(place).iterdir() if str(place.file).encode() in r.read_bytes())
    record.write_bytes(content)
    assert ignored(place, record)
    assert is_trusted(str(other), CONTENT, place)


def test_a_link_in_place_of_a_record_is_none(place: Place, tmp_path: Path) -> None:
    trust(str(place.file), CONTENT, place.environment)
    (record,) = records(place).iterdir()
    moved = tmp_path / "moved"
    record.rename(moved)
    record.symlink_to(moved)
    assert ignored(place, record)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_record_of_another_user_is_none(place: Place) -> None:
    trust(str(place.file), CONTENT, place.environment)
    (record,) = records(place).iterdir()
    os.chown(record, 1, 1)
    assert ignored(place, record)


def test_what_a_killed_writer_has_left_is_no_record(place: Place) -> None:
    trust(str(place.file), CONTENT, place.environment)
    (record,) = records(place).iterdir()
    record.with_name(f"{record.name}.0123.tmp").write_bytes(record.read_bytes()[:70])
    assert len(store.trusted(place.environment, pytest.fail)) == 1


def test_a_session_is_told_of_a_record_that_does_not_count(place: Place) -> None:
    place.write(place.file, CONTENT.decode())
    trust(str(place.file), CONTENT, place.environment)
    assert place.load().complaints == []
    (record,) = records(place).iterdir()
    record.write_bytes(b"")
    complaints = place.load().complaints
    assert [line for line in complaints if str(record) in line] == complaints[:1]


def test_a_record_of_another_file_is_none_even_under_the_right_name(place: Place) -> None:
    trust(str(place.file), CONTENT, place.environment)
    (record,) = records(place).iterdir()
    record.write_text(record.read_text().replace(str(place.file), "/elsewhere/mux.toml"))
    assert not is_trusted(str(place.file), CONTENT, place)


def test_many_at_once_lose_nothing(place: Place) -> None:
    paths = [str(place.home / f"{n}" / "mux.toml") for n in range(20)]
    threads = [threading.Thread(target=trust, args=(path, CONTENT, place.environment)) for path in paths * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(is_trusted(path, CONTENT, place) for path in paths)
    assert len(list(records(place).iterdir())) == 20


def test_without_a_home_nothing_is_trusted_and_nothing_can_be(place: Place) -> None:
    with pytest.raises(MuxError, match="home"):
        trust(str(place.file), CONTENT, {"HOME": "relative"})
