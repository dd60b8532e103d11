from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from mux.limits import FAIL_CEILING_SECONDS
from mux.rendezvous import failure, notes


def test_a_failure_is_read_back_with_its_reason_and_holds_for_a_second(private: Path) -> None:
    path = str(private / "f")
    failure.write(path, "no room\nat the inn")
    found = failure.read(path)
    assert found is not None
    assert (found.reason, found.delay, found.holds) == ("no room\nat the inn", 1.0, True)
    assert stat.S_IMODE((private / "f").stat().st_mode) == 0o600
    assert [entry.name for entry in private.iterdir()] == ["f"]


def test_the_delay_doubles_up_to_its_ceiling_and_starts_anew_after_a_success(private: Path) -> None:
    path = str(private / "f")
    delays = []
    for _ in range(7):
        failure.write(path, "x")
        found = failure.read(path)
        assert found is not None
        delays.append(found.delay)
    assert delays == [1, 2, 4, 8, 16, 32, FAIL_CEILING_SECONDS]
    failure.clear(path)
    failure.clear(path)
    assert failure.read(path) is None


@pytest.mark.parametrize(
    "text",
    ["", "torn", "{boot}\n12", "{boot}\n1 2 3\nx", "{boot}\nnan nan\nx", "other boot\n1.0 1.0\nx", "{boot}\n1e18 1\nx"],
)
def test_a_torn_or_foreign_record_counts_as_absent(private: Path, text: str) -> None:
    (private / "f").write_text(text.replace("{boot}", notes.boot_id()))
    assert failure.read(str(private / "f")) is None


@pytest.mark.parametrize("content", [b"", b"torn", b"{boot}\n12", b"\0" * 64, b"\xff" * 64])
def test_a_torn_record_costs_one_line_that_names_it(
    private: Path, capfd: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = private / "f"
    path.write_bytes(content.replace(b"{boot}", notes.boot_id().encode()))
    for _ in range(2):
        assert failure.read(str(path)) is None
    assert capfd.readouterr().err == f"mux: {path} is ignored: it is no record of ours, or torn\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_record_costs_one_line_that_names_it(private: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = private / "f"
    failure.write(str(path), "x")
    os.chown(path, 1, 1)
    for _ in range(2):
        assert failure.read(str(path)) is None
    assert capfd.readouterr().err == f"mux: {path} is ignored: it is no record of ours, or torn\n"


def test_a_record_that_is_a_link_or_a_directory_counts_as_absent(private: Path) -> None:
    (private / "l").symlink_to("/etc/hostname")
    (private / "d").mkdir()
    assert failure.read(str(private / "l")) is None
    assert failure.read(str(private / "d")) is None
    assert failure.read(str(private / "none")) is None


def test_an_old_failure_holds_no_longer(private: Path) -> None:
    (private / "f").write_text(f"{notes.boot_id()}\n{time.monotonic() - 3} 2.0\nx\n")
    found = failure.read(str(private / "f"))
    assert found is not None
    assert not found.holds
