from __future__ import annotations

import stat
from pathlib import Path

import pytest

from mux.rendezvous import notes


def test_a_note_is_read_back_and_nobody_else_may_read_it(private: Path) -> None:
    path = str(private / "n")
    notes.write(path, "stopped\nby hand")
    assert notes.read(path) == "stopped\nby hand\n"
    assert stat.S_IMODE((private / "n").stat().st_mode) == 0o600
    assert [entry.name for entry in private.iterdir()] == ["n"]


def test_a_note_of_another_boot_counts_as_absent_without_a_word(
    private: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (private / "n").write_text("another boot\nstopped\n")
    assert notes.read(str(private / "n")) is None
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("data", [b"", b"torn", b"\0" * 100, b"\xff"])
def test_a_torn_note_counts_as_absent_costs_one_line_and_is_removed(
    private: Path, capfd: pytest.CaptureFixture[str], data: bytes
) -> None:
    (private / "n").write_bytes(data)
    assert notes.read(str(private / "n")) is None
    assert notes.read(str(private / "n")) is None
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert str(private / "n") in said
    assert not (private / "n").exists()


def test_what_is_no_file_counts_as_absent_and_a_link_is_not_followed(private: Path) -> None:
    notes.write(str(private / "target"), "stopped")
    (private / "link").symlink_to(private / "target")
    (private / "directory").mkdir()
    assert notes.read(str(private / "link")) is None
    assert notes.read(str(private / "directory")) is None
    assert notes.read(str(private / "target")) is not None


def test_a_note_is_cleared_once_or_twice(private: Path) -> None:
    path = str(private / "n")
    notes.write(path, "stopped")
    notes.clear(path)
    notes.clear(path)
    assert notes.read(path) is None
