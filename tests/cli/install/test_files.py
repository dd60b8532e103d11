"""Files on a disk: links, modes, backups, and others who write them."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from mux.cli.install.files import Refused, read, replace
from mux.limits import CONFIG_BACKUPS
from tests.cli.install.support import UserHome

CONFIG = '{"mcpServers": {"a": {"command": "a", "args": ["b"]}}}\n'
CURSOR = ".cursor/mcp.json"


def leftovers(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if name.endswith(".mux")]


def test_the_mode_stays_and_the_backup_is_nobody_elses(home: UserHome) -> None:
    path = home.put(CURSOR, CONFIG)
    path.chmod(0o640)
    assert home.mux("install", "--yes").returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    (backup,) = home.backups.iterdir()
    assert backup.read_text() == CONFIG
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.backups.stat().st_mode) == 0o700
    assert leftovers(path.parent) == []


def test_a_symbolic_link_stays_one_and_its_target_is_written(home: UserHome) -> None:
    target = home.put("dotfiles/cursor.json", CONFIG)
    target.with_name("link").symlink_to("cursor.json")
    (home.path / ".cursor").mkdir()
    link = home.path / CURSOR
    link.symlink_to("../dotfiles/link")
    assert home.mux("install", "--yes").returncode == 0
    assert link.is_symlink()
    assert not target.is_symlink()
    assert home.shim in target.read_text()


def test_two_hosts_that_share_a_file_by_a_link_edit_it_once(home: UserHome) -> None:
    path = home.put(CURSOR, CONFIG)
    (home.path / ".gemini").mkdir()
    (home.path / ".gemini" / "settings.json").symlink_to(path)
    done = home.mux("install", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_text().count(home.shim) == 1


def test_a_read_only_file_is_refused_with_a_sentence(home: UserHome) -> None:
    path = home.put(CURSOR, CONFIG)
    path.chmod(0o444)
    done = home.mux("install", "--yes")
    assert done.returncode == 1
    assert f"{path} is left alone: it is read-only" in done.stderr
    assert path.read_text() == CONFIG


def test_a_file_with_hard_links_is_refused_with_a_sentence(home: UserHome) -> None:
    path = home.put(CURSOR, CONFIG)
    path.with_name("other").hardlink_to(path)
    done = home.mux("install", "--yes")
    assert done.returncode == 1
    assert "it has 2 hard links" in done.stderr


def test_where_no_backup_can_be_written_nothing_is(home: UserHome) -> None:
    path = home.put(CURSOR, CONFIG)
    blocked = home.put("blocked", "a file, no directory")
    done = home.mux("install", "--yes", XDG_STATE_HOME=str(blocked))
    assert done.returncode == 1
    assert f"{path} is left alone: {blocked}/mux" in done.stderr
    assert "cannot be written" in done.stderr
    assert path.read_text() == CONFIG


def test_another_users_file_is_refused_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(CONFIG)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(Refused, match="it belongs to another user"):
        replace(read(str(path)), b"ours", str(tmp_path / "backups"))
    assert path.read_text() == CONFIG


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_root_leaves_a_file_with_its_owner(home: UserHome) -> None:
    path = home.put(CURSOR, CONFIG)
    os.chown(path, 12345, 12346)
    assert home.mux("install", "--yes").returncode == 0
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)
    assert home.shim in path.read_text()


def test_a_directory_in_a_files_place_is_refused_with_a_sentence(home: UserHome) -> None:
    (home.path / CURSOR).mkdir(parents=True)
    done = home.mux("install")
    assert done.returncode == 1
    assert "is not a regular file" in done.stderr


def test_a_link_that_leads_nowhere_is_refused_with_a_sentence(home: UserHome) -> None:
    (home.path / ".cursor").mkdir()
    (home.path / CURSOR).symlink_to("nowhere")
    done = home.mux("install")
    assert done.returncode == 1
    assert "cannot be read: No such file or directory" in done.stderr


def test_old_backups_go(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    backups = str(tmp_path / "backups")
    for number in range(CONFIG_BACKUPS + 5):
        path.write_text(str(number))
        replace(read(str(path)), b"new", backups)
    assert len(os.listdir(backups)) == CONFIG_BACKUPS


class Race:
    """Something happens to the file in the instant between its replacement's writing and the rename."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.path = path
        self._fsync = os.fsync
        self._monkeypatch = monkeypatch

    def lost_to(self, happening: object) -> None:
        def fsync(descriptor: int) -> None:
            self._fsync(descriptor)
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".mux"):
                assert callable(happening)
                happening()

        self._monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(Refused, match=r"is left alone: .* Mend|something else wrote it just now|cannot be read"):
            replace(read(str(self.path)), b"ours", str(self.path.parent / "backups"))
        assert leftovers(self.path.parent) == []


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Race:
    path = tmp_path / "mcp.json"
    path.write_text(CONFIG)
    return Race(monkeypatch, path)


def test_a_host_that_writes_in_place_wins(race: Race) -> None:
    race.lost_to(lambda: race.path.write_text("the host's"))
    assert race.path.read_text() == "the host's"


def test_a_host_that_replaces_the_file_wins(race: Race) -> None:
    new = race.path.with_name("new")
    new.write_text("the host's")
    race.lost_to(lambda: new.replace(race.path))
    assert race.path.read_text() == "the host's"


def test_a_host_that_removes_the_file_wins(race: Race) -> None:
    race.lost_to(race.path.unlink)
    assert not race.path.exists()


def test_a_link_that_was_turned_elsewhere_wins(race: Race) -> None:
    target = race.path.with_name("target")
    race.path.rename(target)
    race.path.symlink_to(target)
    other = race.path.with_name("other")
    other.write_text(CONFIG)

    def turn() -> None:
        race.path.unlink()
        race.path.symlink_to(other)

    race.lost_to(turn)
    assert (target.read_text(), other.read_text()) == (CONFIG, CONFIG)


def test_a_file_that_changes_while_the_diff_is_read_is_refused(home: UserHome) -> None:
    """A real process, held at the end of its diff by a reader that does not read."""
    servers = ",\n".join(f'"server-{number}": {{"command": "c{number}"}}' for number in range(2000))
    path = home.put(CURSOR, f'{{"mcpServers": {{\n{servers}\n}}}}\n')
    process = subprocess.Popen(
        home.command("install", "--yes"),
        env=home.environment,
        cwd=home.project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    first = os.read(process.stdout.fileno(), 1)  # it has read the file, and the pipe is too small for the rest
    path.write_text(CONFIG)
    rest, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"something else wrote it just now" in stderr
    assert b"Nothing was written." in first + rest
    assert path.read_text() == CONFIG
    assert leftovers(path.parent) == []
