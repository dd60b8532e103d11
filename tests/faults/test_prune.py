"""`mux prune` ends what nobody uses: nothing that has a session, nothing young, nothing that is not ours."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import mux
from mux.backend import reap
from mux.cli import prune
from mux.cli.main import main
from tests.faults.support import configure
from tests.support.processes import eventually, running
from tests.support.runtime import SCRIPTED, Runtime
from tests.support.session import Session

DONE, REFUSED, NOTHING = 0, 1, 3
APART_SECONDS = 5.0
"""Between two ends that are told apart by their age: a command's start takes much less."""


@pytest.fixture
def runtime(runtime: Runtime) -> Runtime:
    """A backend and servers that outlive their last session by far."""
    runtime.grace = 3600.0
    return runtime


def mux_(runtime: Runtime, *words: str) -> subprocess.CompletedProcess[str]:
    return runtime.mux(*words, "--socket", str(runtime.socket))


def prune_since(runtime: Runtime, moment: float, *words: str) -> subprocess.CompletedProcess[str]:
    """Prune what is at least as old as that moment, monotonic seconds."""
    return mux_(runtime, "prune", "--older-than", f"{time.monotonic() - moment:.3f}", *words)


def finish(runtime: Runtime, *sessions: Session) -> None:
    """End sessions, and see that the backend knows."""
    left = len(runtime.status()["sessions"]) - len(sessions)
    for session in sessions:
        session.finish()
    eventually("the backend knows", lambda: len(runtime.status()["sessions"]) == left)


def named(runtime: Runtime, name: str, *options: str) -> Session:
    """A session with a server of that name."""
    return runtime.ready(*SCRIPTED, "--name", name, *options)


# --- servers and backends -----------------------------------------------------------------------


def test_an_empty_backend_is_ended_with_its_server_only_if_it_is_old_and_only_if_told_to(runtime: Runtime) -> None:
    assert mux_(runtime, "prune").returncode == NOTHING
    session = runtime.ready(*SCRIPTED, "--ignore-eof")
    assert mux_(runtime, "prune", "--older-than", "0", "--yes").returncode == NOTHING, "it has a session"
    assert session.call("echo", text="on") == "on"
    server, backend = session.pid(), runtime.backend()
    finish(runtime, session)
    assert mux_(runtime, "prune", "--yes").returncode == NOTHING, "it is young"
    listed = mux_(runtime, "prune", "--older-than", "0")
    assert listed.returncode == DONE
    assert f"backend {backend.pid} at {runtime.socket}, without a session, with servers: 1 (" in listed.stdout
    assert "ends 1 of these" in listed.stdout
    assert runtime.status()["upstreams"][0]["state"] == "ready", "it was only listed"
    done = mux_(runtime, "prune", "--older-than", "0", "--yes")
    assert not running(server), "the command waits for the ends"
    assert not running(backend.pid)
    assert (done.returncode, "Ended 1 of 1." in done.stdout) == (DONE, True)
    runtime.expect_empty()


def test_an_old_backend_whose_last_session_has_just_left_is_left_alone(runtime: Runtime) -> None:
    session = runtime.ready()
    server = session.pid()
    old = time.monotonic()
    time.sleep(APART_SECONDS)
    finish(runtime, session)
    for words in ([], ["--yes"]):
        assert prune_since(runtime, old, *words).returncode == NOTHING
    assert running(server)
    assert running(runtime.backend().pid)


def test_servers_without_a_session_are_ended_and_counted_and_young_ones_left_alone(runtime: Runtime) -> None:
    used, leaving = runtime.ready(), named(runtime, "leaving")
    old = [named(runtime, "old", "--ignore-eof"), named(runtime, "older")]
    used_server, just_left, *old_servers = (session.pid() for session in [used, leaving, *old])
    finish(runtime, *old)
    since = time.monotonic()
    time.sleep(APART_SECONDS)
    young = named(runtime, "young")
    young_server = young.pid()
    finish(runtime, leaving, young)
    listed = prune_since(runtime, since)
    assert (listed.returncode, "ends 2 of these" in listed.stdout) == (DONE, True)
    assert [name in listed.stdout for name in ("old", "older", "young", "leaving")] == [True, True, False, False]
    assert all(map(running, old_servers)), "they were only listed"
    done = prune_since(runtime, since, "--yes")
    assert not any(map(running, old_servers)), "the command waits for the ends"
    assert (done.returncode, "Ended 2 of 2." in done.stdout) == (DONE, True)
    assert running(young_server)
    assert running(just_left), "its process is old, but its session has just left"
    assert used.pid() == used_server
    assert prune_since(runtime, since, "--yes").returncode == NOTHING


def test_what_cannot_be_ended_is_named_and_left_alone(runtime: Runtime) -> None:
    session = runtime.ready()
    runtime.socket.unlink()
    for words in ([], ["--yes"]):
        done = mux_(runtime, "prune", "--older-than", "0", *words)
        assert (done.returncode, "its socket is gone" in done.stdout) == (REFUSED, True)
    assert session.call("echo", text="on") == "on"
    session.finish()


# --- another version ----------------------------------------------------------------------------


@pytest.fixture
def older(runtime: Runtime, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A backend of a version that has no such order, but one that ends every server without a session."""
    package = tmp_path / "older" / "mux"
    shutil.copytree(Path(mux.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    orders = package / "backend" / "orders.py"
    text = orders.read_text(encoding="utf-8")
    assert text.count('"prune": self._prune') == 1
    orders.write_text(text.replace('"prune": self._prune', '"release": self._prune'), encoding="utf-8")
    command = [sys.executable, "-P", "-m", "mux.backend.daemon", "--foreground", "--socket", str(runtime.socket)]
    environment = {**runtime.environment, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen([*command, "--grace", "3600"], env=environment, stderr=subprocess.DEVNULL) as backend:
        try:
            eventually("it serves", runtime.socket.exists)
            yield backend
        finally:
            backend.send_signal(signal.SIGTERM)


def test_a_backend_of_a_version_that_cannot_tell_is_named_and_left_alone(
    runtime: Runtime, older: subprocess.Popen[bytes]
) -> None:
    used, unused = runtime.ready(), named(runtime, "unused")
    server = unused.pid()
    finish(runtime, unused)
    for sessions in ([], [used]):
        finish(runtime, *sessions)
        done = mux_(runtime, "prune", "--older-than", "0", "--yes")
        assert (done.returncode, "Ended 0 of 1." in done.stdout) == (REFUSED, True)
        assert f"`mux restart --socket {runtime.socket}`" in done.stdout
        assert running(server)
        assert older.poll() is None


# --- leftovers ----------------------------------------------------------------------------------


def leave_behind(runtime: Runtime, session: Session, *left: int) -> None:
    """The backend is killed, and its servers' descendants stay."""
    backend = runtime.backend()
    eventually("they are recorded", lambda: all(f"[{pid}," in runtime.record.read_text("utf-8") for pid in left))
    session.child.send_signal(signal.SIGSTOP)
    backend.kill()
    session.child.kill()
    eventually("it is dead", lambda: not running(backend.pid))


def test_what_a_killed_backend_has_left_is_ended_and_nothing_that_only_looks_like_it(runtime: Runtime) -> None:
    configure(runtime, self_check_seconds=0.2)
    session = runtime.ready()
    left = int(session.call("spawn", detached=True))
    leave_behind(runtime, session, left)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]) as innocent:
        record = json.loads(runtime.record.read_text(encoding="utf-8"))
        record["upstreams"][0]["tree"].append([innocent.pid, 1])
        runtime.record.write_text(json.dumps(record), encoding="utf-8")
        try:
            listed = mux_(runtime, "prune", "--older-than", "0")
            assert (listed.returncode, str(left) in listed.stdout) == (DONE, True)
            assert str(innocent.pid) not in listed.stdout
            assert mux_(runtime, "prune", "--older-than", "0", "--yes").returncode == DONE
            assert not running(left)
            assert innocent.poll() is None
        finally:
            innocent.kill()
    assert mux_(runtime, "prune", "--older-than", "0").returncode == NOTHING
    runtime.record.unlink()
    runtime.socket.unlink()


def test_what_is_left_is_told_to_end_before_it_is_killed_unless_it_is_young(runtime: Runtime, tmp_path: Path) -> None:
    configure(runtime, self_check_seconds=0.2)
    file = tmp_path / "told"
    session = runtime.ready()
    polite = int(session.call("spawn", detached=True, tell=str(file)))
    deaf = int(session.call("spawn", detached=True))
    eventually("the polite one listens", file.exists)
    leave_behind(runtime, session, polite, deaf)
    assert mux_(runtime, "prune", "--older-than", "1h", "--yes").returncode == NOTHING
    assert file.read_text("utf-8") == ""
    done = mux_(runtime, "prune", "--older-than", "0", "--yes")
    assert (done.returncode, "Ended 2 of 2." in done.stdout) == (DONE, True)
    assert file.read_text("utf-8") == "told"
    assert not running(polite)
    assert not running(deaf)
    runtime.record.unlink()
    runtime.socket.unlink()


# --- everywhere, and what does not end ----------------------------------------------------------


def test_without_a_socket_every_backend_in_the_safe_runtime_directories_is_looked_at(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unused, lost, idle = (str(runtime.directory / f"{name}.sock") for name in ("unused", "lost", "idle"))
    used = runtime.ready()
    one, two = (runtime.ready(options=["--socket", socket]) for socket in (unused, lost))
    server = one.pid()
    one.finish()
    os.unlink(lost)
    assert runtime.mux("start", "--socket", idle).returncode == 0  # it has no server, so it has written no record
    (tmp_path / "open").mkdir(mode=0o755)
    shutil.copy(runtime.record, tmp_path / "open" / "x.json")
    directories = [str(tmp_path / "none"), str(tmp_path / "open"), str(runtime.directory)]
    monkeypatch.setattr(prune, "runtime_directories", lambda: directories)

    def listed() -> str:
        assert main(["prune", "--older-than", "0"]) == DONE
        return capsys.readouterr().out

    out = eventually("its session is gone", lambda: found if unused in (found := listed()) else "")
    assert [f" at {socket}" in out for socket in (unused, lost, idle, str(runtime.socket))] == [True, True, True, False]
    assert str(tmp_path) not in out
    assert "ends 2 of these" in out
    assert main(["prune", "--older-than", "0", "--yes"]) == REFUSED
    assert "Ended 2 of 3." in capsys.readouterr().out, "the one without a socket stays"
    assert not running(server)
    assert len(runtime.backends()) == 2
    assert [session.call("echo", text="on") for session in (used, two)] == ["on", "on"]


def test_what_does_not_end_in_time_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prune, "SUCCESSION_SECONDS", 0.1)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"]) as process:
        try:
            row = reap.process(process.pid)
            assert row is not None
            assert prune.Find("a server", [row.identity]).end() == {row.identity}
        finally:
            process.kill()
    assert prune.Find("a server", [row.identity]).end() == set()
