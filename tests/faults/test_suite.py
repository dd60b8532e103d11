"""A run of tests that ends half-way leaves no process and no directory behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.processes import MARK, eventually

ROOT = Path(__file__).parents[2]

HALF_WAY = """
import os, signal, sys, time
from pathlib import Path
from tests.support.runtime import SCRIPTED

def test_half_way(runtime):
    runtime.grace = {grace}
    sessions = [runtime.ready(), runtime.ready(), runtime.ready("sh", "-c", '"$@"; true', "sh", *SCRIPTED)]
    sessions[0].call("spawn", detached=True)
    for session in sessions:
        session.begin_call("sleep", seconds=60)
    Path({told!r}).write_text(str(runtime.directory.parent), encoding="utf-8")
    {end}
"""

ENDS = {
    "a failure": "sessions[1].child.send_signal(signal.SIGSTOP); raise AssertionError('half-way')",
    "an interrupt": "os.kill(os.getpid(), signal.SIGINT)",
    "a time-out": "signal.setitimer(signal.ITIMER_REAL, 0.01); time.sleep(60)",  # the clock of pytest-timeout
}


def begin(directory: Path, end: str, *, grace: float) -> tuple[subprocess.Popen[str], Path]:
    """A run of its own, of one test; where it will tell its directory."""
    told = directory / "told"
    test = directory / "test_half_way.py"
    test.write_text(HALF_WAY.format(told=str(told), end=end, grace=grace), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    command += ["-p", "tests.conftest", "-p", "no:cacheprovider", f"--basetemp={directory / 'tmp'}", str(test)]
    environment = {name: value for name, value in os.environ.items() if name != MARK}
    run = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return run, told


@pytest.mark.parametrize("how", ENDS)
def test_a_run_that_fails_half_way_leaves_nothing_behind(tmp_path: Path, how: str) -> None:
    run, told = begin(tmp_path, ENDS[how], grace=3600.0)
    output, _ = run.communicate(timeout=100)
    assert run.returncode in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}, output
    assert "left behind" not in output
    directory = Path(told.read_text(encoding="utf-8"))
    assert not directory.exists()
    assert processes.marked(directory) == []


def test_a_run_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    """Nobody is there to clear up: hosts gone, the shims leave, and the backend after its grace."""
    run, told = begin(tmp_path, "time.sleep(60)", grace=0.3)
    try:
        eventually("it is half-way", lambda: told.exists() and told.read_text(encoding="utf-8"), seconds=60)
        directory = Path(told.read_text(encoding="utf-8"))
        assert len(processes.marked(directory)) > 3
    finally:
        run.kill()
        run.communicate(timeout=30)
    try:
        eventually("all have left", lambda: not processes.marked(directory), seconds=30)
    finally:
        processes.kill(processes.marked(directory))
        shutil.rmtree(directory)
