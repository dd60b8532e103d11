"""What happens to a sleeping session: signals, the end of its host, of its backend, of its interpreter."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import mux
from tests.park.support import SHELLS, SOON, descriptors, expect_sleep, shell, sleeper, sleeps
from tests.support.processes import eventually, running
from tests.support.runtime import DIRECT, SCRIPTED, Runtime
from tests.support.session import Stdio

LIST_CHANGED = "notifications/tools/list_changed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGKILL])
@pytest.mark.parametrize("name", SHELLS)
def test_a_signal_ends_a_sleeping_session_as_it_would_end_its_server(
    runtime: Runtime, name: str, number: signal.Signals
) -> None:
    session = sleeper(runtime, environment=shell(name, runtime.directory))
    session.child.send_signal(number)
    assert session.wait() == -number
    assert not session.stderr
    runtime.sessions.remove(session)
    session.close()
    runtime.expect_empty()


@pytest.mark.parametrize("stdio", ["pipe", "socketpair"])
@pytest.mark.parametrize("name", SHELLS)
def test_a_host_that_closes_its_end_ends_a_sleeping_session(runtime: Runtime, name: str, stdio: Stdio) -> None:
    session = sleeper(runtime, environment=shell(name, runtime.directory), stdio=stdio)
    assert session.finish() == 0
    assert not session.stderr


def test_a_killed_host_takes_its_sleeping_session_along(runtime: Runtime) -> None:
    command = runtime.shim(*SCRIPTED, options=SOON)
    code = (
        "import subprocess, sys, time; p = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE); "
        'print(p.pid, flush=True); p.stdin.write(b\'{"jsonrpc":"2.0","id":1,"method":"ping"}\\n\'); '
        "p.stdin.flush(); time.sleep(3600)"
    )
    host = subprocess.Popen(
        [sys.executable, "-c", code, *command],
        env=runtime.environment,
        cwd=runtime.project,
        stdout=subprocess.PIPE,
    )
    assert host.stdout is not None
    shim = int(host.stdout.readline())
    eventually("the session sleeps", lambda: sleeps(shim))
    host.kill()
    host.wait()
    host.stdout.close()
    eventually("the session is gone", lambda: not running(shim))
    runtime.expect_empty()


@pytest.mark.parametrize("count", [12])
def test_sleeping_sessions_go_on_after_their_backend_was_killed(runtime: Runtime, count: int) -> None:
    runtime.grace = 5.0
    sessions = [sleeper(runtime) for _ in range(count)]
    server = sessions[0].pid()
    expect_sleep(sessions[0])
    backend = runtime.backend()
    backend.kill()
    backend.wait()
    for session in sessions:
        assert session.call("echo", text="still here") == "still here"
        assert session.pid() != server
    assert runtime.backend().pid != backend.pid
    for session in sessions:
        expect_sleep(session)
        assert not session.stderr


def test_a_backend_that_leaves_as_planned_wakes_its_sleeping_sessions(runtime: Runtime) -> None:
    sessions = [sleeper(runtime) for _ in range(3)]
    backend = runtime.backend()
    backend.send_signal(signal.SIGTERM)
    backend.wait(20)
    for session in sessions:
        assert session.call("echo", text="after") == "after"
    assert runtime.backend().pid != backend.pid


def test_a_message_of_the_server_wakes_a_sleeping_session(runtime: Runtime) -> None:
    session = sleeper(runtime)
    driver = runtime.ready(options=("--park-after", "0"))
    driver.call("notify", method=LIST_CHANGED)
    session.wait_notification(LIST_CHANGED)
    expect_sleep(session)
    assert len(session.notifications) == 1


def test_a_session_with_something_under_way_does_not_sleep(runtime: Runtime) -> None:
    session, other = runtime.ready(options=SOON), runtime.ready(options=SOON)
    call = session.begin_call("sleep", seconds=1.0)
    expect_sleep(other)
    assert not sleeps(session.child.pid)
    assert session.text(call) == "slept"
    session.write(b'{"jsonrpc":"2.0",')
    assert other.call("echo", text="x") == "x"
    expect_sleep(other)
    assert not sleeps(session.child.pid)
    session.write(b'"id":"half","method":"ping"}\n')
    assert session.result("half") == {}
    expect_sleep(session)


def test_with_park_after_0_nobody_sleeps(runtime: Runtime) -> None:
    session, other = runtime.ready(options=("--park-after", "0")), sleeper(runtime)
    for _ in range(3):
        assert other.call("echo", text="x") == "x"
        expect_sleep(other)
    assert not sleeps(session.child.pid)


def test_a_session_on_a_terminal_or_on_nothing_does_not_sleep(runtime: Runtime) -> None:
    master, slave = pty.openpty()
    pair = os.pipe()
    command = runtime.shim(*SCRIPTED, options=SOON)
    where = {"env": runtime.environment, "cwd": runtime.project, "stderr": subprocess.DEVNULL}
    shim = subprocess.Popen(command, stdin=slave, stdout=pair[1], **where)  # type: ignore[call-overload]
    os.close(slave)
    other = runtime.ready(options=SOON)
    try:
        for _ in range(3):
            expect_sleep(other)
            assert other.call("echo", text="x") == "x"
        assert not sleeps(shim.pid)
    finally:
        shim.kill()
        shim.wait()
        for fd in (master, *pair):
            os.close(fd)


@pytest.mark.parametrize("part", ["bin/python", "lib/mux"])
def test_an_interpreter_or_a_package_that_is_being_replaced_is_waited_for(
    runtime: Runtime, tmp_path: Path, part: str
) -> None:
    runtime.ready(options=("--park-after", "0"))  # starts the backend, which the copy could not
    shim = installation(tmp_path)
    sessions = [runtime.session(*shim, *runtime.shim(*SCRIPTED, options=SOON)[1:], mode=DIRECT) for _ in range(5)]
    for session in sessions:
        session.initialize()
    for session in sessions:
        expect_sleep(session)
    hidden = (tmp_path / part).rename(tmp_path / "hidden")
    requests = [session.begin_call("echo", text=str(number)) for number, session in enumerate(sessions)]
    for session in sessions:
        expect_wait(session.child.pid)
    hidden.rename(tmp_path / part)
    for number, (session, request) in enumerate(zip(sessions, requests, strict=True)):
        assert session.text(request) == str(number)
    for session in sessions:
        expect_sleep(session)
        assert session.finish() == 0
        assert not session.stderr


def test_a_host_that_ends_while_the_package_is_gone_is_not_waited_for(runtime: Runtime, tmp_path: Path) -> None:
    runtime.ready(options=("--park-after", "0"))
    session = runtime.session(*installation(tmp_path), *runtime.shim(*SCRIPTED, options=SOON)[1:], mode=DIRECT)
    session.initialize()
    expect_sleep(session)
    shutil.rmtree(tmp_path / "lib")
    session.end_input()
    assert session.wait() != 0


def test_nothing_of_a_host_stays_open_in_the_backend(runtime: Runtime) -> None:
    runtime.grace = 5.0
    keeper = runtime.ready(options=("--park-after", "0"))
    keeper.call("echo", text="x")
    backend = runtime.backend().pid
    before = descriptors(backend)
    sessions = [sleeper(runtime) for _ in range(4)]
    held = descriptors(backend)
    assert held.count("pipe") == before.count("pipe") + 4
    assert sessions[0].call("echo", text="x") == "x"
    for session in sessions[:2]:
        session.finish()
    for session in sessions[2:]:
        session.child.kill()
        session.wait()
    eventually("all is closed", lambda: descriptors(backend) == before)
    assert keeper.call("echo", text="x") == "x"


def test_cycles_leave_no_descriptor_in_a_session(runtime: Runtime) -> None:
    session = sleeper(runtime)
    for _ in range(5):
        session.call("echo", text="x")
        expect_sleep(session)
    # 0 to 4, and what dash makes of 0 while it reads 3
    eventually("there are no more than that", lambda: len(descriptors(session.child.pid)) <= 6)
    mine = psutil.Process(session.child.pid)
    assert mine.num_threads() == 1


def test_descriptors_that_the_host_left_open_stay_open(runtime: Runtime) -> None:
    """As the channel that Node keeps at 3: its host hears when the other end is closed."""
    reader, writer = os.pipe()
    read_in, write_in = os.pipe()
    leave_open = (
        "import os, sys; fd = int(sys.argv[1]); high = os.dup(fd); os.dup2(high, 3); os.dup2(high, 4); "
        "fd in (3, 4) or os.close(fd); os.execv(sys.argv[2], sys.argv[2:])"
    )
    shim = subprocess.Popen(
        [sys.executable, "-c", leave_open, str(writer), *runtime.shim(*SCRIPTED, options=SOON)],
        env=runtime.environment,
        cwd=runtime.project,
        stdin=read_in,
        stdout=subprocess.PIPE,
        pass_fds=[writer],
    )
    os.close(writer)
    os.close(read_in)
    os.set_blocking(reader, False)
    try:
        for _ in range(2):
            os.write(write_in, b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
            assert shim.stdout is not None
            assert shim.stdout.readline()
            eventually("it sleeps", lambda: sleeps(shim.pid))
            with pytest.raises(BlockingIOError):
                os.read(reader, 1)
        os.close(write_in)
        assert shim.wait(20) == 0
        assert os.read(reader, 1) == b""
    finally:
        shim.kill()
        shim.wait()
        os.close(reader)
        assert shim.stdout is not None
        shim.stdout.close()


def test_a_sleeping_session_shows_what_it_is(runtime: Runtime) -> None:
    session = sleeper(runtime)
    command = psutil.Process(session.child.pid).cmdline()
    assert f"mux-shim (parked) {SCRIPTED[0]}" in command
    shown = runtime.status()["sessions"]
    assert [entry["parked"] for entry in shown if entry["pid"] == session.child.pid] == [True]


def expect_wait(pid: int) -> None:
    """The shell has noticed that its interpreter is gone, or this that its package is."""
    eventually("it waits", lambda: psutil.Process(pid).children() or not sleeps(pid))


def installation(directory: Path) -> list[str]:
    """A shim with an interpreter and a package of its own, which can be taken away: bin/python, lib/mux."""
    venv = [sys.executable, "-m", "venv", "--without-pip", str(directory)]
    subprocess.run(venv, check=True, timeout=120)
    library = directory / "lib"
    shutil.copytree(Path(mux.__file__).parent, library / "mux", ignore=shutil.ignore_patterns("__pycache__"))
    code = f"import sys; sys.path.append({str(library)!r}); from mux.shim.main import main; sys.exit(main())"
    return [str(directory / "bin" / "python"), "-c", code]
