"""Servers that do everything wrong: contained, and nothing of them survives."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from tests.faults.support import private_bytes, report, times
from tests.support.processes import eventually, running
from tests.support.runtime import SCRIPTED, Runtime

HOSTILE = [sys.executable, str(Path(__file__).with_name("hostile.py"))]
OUTCOME_UNKNOWN = -31002
MIB = 1 << 20


def family(pid: int) -> list[psutil.Process]:
    """All below a process, whole."""
    return psutil.Process(pid).children(recursive=True)


@pytest.mark.parametrize("end", ["last session", "restart", "backend", "shim group"])
def test_nothing_survives_of_a_server_that_is_deaf_and_has_deaf_children_in_sessions_of_their_own(
    runtime: Runtime, end: str
) -> None:
    session = runtime.ready(*HOSTILE, "--stubborn", "--family")
    server = session.pid()
    eventually("the family is complete", lambda: len(family(server)) == 4)
    tree = list(family(server))
    if end == "last session":
        session.finish()
        runtime.expect_empty()
    elif end == "restart":
        assert runtime.mux("restart", "--socket", str(runtime.socket)).returncode == 0
        assert session.pid() != server
    elif end == "backend":
        runtime.backend().kill()
        session.request("tools/list")  # safe, so it is asked again if it was under way
        assert session.pid() != server
    else:
        session.kill_group()
        runtime.expect_empty()
    eventually("all of them are dead", lambda: not any(running(process.pid) for process in tree))
    assert not running(server)


def test_a_server_that_closes_its_stdout_is_replaced_even_if_it_is_deaf(runtime: Runtime) -> None:
    session = runtime.ready(*HOSTILE, "--stubborn")
    server = session.pid()
    error = session.response(session.begin_call("close_stdout"))["error"]
    assert error["code"] == OUTCOME_UNKNOWN
    assert session.call("echo", text="on") == "on"
    assert not running(server)


def test_garbage_costs_nobody_anything(runtime: Runtime) -> None:
    first, second = runtime.ready(*HOSTILE), runtime.ready(*HOSTILE)
    assert first.call("garbage") == "written"
    assert second.call("echo", text="on") == "on"
    assert first.pid() == second.pid()
    assert first.lines == [line for line in first.lines if line.startswith(b'{"jsonrpc"')]


def test_half_a_line_and_death_is_no_line(runtime: Runtime) -> None:
    session = runtime.ready(*HOSTILE)
    error = session.response(session.begin_call("half"))["error"]
    assert error["code"] == OUTCOME_UNKNOWN
    assert session.call("echo", text="on") == "on"
    assert all(line.endswith(b"}") for line in session.lines)


def test_a_line_without_end_is_not_kept(runtime: Runtime) -> None:
    mib = times(200, 1024)
    session, other = runtime.ready(*HOSTILE), runtime.ready(*SCRIPTED)
    backend = runtime.backend()
    before = private_bytes(backend.pid)
    number = session.begin_call("endless", mib=mib)
    most = before
    while not session.answers().get(str(number)):
        most = max(most, private_bytes(backend.pid))
        assert other.call("echo", text="on") == "on"
    assert session.text(number) == "ended"
    report(f"{mib} MiB in one line: the backend grew by {(most - before) / MIB:.0f} MiB at most")
    assert most - before < 3 * 64 * MIB


def test_any_amount_of_stderr_is_read_and_bounded(runtime: Runtime) -> None:
    session = runtime.ready(*HOSTILE)
    assert session.call("scream", mib=times(40, 100)) == "screamed"  # more than may be kept, in either profile
    assert session.call("echo", text="on") == "on"
    logs = list(runtime.directory.glob("*.err*"))
    assert logs
    assert sum(path.stat().st_size for path in logs) <= 32 * MIB


@pytest.mark.parametrize("script", ['exec "$@"', '"$@"; exit $?', 'exec 3<&0; "$@" <&3 3<&- & wait'])
def test_wrappers_and_their_grandchildren_end_with_their_server(runtime: Runtime, script: str) -> None:
    session = runtime.ready("sh", "-c", script, "sh", *SCRIPTED)
    tree = [session.pid(), int(session.call("spawn")), int(session.call("spawn", detached=True))]
    session.finish()
    runtime.expect_empty()
    assert not any(running(pid) for pid in tree)
