"""What an operator does to running sessions, and what the sessions do when their backend keeps dying."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import mux
from tests.faults.support import Watch, overlaps, report, served, times
from tests.faults.test_load import Load
from tests.park.support import SOON, expect_sleep
from tests.support.processes import eventually, running
from tests.support.runtime import SCRIPTED, Runtime
from tests.support.session import Failed, Session

UPSTREAM_UNAVAILABLE = -31001
DONE, REFUSED, NOTHING = 0, 1, 3
SESSIONS = 4


def mux_(runtime: Runtime, *words: str) -> subprocess.CompletedProcess[str]:
    return runtime.mux(*words, "--socket", str(runtime.socket))


def refused(session: Session) -> str:
    """The message with which a request is refused that was not run."""
    with pytest.raises(Failed) as failed:
        session.request("tools/list")
    assert failed.value.error["code"] == UPSTREAM_UNAVAILABLE
    assert failed.value.error["data"]["mux"]["executionState"] == "not_started"
    return str(failed.value.error["message"])


def serving(runtime: Runtime) -> list[psutil.Process]:
    """Backends whose start is over: a signal before that is a start that failed."""
    log = (runtime.directory / "s.log").read_text(encoding="utf-8")
    started = [line for line in log.splitlines() if " backend.started " in line]
    return [one for one in runtime.backends() if any(f" pid={one.pid} " in line for line in started)]


# --- restart ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["mux restart", "mux restart 1", "SIGTERM"])
def test_a_planned_restart_under_load_costs_no_request(runtime: Runtime, lives: Path, tmp_path: Path, how: str) -> None:
    runtime.grace = 5.0
    effects = tmp_path / "effects"
    effects.touch()
    sessions = [runtime.ready(*SCRIPTED, "--lives", str(lives)) for _ in range(SESSIONS)]
    loads = [Load(session, number, effects) for number, session in enumerate(sessions)]
    with Watch(runtime.socket) as watch:
        for load in loads:
            load.start()
        for _ in range(times(2, 50)):
            time.sleep(0.5)
            if how == "SIGTERM":
                (backend,) = eventually("a backend serves", lambda: serving(runtime))
                backend.send_signal(signal.SIGTERM)
                eventually("it has left", lambda backend=backend: not running(backend.pid))
            else:
                done = mux_(runtime, *how.split()[1:])
                assert done.returncode == 0, done.stderr
        for load in loads:
            load.stopping.set()
        for load in loads:
            load.join(90)
    assert sum(load.check() for load in loads) == 0
    marks = effects.read_text(encoding="utf-8").split()
    assert len(marks) == len(set(marks))
    assert not overlaps(lives)
    assert not watch.overlaps
    report(f"{how}: {sum(len(load.kinds) for load in loads)} requests, none lost")


def test_a_newer_version_takes_over_with_all_sessions_connected(runtime: Runtime, tmp_path: Path) -> None:
    runtime.grace = 5.0
    sessions = [runtime.ready() for _ in range(SESSIONS)]
    call = sessions[0].begin_call("sleep", seconds=1)
    python = newer(tmp_path)
    done = subprocess.run(
        [python, "-P", "-m", "mux", "restart", "--socket", str(runtime.socket)],
        env=runtime.environment,
        cwd=runtime.project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{SESSIONS} of {SESSIONS} sessions connected" in done.stdout
    assert f"mux {mux.__version__} " in done.stdout
    assert "mux 99.0 " in done.stdout
    assert sessions[0].text(call) == "slept"
    assert len({session.pid() for session in sessions}) == 1
    assert runtime.status()["backend"]["version"] == "99.0"


def newer(directory: Path) -> str:
    """The interpreter of an environment that has a later version of the package."""
    package = directory / "later" / "mux"
    shutil.copytree(Path(mux.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    text = (package / "__init__.py").read_text(encoding="utf-8")
    (package / "__init__.py").write_text(text.replace(mux.__version__, "99.0"), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory / "venv")], check=True, timeout=60)
    python = str(directory / "venv" / "bin" / "python")
    where = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.strip()
    paths = f"{package.parent}\n{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n"
    Path(where, "later.pth").write_text(paths, encoding="utf-8")
    return python


def test_restart_says_what_it_did_where_there_is_nothing_to_restart(runtime: Runtime) -> None:
    done = mux_(runtime, "restart")
    assert done.returncode == 0
    assert "No backend is running" in done.stdout
    runtime.ready()
    wrong = mux_(runtime, "restart", "9")
    assert wrong.returncode in {1, 2}
    assert "no server 9" in wrong.stderr


# --- stop and start -----------------------------------------------------------------------------


@pytest.mark.parametrize("what", [[], ["1"]])
def test_what_was_stopped_stays_so_and_says_why_until_start(runtime: Runtime, what: list[str]) -> None:
    runtime.grace = 5.0
    sessions = [runtime.ready(), runtime.ready()]
    server = sessions[0].pid()
    call = sessions[0].begin_call("sleep", seconds=0.5)
    done = mux_(runtime, "stop", *what)
    assert done.returncode == 0, done.stderr
    assert "2 sessions" in done.stdout
    assert sessions[0].text(call) == "slept", "what was in flight is answered first"
    eventually("the server is gone", lambda: not running(server))
    for _ in range(3):
        assert all("mux stop" in refused(session) for session in sessions)
        time.sleep(0.7)
    assert bool(runtime.backends()) == bool(what)
    assert mux_(runtime, "start").returncode == 0
    for session in sessions:
        eventually("it is served again", lambda session=session: served(session))
        assert session.call("echo", text="on") == "on"
    assert all(session.stderr == "" for session in sessions)


def test_start_leaves_the_sessions_time_to_come_back_however_short_the_grace(runtime: Runtime) -> None:
    runtime.grace = 0.0
    sessions = [runtime.ready(), runtime.ready()]
    assert mux_(runtime, "stop").returncode == 0
    time.sleep(3)  # until they look for a backend only now and then
    assert mux_(runtime, "start").returncode == 0
    for session in sessions:
        eventually("it is served again", lambda session=session: served(session))


def test_a_stop_is_final_also_where_the_backend_is_on_its_way_out(runtime: Runtime) -> None:
    session = runtime.ready()
    call = session.begin_call("sleep", seconds=1.5)
    eventually("the server has it", lambda: runtime.status()["upstreams"][0]["in_flight"])
    runtime.backend().send_signal(signal.SIGTERM)
    eventually("it drains", lambda: "backend.signal" in (runtime.directory / "s.log").read_text())
    done = mux_(runtime, "stop")
    assert done.returncode == 0, done.stderr
    assert session.text(call) == "slept"
    for _ in range(3):
        assert "mux stop" in refused(session)
        time.sleep(0.5)
    assert not runtime.backends()


@contextlib.contextmanager
def stopping(runtime: Runtime, session: Session, *what: str) -> Generator[None]:
    """A stop that waits for a call of `session`, which is answered."""
    call = session.begin_call("sleep", seconds=1.5)
    eventually("the server has it", lambda: runtime.status()["upstreams"][0]["in_flight"])
    with ThreadPoolExecutor() as pool:
        stop = pool.submit(mux_, runtime, "stop", *what)
        eventually("it drains", lambda: "order.stop" in (runtime.directory / "s.log").read_text())
        yield
        assert stop.result().returncode == 0, stop.result().stderr
    assert session.text(call) == "slept"


def test_start_waits_for_the_end_of_a_backend_that_is_being_stopped(runtime: Runtime) -> None:
    """It does not say that all runs, and have it end a moment later."""
    runtime.grace = 60.0
    session = runtime.ready()
    before = runtime.backend().pid
    with stopping(runtime, session):
        started = mux_(runtime, "start")
    assert (started.returncode, "Started" in started.stdout) == (0, True), started.stderr
    eventually("it is served", lambda: served(session))
    assert runtime.backend().pid != before


@pytest.mark.parametrize("how", ["start", "a new session"])
def test_a_server_that_is_being_stopped_is_only_restarted_if_it_is_wanted_again(runtime: Runtime, how: str) -> None:
    runtime.grace = 60.0
    session = runtime.ready()
    before = session.pid()
    with stopping(runtime, session, "1"):
        if how == "start":
            assert mux_(runtime, "start").returncode == 0
        else:
            runtime.ready()
        waiting = session.begin_call("echo", text="on")
    assert session.text(waiting) == "on", "it waits for the next one, and is not refused"
    assert session.pid() != before
    assert "session.closed" not in (runtime.directory / "s.log").read_text()


def test_a_new_session_brings_back_what_was_stopped(runtime: Runtime) -> None:
    old = runtime.ready()
    assert mux_(runtime, "stop").returncode == 0
    assert "mux stop" in refused(old)
    new = runtime.ready()
    eventually("the old one is served again", lambda: served(old))
    assert new.pid() == old.pid()
    runtime.backend().kill()
    assert served(old), "the stop is over: any session may start the next backend"


def test_a_stopped_server_of_one_session_alone_is_not_brought_back_by_it(runtime: Runtime) -> None:
    session = runtime.ready(options=["--no-share"])
    assert mux_(runtime, "stop", "1").returncode == 0
    for _ in range(3):
        assert "mux stop" in refused(session)
        time.sleep(0.5)
    assert mux_(runtime, "start").returncode == 0
    eventually("it is served again", lambda: served(session))


def test_a_server_is_stopped_also_where_its_backend_leaves_with_it(runtime: Runtime) -> None:
    """It takes its time, and the backend goes as soon as its last session was turned out."""
    runtime.grace = 0.0
    session = runtime.ready(*SCRIPTED, "--ignore-eof", options=["--no-share"])
    server = session.pid()
    done = mux_(runtime, "stop", "1")
    assert (done.returncode, "Stopped server 1" in done.stdout) == (0, True), done.stderr
    eventually("it is dead", lambda: not running(server))
    assert "mux stop" in refused(session)


def test_stop_and_start_say_what_they_did_where_nothing_runs(runtime: Runtime) -> None:
    assert "there is nothing to stop" in mux_(runtime, "stop").stdout
    started = mux_(runtime, "start")
    assert (started.returncode, "Started the backend" in started.stdout) == (0, True)
    assert "runs" in mux_(runtime, "start").stdout
    assert mux_(runtime, "stop").returncode == 0
    runtime.expect_empty()


# --- a backend that keeps dying -----------------------------------------------------------------


@pytest.mark.parametrize("options", [("--park-after", "0"), SOON], ids=["awake", "asleep between two deaths"])
def test_a_crash_loop_is_answered_by_the_shim_itself_which_tries_again_later(
    runtime: Runtime, options: tuple[str, ...]
) -> None:
    session = runtime.ready(options=options)
    for _ in range(3):
        if options == SOON:
            expect_sleep(session)
        backend = runtime.backend()
        backend.kill()
        eventually("it is dead", lambda backend=backend: not running(backend.pid))
        if _ < 2:
            eventually("the next one serves", lambda: served(session))
    assert "3 times within a minute" in refused(session)
    assert not runtime.backends()
    eventually("it is tried again", lambda: served(session))
    assert session.call("echo", text="on") == "on"
    assert session.stderr == ""
