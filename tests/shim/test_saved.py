"""What a parked shim leaves is what the one that wakes finds, or is refused as another version's."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Generator, Iterator
from pathlib import Path
from struct import pack, pack_into

import pytest

from mux.shim import saved
from mux.shim.breaker import Breaker
from mux.shim.journal import Journal
from mux.shim.saved import FORMAT, Unreadable, restore, save
from mux.shim.session import Session
from mux.wire.frames import MAJOR, ROLE_SESSION, Hello

IDENTITY = b"\0\xff session"


def hello() -> Hello:
    return Hello(
        role=ROLE_SESSION,
        version=b"1",
        session=b"s",
        options=(b"a=b",),
        cwd=b"/\xff",
        argv=(b"server", b"", b"--flag"),
        environment=(b"A=\xfe", b"B="),
        umask=0o077,
        limits=(b"NOFILE=1:-1",),
    )


def session(socket: str | None = "/run/\udcff.sock") -> Session:
    limits: dict[str, int | float] = {"message_bytes": 1 << 30, "host_slow_seconds": 0.5, "self_check_seconds": 3600.0}
    return Session(hello(), socket, ["--grace=1", "--log=/\udcfe"], limits)


def journal() -> Journal:
    found = Journal()
    found.accept([b"first", b""])
    found.keep(1, b"blob")
    found.settle(1)
    return found


def breaker() -> Breaker:
    found = Breaker()
    found.died(1000.25)
    found.died(1001.5)
    return found


@contextlib.contextmanager
def kept(directory: Path, what: Session | None = None) -> Generator[int]:
    fd = save(str(directory), what or session(), IDENTITY, journal(), breaker())
    try:
        yield fd
    finally:
        os.close(fd)


def content(fd: int) -> bytes:
    return os.pread(fd, 1 << 20, 0)


@pytest.fixture
def written(tmp_path: Path) -> Iterator[tuple[int, bytes]]:
    """A descriptor to damage, and what stands in it."""
    with kept(tmp_path) as fd:
        yield fd, content(fd)


@pytest.fixture
def without_memory_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS."""
    monkeypatch.delattr(os, "memfd_create", raising=False)


@pytest.mark.parametrize("socket", [None, "/run/\udcff.sock"])
def test_all_of_a_session_comes_back(tmp_path: Path, socket: str | None) -> None:
    before = session(socket)
    with kept(tmp_path, before) as fd:
        after, identity, data, deaths, same = restore(fd)
    assert after.hello.encode() == before.hello.encode()
    assert (after.socket, after.backend, after.limits) == (before.socket, before.backend, before.limits)
    assert [type(value) for value in after.limits.values()] == [int, float, float]
    assert (identity, same) == (IDENTITY, True)
    assert list(Journal.restored(data).resume()) == list(journal().resume())
    assert deaths == breaker().saved()


def test_a_session_without_options_and_limits_comes_back_without(tmp_path: Path) -> None:
    with kept(tmp_path, Session(hello(), None, [], {})) as fd:
        after = restore(fd)[0]
    assert (after.backend, after.limits) == ((), {})


def test_it_can_be_read_more_than_once(written: tuple[int, bytes]) -> None:
    fd, _ = written
    assert restore(fd)[1:] == restore(fd)[1:]


def test_a_journal_larger_than_one_read_comes_back_whole(tmp_path: Path) -> None:
    long = Journal()
    long.accept([b"x" * (3 << 20), b"y"])
    fd = save(str(tmp_path), session(), IDENTITY, long, breaker())
    try:
        assert restore(fd)[2] == long.saved()
    finally:
        os.close(fd)


@pytest.mark.parametrize("memory", [True, False])
def test_the_file_has_no_name_and_no_other_program_inherits_it(
    tmp_path: Path, request: pytest.FixtureRequest, memory: bool
) -> None:
    if not memory:
        request.getfixturevalue("without_memory_files")
    with kept(tmp_path) as fd:
        assert os.listdir(tmp_path) == []
        assert os.fstat(fd).st_nlink == 0
        assert not os.get_inheritable(fd)
        assert restore(fd)[1] == IDENTITY


@pytest.mark.usefixtures("without_memory_files")
def test_where_there_are_no_files_in_memory_it_is_the_owners_alone(tmp_path: Path) -> None:
    with kept(tmp_path) as fd:
        assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o600


@pytest.mark.usefixtures("without_memory_files")
def test_a_directory_that_is_gone_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save(str(tmp_path / "gone"), session(), IDENTITY, journal(), breaker())


def test_what_can_not_be_written_leaves_no_descriptor_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()  # a pipe can not be written at a place
    monkeypatch.setattr(saved, "_nameless", lambda _directory: write)
    with pytest.raises(OSError, match="seek"):
        save(str(tmp_path), session(), IDENTITY, journal(), breaker())
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(write)
    os.close(read)


def test_another_wire_is_told_and_the_session_comes_back_nevertheless(written: tuple[int, bytes]) -> None:
    fd, data = written
    changed = bytearray(data)
    pack_into("<H", changed, 2, MAJOR + 1)
    os.pwrite(fd, changed, 0)
    assert restore(fd)[1:] == (IDENTITY, journal().saved(), breaker().saved(), False)


def test_the_format_before_this_one_is_read_and_knows_of_no_death(written: tuple[int, bytes]) -> None:
    fd, data = written
    before = bytearray(data.removesuffix(pack("<I", len(breaker().saved())) + breaker().saved()))
    assert len(before) < len(data)
    pack_into("<H", before, 0, 1)
    os.ftruncate(fd, os.pwrite(fd, before, 0))
    assert restore(fd)[1:] == (IDENTITY, journal().saved(), b"", True)


def test_another_format_is_refused_by_its_number(written: tuple[int, bytes]) -> None:
    fd, data = written
    changed = bytearray(data)
    pack_into("<H", changed, 0, FORMAT + 1)
    os.pwrite(fd, changed, 0)
    with pytest.raises(Unreadable, match=f"format {FORMAT + 1}"):
        restore(fd)


def test_a_file_cut_anywhere_is_refused(written: tuple[int, bytes]) -> None:
    fd, data = written
    for length in reversed(range(len(data))):
        os.ftruncate(fd, length)
        with pytest.raises(Unreadable, match=r"."):
            restore(fd)


def test_a_file_with_more_behind_its_end_is_refused(written: tuple[int, bytes]) -> None:
    fd, data = written
    for more in (b"\0", b"\0\0\0\0", b"\xff\xff\xff\xff"):
        os.pwrite(fd, data + more, 0)
        with pytest.raises(Unreadable, match=r"."):
            restore(fd)


def test_a_hello_of_which_a_part_is_wrong_is_refused(written: tuple[int, bytes]) -> None:
    fd, data = written
    os.pwrite(fd, data.replace(hello().encode(), hello().encode()[:-1] + b"\0"), 0)
    with pytest.raises(Unreadable, match="HELLO"):
        restore(fd)
