"""Records of what the user trusts."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from mux.config.trust import forget, is_trusted, trust, trusted
from mux.errors import MuxError
from tests.config.conftest import Place

CONTENT = b"grace = 1\n"


def records(place: Place) -> Path:
    return place.home / ".local" / "state" / "mux" / "trust"


def test_a_file_is_trusted_with_its_content_and_no_other(place: Place) -> None:
    path = str(place.file)
    assert not is_trusted(path, CONTENT, place.environment)
    trust(path, CONTENT, place.environment)
    assert is_trusted(path, CONTENT, place.environment)
    assert not is_trusted(path, CONTENT + b" ", place.environment)
    assert not is_trusted(str(place.sub / "mux.toml"), CONTENT, place.environment)
    assert [known for known, _ in trusted(place.environment)] == [path]
    assert forget(path, place.environment)
    assert not forget(path, place.environment)
    assert not is_trusted(path, CONTENT, place.environment)


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
    assert not is_trusted(str(place.file), CONTENT, place.environment)
    record.chmod(0o600)
    records(place).chmod(0o777)
    assert not is_trusted(str(place.file), CONTENT, place.environment)
    with pytest.raises(MuxError, match="others can write"):
        trust(str(place.file), CONTENT, place.environment)


@pytest.mark.parametrize("content", [b"", b"\n", b"abc", b"\xff" * 100])
def test_a_torn_record_is_none_and_hides_no_other(place: Place, content: bytes) -> None:
    trust(str(place.file), CONTENT, place.environment)
    other = place.sub / "mux.toml"
    trust(str(other), CONTENT, place.environment)
    name = next(r for r in records(place).iterdir() if str(place.file).encode() in r.read_bytes())
    name.write_bytes(content)
    assert not is_trusted(str(place.file), CONTENT, place.environment)
    assert is_trusted(str(other), CONTENT, place.environment)


def test_a_link_in_place_of_a_record_is_none(place: Place, tmp_path: Path) -> None:
    trust(str(place.file), CONTENT, place.environment)
    (record,) = records(place).iterdir()
    moved = tmp_path / "moved"
    record.rename(moved)
    record.symlink_to(moved)
    assert not is_trusted(str(place.file), CONTENT, place.environment)


def test_a_record_of_another_file_is_none_even_under_the_right_name(place: Place) -> None:
    trust(str(place.file), CONTENT, place.environment)
    (record,) = records(place).iterdir()
    record.write_text(record.read_text().replace(str(place.file), "/elsewhere/mux.toml"))
    assert not is_trusted(str(place.file), CONTENT, place.environment)


def test_many_at_once_lose_nothing(place: Place) -> None:
    paths = [str(place.home / f"{n}" / "mux.toml") for n in range(20)]
    threads = [threading.Thread(target=trust, args=(path, CONTENT, place.environment)) for path in paths * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(is_trusted(path, CONTENT, place.environment) for path in paths)
    assert len(list(records(place).iterdir())) == 20


def test_without_a_home_nothing_is_trusted_and_nothing_can_be(place: Place) -> None:
    with pytest.raises(MuxError, match="home"):
        trust(str(place.file), CONTENT, {"HOME": "relative"})
