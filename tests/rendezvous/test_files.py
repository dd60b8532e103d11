"""Small files are replaced whole: what is on the disk before the name is, and what a crash of the machine leaves."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mux.rendezvous import files

OLD, NEW = b"old", b"new" * 1000


class Journal:
    """What reached the system, in its order: (fsync, path, content there), (rename, from, to)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[tuple[str, Path, Path | bytes]] = []
        self._fsync, self._rename = os.fsync, os.rename
        monkeypatch.setattr(os, "fsync", self._synced)
        monkeypatch.setattr(os, "rename", self._renamed)

    def _synced(self, descriptor: int) -> None:
        self._fsync(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        self.steps.append(("fsync", path, b"" if path.is_dir() else path.read_bytes()))

    def _renamed(self, old: str, new: str) -> None:
        self._rename(old, new)
        self.steps.append(("rename", Path(old), Path(new)))


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> Journal:
    return Journal(monkeypatch)


def test_all_is_on_the_disk_before_the_name_is_and_then_the_name(journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(OLD)
    files.replace(str(path), NEW)
    temporary = journal.steps[0][1]
    assert journal.steps == [("fsync", temporary, NEW), ("rename", temporary, path), ("fsync", tmp_path, b"")]
    assert temporary.parent == tmp_path
    assert list(tmp_path.iterdir()) == [path]


def test_no_two_writers_use_one_name(journal: Journal, tmp_path: Path) -> None:
    for _ in range(2):
        files.replace(str(tmp_path / "f"), NEW)
    first, second = [old for step, old, _ in journal.steps if step == "rename"]
    assert first != second


def test_only_we_may_read_it_at_any_time_whatever_the_umask(tmp_path: Path) -> None:
    modes: list[int] = []

    def look() -> None:
        (temporary,) = tmp_path.iterdir()
        modes.append(stat.S_IMODE(temporary.stat().st_mode))

    before = os.umask(0)
    try:
        files.replace(str(tmp_path / "f"), NEW, renaming=look)
    finally:
        os.umask(before)
    assert [*modes, stat.S_IMODE((tmp_path / "f").stat().st_mode)] == [0o600, 0o600]


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_what_can_not_be_written_leaves_the_old_content_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str
) -> None:
    path = tmp_path / "f"
    path.write_bytes(OLD)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match="No space"):
        files.replace(str(path), NEW)
    monkeypatch.undo()
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]
