from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mux.errors import PathTooLong, UnsafePath, UsageError
from mux.limits import SUN_PATH_BYTES
from mux.rendezvous import confinement
from mux.rendezvous.paths import Place, places, runtime_directories
from mux.wire.frames import MAJOR


def test_the_runtime_directory_is_the_session_s_where_that_is_ours(private: Path) -> None:
    (private / str(os.geteuid())).mkdir()
    found = runtime_directories(run=str(private), tmp="/t")
    assert found == [f"{private}/{os.geteuid()}/mux", f"/t/mux-{os.geteuid()}"]


def test_without_a_session_directory_it_is_in_tmp_whatever_the_environment_says(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMPDIR", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(private))
    assert runtime_directories(run=f"{private}/none", tmp="/t") == [f"/t/mux-{os.geteuid()}"]


def test_a_session_directory_that_is_a_link_is_not_used(private: Path) -> None:
    (private / "real").mkdir()
    (private / str(os.geteuid())).symlink_to(private / "real")
    assert runtime_directories(run=str(private), tmp="/t") == [f"/t/mux-{os.geteuid()}"]


def test_the_default_name_holds_the_wire_major_and_the_confinement() -> None:
    name = Path(places()[0].socket).name
    assert name == f"mux-{MAJOR}-{confinement.mark()}.sock"


def test_an_explicit_path_is_used_as_it_is_with_its_files_beside_it() -> None:
    (place,) = places("/x/y.sock")
    assert [place.socket, place.lock, place.record, place.fail, place.directory] == [
        "/x/y.sock",
        "/x/y.lock",
        "/x/y.json",
        "/x/y.fail",
        "/x",
    ]


def test_a_relative_path_becomes_absolute() -> None:
    (place,) = places("./y.sock")
    assert place.socket == f"{Path.cwd()}/y.sock"


def test_a_name_lies_in_the_runtime_directory_under_the_same_marks() -> None:
    assert Path(places("work")[0].socket).name == f"work-{MAJOR}-{confinement.mark()}.sock"
    assert places("work.sock")[0].socket == places("work")[0].socket


@pytest.mark.parametrize("name", ["", ".", "..", "a\0b"])
def test_what_is_neither_path_nor_name_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError):
        places(name)


def test_a_path_that_does_not_fit_names_the_limit_and_its_length() -> None:
    fits = "/" + "x" * (SUN_PATH_BYTES - 1)
    assert Place(fits).socket == fits
    with pytest.raises(PathTooLong, match=rf"{SUN_PATH_BYTES + 1} bytes.*{SUN_PATH_BYTES}"):
        Place(fits + "x")


def test_the_length_of_a_path_is_counted_in_bytes() -> None:
    with pytest.raises(PathTooLong):
        Place("/" + "ü" * 52)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_missing_directory_is_made_0700_whatever_the_umask(private: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        Place(f"{private}/new/s.sock").prepare()
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE((private / "new").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o707, 0o1777])
def test_a_directory_that_is_open_to_others_is_refused_and_not_repaired(private: Path, mode: int) -> None:
    directory = private / "d"
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(UnsafePath, match="open to others"):
        Place(f"{directory}/s.sock").prepare()
    assert stat.S_IMODE(directory.stat().st_mode) == mode


def test_a_link_to_a_directory_is_refused(private: Path) -> None:
    (private / "real").mkdir(mode=0o700)
    (private / "link").symlink_to(private / "real")
    with pytest.raises(UnsafePath):
        Place(f"{private}/link/s.sock").prepare()


def test_a_file_in_the_directory_s_place_is_refused(private: Path) -> None:
    (private / "d").write_text("")
    with pytest.raises(UnsafePath):
        Place(f"{private}/d/s.sock").prepare()


def test_a_directory_of_another_user_is_refused(private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UnsafePath, match="belongs to uid"):
        Place(f"{private}/s.sock").prepare()
