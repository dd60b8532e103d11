"""A backend of one's own: found, asked, waited for, and ended with its directory whatever happened in the block."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mux.cli import private
from mux.cli.private import PrivateBackend
from mux.errors import MuxError
from mux.limits import SUN_PATH_BYTES
from mux.rendezvous.lock import try_lock
from tests.support.processes import eventually, running
from tests.support.runtime import GRACE, SCRIPTED, Runtime
from tests.support.session import Session


class Place:
    """Where fresh directories are made, and sessions of a backend there."""

    def __init__(self, runtime: Runtime) -> None:
        self.directory = runtime.directory / "tmp"
        self.directory.mkdir()
        self._runtime = runtime

    def ready(self, backend: PrivateBackend) -> Session:
        """A session of `backend` that has shaken hands; closed with the runtime."""
        argv = [*backend.shim, *SCRIPTED]
        session = Session(argv, environment=self._runtime.environment, cwd=self._runtime.project)
        self._runtime.sessions.append(session)
        session.initialize()
        return session

    def entries(self) -> list[str]:
        return os.listdir(self.directory)


@pytest.fixture
def place(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Afterwards nothing is there."""
    found = Place(runtime)
    monkeypatch.setattr(tempfile, "tempdir", str(found.directory))
    yield found
    assert found.entries() == []


def lock_of(backend: PrivateBackend) -> str:
    return backend.socket.removesuffix(".sock") + ".lock"


def test_its_directory_is_fresh_ours_alone_and_gone_with_the_block(place: Place) -> None:
    with PrivateBackend() as one, PrivateBackend() as other:
        assert one.socket != other.socket
        directory = Path(one.socket).parent
        assert directory.parent == place.directory
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert one.remains() == []
        assert one.leave() == [], "there was none"


def test_where_temporary_files_have_long_names_its_socket_has_a_short_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = place.directory / ("x" * SUN_PATH_BYTES)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with PrivateBackend() as backend:
        assert len(os.fsencode(backend.socket)) <= SUN_PATH_BYTES
        directory = Path(backend.socket).parent
        assert directory.parent == Path("/tmp")
        long.rmdir()  # nothing was left in it
    assert not directory.exists()


def test_its_shim_is_the_one_beside_the_interpreter_or_else_the_interpreter_runs_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with PrivateBackend(2.5) as backend:
        program, *options = backend.shim
        assert program == str(Path(sys.executable).with_name("mux-shim"))
        assert options == ["--socket", backend.socket, "--grace", "2.5", "--fallback", "error"]
        monkeypatch.setattr(sys, "executable", str(place.directory / "python"))
        assert backend.shim[:3] == [sys.executable, "-m", "mux.shim.main"]


def test_where_none_runs_there_is_nothing_to_measure_or_ask(place: Place) -> None:
    with PrivateBackend() as backend:
        with pytest.raises(MuxError, match=r"no backend is running at .*demo\.sock"):
            backend.processes()
        with pytest.raises(MuxError, match="serves 0 sessions, not 1"):
            backend.check(1)
        backend.check(0)
    assert place.entries() == []


def test_its_processes_are_found_and_told_apart_without_asking_it(place: Place) -> None:
    with PrivateBackend(GRACE) as backend:
        session = place.ready(backend)
        deeper = int(session.call("spawn"))
        top, servers = backend.processes()
        assert backend.socket in " ".join(top.cmdline())
        assert {process.pid for process in servers} == {session.pid(), deeper}
        psutil.Process(deeper).kill()  # it would not end with its server's input
        session.finish()
        assert backend.leave() == []


def test_sessions_that_do_not_reach_it_are_noticed(place: Place) -> None:
    with PrivateBackend(GRACE) as backend:
        sessions = [place.ready(backend), place.ready(backend)]
        backend.check(2)
        with pytest.raises(MuxError, match=r"demo\.sock serves 2 sessions, not 3"):
            backend.check(3)
        for session in sessions:
            session.finish()


@pytest.mark.parametrize("looked", [True, False])
def test_it_leaves_by_itself_after_its_last_session_and_leaves_nothing(place: Place, *, looked: bool) -> None:
    with PrivateBackend(GRACE) as backend:
        session = place.ready(backend)
        if looked:
            backend.processes()
        server = session.pid()
        assert len(backend.remains()) == 2, "its socket and its lock"
        session.finish()
        assert backend.leave() == []
        assert not running(server)
        assert backend.remains() == []


def stuck(place: Place, backend: PrivateBackend) -> list[psutil.Process]:
    """The backend, stopped, and its server: they outlive the session that was there."""
    session = place.ready(backend)
    top, servers = backend.processes()
    top.suspend()
    session.finish()
    return [top, *servers]


def test_what_does_not_leave_in_time_is_named_and_killed_at_the_end_of_the_block(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "STOP_STEP_SECONDS", 0.05)
    with PrivateBackend(0.05) as backend:
        left = stuck(place, backend)
        assert len(left) == 2
        assert backend.leave() == left
        assert backend.remains() == [f"the socket {backend.socket}", f"a holder of {lock_of(backend)}"]
    eventually("all are dead", lambda: not any(running(process.pid) for process in left))


def test_so_it_is_after_a_fault_in_the_block(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "STOP_STEP_SECONDS", 0.05)
    left: list[psutil.Process] = []

    def run() -> None:
        with PrivateBackend(0.05) as backend:
            left.extend(stuck(place, backend))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(left) == 2
    eventually("all are dead", lambda: not any(running(process.pid) for process in left))


def test_a_lock_that_somebody_holds_is_waited_for_and_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private, "STOP_STEP_SECONDS", 0.05)
    with PrivateBackend(0.05) as backend:
        lock = try_lock(lock_of(backend))
        assert lock is not None
        assert backend.leave() == []
        assert backend.remains() == [f"a holder of {lock_of(backend)}"]
        os.close(lock)
        assert backend.remains() == []
