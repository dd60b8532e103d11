"""`mux demo` as a person runs it: with real processes, and nothing left behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mux.cli import processes

DEMO = [sys.executable, "-m", "mux", "demo"]


def tagged(directory: Path) -> list[psutil.Process]:
    """Every process that was started with this temporary directory, or that has it in its command line."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.environ().get("TMPDIR", "")]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if any(str(directory) in word for word in words):
            found.append(process)
    return processes.alive(found)


@pytest.fixture
def environment(run_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory of the demo's own; after the test nothing of it runs, and it is empty."""
    directory = Path(tempfile.mkdtemp(dir=run_directory))
    monkeypatch.setenv("TMPDIR", str(directory))
    yield directory
    assert tagged(directory) == []
    directory.rmdir()


def demo(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*DEMO, *words], capture_output=True, text=True, timeout=100, check=False)


def row(said: str, kind: str) -> list[str]:
    """The last row of the tables that begins with `kind`: the one through mux-shim."""
    return [line.split() for line in said.splitlines() if line.strip().startswith(kind)][-1]


@pytest.mark.usefixtures("environment")
def test_many_sessions_share_one_server_and_leave_nothing() -> None:
    done = demo("--sessions", "5")
    assert done.returncode == 0, done.stderr
    assert "Left afterwards: nothing" in done.stdout
    assert [row(done.stdout, kind)[1] for kind in ("servers", "shims", "backend", "total")] == ["1", "5", "1", "7"]
    last = done.stdout.splitlines()[-1]
    assert re.match(r"5 sessions: 5 server processes and [\d.]+ MB became 1 and [\d.]+ MB \(\w+ memory", last)
    assert "Directly: starting sessions: 5 of 5" in done.stderr


@pytest.mark.usefixtures("environment")
def test_a_directory_has_a_server_of_its_own() -> None:
    done = demo("--sessions", "4", "--directories", "2")
    assert done.returncode == 0, done.stderr
    assert row(done.stdout, "servers")[1] == "2"


@pytest.mark.usefixtures("environment")
def test_a_command_of_the_users_is_started_with_its_own_options() -> None:
    done = demo(
        "--sessions", "2", "--", "sh", "-c", f'exec {sys.executable} -m mux.cli.demo_server "$@"', "x", "--help"
    )
    assert done.returncode == 0, done.stderr
    assert "mux-demo-server" in done.stdout
    assert "call of pid" in done.stdout


@pytest.mark.usefixtures("environment")
def test_a_server_that_fails_is_told_in_its_own_words() -> None:
    done = demo("--sessions", "2", "sh", "-c", "echo out of cheese >&2; exit 7")
    assert done.returncode == 1
    assert "session 1 of 2: the server ended with exit code 7" in done.stderr
    assert "out of cheese" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "moment", ["Directly: starting", "Directly: calling", "Through mux-shim: starting", "Through mux-shim: calling"]
)
def test_an_interrupt_ends_everything_that_was_started(moment: str, environment: Path) -> None:
    with subprocess.Popen(
        [*DEMO, "--sessions", "10"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(moment):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130
        assert "Traceback" not in rest
