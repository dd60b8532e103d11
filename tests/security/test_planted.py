"""What stands where something of ours should is refused or ignored, and neither followed, filled nor repaired."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.support import NOBODY, root_only, started
from tests.support.runtime import SCRIPTED, Runtime, program
from tests.support.session import Session

PRECIOUS = b"do not touch this\n"
KINDS = ("link", "dangling link", "fifo", "file", "directory", "foreign file")


@pytest.fixture
def precious(runtime: Runtime) -> Path:
    """What a link leads to."""
    path = runtime.project / "precious"
    path.write_bytes(PRECIOUS)
    return path


def plant(kind: str, path: Path, precious: Path) -> None:
    if kind == "link":
        path.symlink_to(precious)
    elif kind == "dangling link":
        path.symlink_to(precious.with_name("nothing"))
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
        (path / "inside").write_bytes(PRECIOUS)
    else:
        path.write_bytes(PRECIOUS)
        if kind == "foreign file":
            if os.geteuid() != 0:
                pytest.skip("only root can give a file away")
            path.chmod(0o666)
            os.chown(path, NOBODY, NOBODY)


def untouched(kind: str, path: Path, precious: Path) -> None:
    """What was planted is as it was, and so is what a link leads to."""
    assert precious.read_bytes() == PRECIOUS
    assert not precious.with_name("nothing").exists()
    found = path.lstat()
    if "link" in kind:
        assert stat.S_ISLNK(found.st_mode)
    elif kind == "fifo":
        assert stat.S_ISFIFO(found.st_mode)
    elif kind == "directory":
        assert [entry.name for entry in path.iterdir()] == ["inside"]
    else:
        assert path.read_bytes() == PRECIOUS


def runs_directly(runtime: Runtime, why: str, *, socket: Path | None = None) -> Session:
    shim = runtime.shim(*SCRIPTED) if socket is None else [program("mux-shim"), "--socket", str(socket), *SCRIPTED]
    session = started(runtime, shim)
    session.initialize()
    assert session.pid() == session.child.pid
    assert why in session.stderr
    assert session.stderr.count("\n") == 1
    return session


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_socket_at_the_sockets_path_is_left_alone_and_named(
    runtime: Runtime, precious: Path, kind: str
) -> None:
    plant(kind, runtime.socket, precious)
    try:
        runs_directly(runtime, f"{runtime.socket} is no socket of ours")
        untouched(kind, runtime.socket, precious)
        assert not runtime.backends()
    finally:
        remove(runtime.socket)


@root_only
def test_a_dead_socket_of_another_user_is_left_alone_and_named(runtime: Runtime) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(runtime.socket))
    os.chown(runtime.socket, NOBODY, NOBODY)
    try:
        runs_directly(runtime, f"{runtime.socket} is no socket of ours")
        assert runtime.socket.lstat().st_uid == NOBODY
    finally:
        remove(runtime.socket)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "file"])
def test_what_is_no_file_of_ours_at_the_locks_path_is_left_alone_and_named(
    runtime: Runtime, precious: Path, kind: str
) -> None:
    plant(kind, runtime.lock, precious)
    try:
        runs_directly(runtime, str(runtime.lock))
        untouched(kind, runtime.lock, precious)
    finally:
        remove(runtime.lock)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_record_of_ours_is_ignored_and_never_followed(runtime: Runtime, precious: Path, kind: str) -> None:
    plant(kind, runtime.record, precious)
    assert runtime.ready().call("echo", text="served") == "served"
    assert precious.read_bytes() == PRECIOUS
    assert not precious.with_name("nothing").exists()
    assert "record.ignored" in (runtime.directory / "s.log").read_text()
    remove(runtime.record)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_report_of_a_failed_start_is_ignored_and_never_followed(
    runtime: Runtime, precious: Path, kind: str
) -> None:
    plant(kind, runtime.directory / "s.fail", precious)
    session = runtime.ready()
    assert session.pid() != session.child.pid, "it is shared"
    assert precious.read_bytes() == PRECIOUS
    assert not precious.with_name("nothing").exists()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "file"])
def test_nothing_is_logged_into_what_is_no_file_of_ours(runtime: Runtime, precious: Path, kind: str) -> None:
    log = runtime.directory / "s.log"
    plant(kind, log, precious)
    runs_directly(runtime, str(log))
    untouched(kind, log, precious)


def test_nobody_waits_for_a_log_that_is_a_fifo_somebody_reads(runtime: Runtime, precious: Path) -> None:
    """It can be opened, and would stop the backend once it is full."""
    log = runtime.directory / "s.log"
    plant("fifo", log, precious)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    try:
        runs_directly(runtime, str(log))
        assert os.read(reader, 1) == b""
    finally:
        os.close(reader)


@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "foreign file"])
def test_a_servers_stderr_goes_into_no_file_but_ours(runtime: Runtime, precious: Path, kind: str) -> None:
    """What stands there at the start is removed; what comes later is refused."""
    session = runtime.ready()
    planted = runtime.directory / "s-1-scripted.py.err"
    plant(kind, planted, precious)
    reader = os.open(planted, os.O_RDONLY | os.O_NONBLOCK) if kind == "fifo" else None
    try:
        session.call("stderr", text="a word")
        assert session.call("echo", text="and on") == "and on"
        untouched(kind, planted, precious)
        assert "stderr.log.failed" in (runtime.directory / "s.log").read_text()
    finally:
        if reader is not None:
            os.close(reader)


@root_only
@pytest.mark.parametrize("planted", ["foreign", "world-writable", "sticky", "group", "link"])
def test_a_runtime_directory_that_others_could_use_is_refused_and_never_repaired(
    runtime: Runtime, planted: str
) -> None:
    directory = runtime.directory / "planted"
    real = runtime.directory / "real"
    modes = {"foreign": 0o700, "world-writable": 0o777, "sticky": 0o1777, "group": 0o770}
    if planted == "link":
        real.mkdir(mode=0o700)
        directory.symlink_to(real)
    else:
        directory.mkdir()
        directory.chmod(modes[planted])
        if planted == "foreign":
            os.chown(directory, NOBODY, NOBODY)
    before = directory.lstat()
    runs_directly(runtime, f"{directory} ", socket=directory / "s.sock")
    status = runtime.mux("status", "--socket", str(directory / "s.sock"))
    assert status.returncode != 0
    after = directory.lstat()
    assert (after.st_mode, after.st_uid, after.st_ino) == (before.st_mode, before.st_uid, before.st_ino)
    assert not list(directory.iterdir())


@pytest.fixture(autouse=True)
def nothing_planted_is_left(runtime: Runtime) -> Iterator[None]:
    yield
    for path in (runtime.socket, runtime.record):
        if path.exists() and not runtime.backends():
            remove(path)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for entry in path.iterdir():
            entry.unlink()
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
