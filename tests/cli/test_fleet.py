"""Sessions at once: spread, measured, and ended whatever happens."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import psutil
import pytest

from mux.cli import processes
from mux.cli.client import ServerError
from mux.cli.fleet import Fleet
from mux.cli.text import Progress

SERVER = [sys.executable, "-m", "mux.cli.demo_server"]
STUBBORN = f"trap '' TERM; sleep 300 & {sys.executable} -m mux.cli.demo_server; sleep 300"


def fleet(argv: list[str], directories: list[Path]) -> Fleet:
    return Fleet("Test", argv, [str(path) for path in directories], Progress(io.StringIO()))


def test_sessions_are_spread_over_the_directories(tmp_path: Path) -> None:
    directories = [tmp_path / name for name in ("a", "b")]
    for path in directories:
        path.mkdir()
    with fleet(SERVER, directories) as sessions:
        sessions.start(4)
        cwds = sorted(psutil.Process(client.pid).cwd() for client in sessions.clients)
        assert cwds == sorted(str(path) for path in directories * 2)


def test_what_was_measured_is_there_for_every_session(tmp_path: Path) -> None:
    with fleet(SERVER, [tmp_path]) as sessions:
        sessions.start(2)
        sessions.call(("echo", {"text": "x"}))
        times, weight = sessions.times, processes.weigh(sessions.trees())
        assert sessions.server.startswith("mux-demo-server ")
        assert times.later is not None
        assert min(times.first, times.later, times.call) > 0
        assert weight.processes == 2
        assert weight.rss > weight.private > 0
        assert sessions.end() == []


def test_a_server_that_ignores_its_end_and_its_children_are_ended(tmp_path: Path) -> None:
    with fleet(["sh", "-c", STUBBORN], [tmp_path]) as sessions:
        sessions.start(1)
        seen = sessions.trees()
        assert len(seen) == 3
    psutil.wait_procs(seen, timeout=10)
    assert processes.alive(seen) == []


def test_sessions_that_ran_are_ended_when_a_later_one_fails(tmp_path: Path) -> None:
    once = f"mkdir first && exec {sys.executable} -m mux.cli.demo_server; echo taken >&2; exit 4"
    with fleet(["sh", "-c", once], [tmp_path]) as sessions:
        with pytest.raises(ServerError, match=r"Test, session 2 of 3: .*exit code 4.*\n.*\n  taken"):
            sessions.start(3)
        seen = sessions.trees()
        assert len(seen) == 1
    assert processes.alive(seen) == []


def test_a_tool_that_fails_is_told(tmp_path: Path) -> None:
    with fleet(SERVER, [tmp_path]) as sessions:
        sessions.start(1)
        with pytest.raises(ServerError, match="Test, session 1: tools/call failed: Unknown tool: nope"):
            sessions.call(("nope", {}))
