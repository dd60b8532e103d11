from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mux import __version__
from mux.rendezvous import spawn
from mux.rendezvous.listener import take
from mux.rendezvous.paths import Place
from mux.wire import frames
from tests.backend.support import PATIENCE, World
from tests.support.processes import MARK, eventually, running

BACKEND = [sys.executable, "-m", "mux.backend.daemon"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BACKEND, *arguments], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )


def inherited(place: Place, *options: str) -> tuple[bytes, int]:
    """What the status pipe of a detached backend brings, and its pid if it lives."""
    lock, listener = take(place)
    status = spawn.start(place, lock, listener.fileno(), options=options)
    os.close(lock)
    listener.close()
    with open(status, "rb") as pipe:
        told = pipe.read()
    for process in psutil.process_iter(["cmdline"]):
        if place.socket in (process.info["cmdline"] or ()):
            return told, process.pid
    return told, 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--version"], 0, __version__),
        ([], 2, "--foreground"),
        (["--unknown"], 2, "unrecognized"),
        (["--inherit-lock", "3"], 2, "go together"),
        (
            ["--inherit-lock", "3", "--inherit-listener", "4", "--inherit-status", "x", "--socket", "s"],
            2,
            "go together",
        ),
        (["--inherit-lock", "3", "--grace"], 2, "go together"),
        (["--foreground", "--socket", "/nowhere/at/all.sock"], 1, "/nowhere/at"),
        (["--foreground", "--socket", "/tmp/" + "x" * 120], 1, "limit is 103"),
    ],
)
def test_a_command_line_that_can_not_be_served_ends_with_one_line(arguments: list[str], code: int, words: str) -> None:
    done = run(*arguments)
    assert done.returncode == code
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_in_the_foreground_it_serves_logs_on_stderr_and_ends_with_ctrl_c(world: World) -> None:
    backend = subprocess.Popen(
        [*BACKEND, "--foreground", "--socket", world.path],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, MARK: str(world.directory)},
    )
    with backend:
        eventually("it listens", lambda: Path(world.path).exists())
        done = run("--foreground", "--socket", world.path)
        assert done.returncode == 1
        assert "another backend" in done.stderr
        peer = world.session("/bin/cat")
        peer.close()
        backend.send_signal(signal.SIGINT)
        _, told = backend.communicate(timeout=PATIENCE)
    assert backend.returncode == 0
    assert "serving" in told
    assert "session.opened" in told
    assert "Traceback" not in told
    assert world.files() == {"s.lock"}


def test_inherited_it_reports_ok_and_its_servers_hold_nothing_of_it(world: World) -> None:
    told, pid = inherited(world.place, "--grace", "0.3")
    assert told == b"ok"
    peer = world.session("/bin/cat", options=[b"grace=0.3"])
    peer.send(frames.LINE, b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}', seq=1)
    (server,) = eventually("a server runs", lambda: [p for p in psutil.Process(pid).children() if p.name() == "cat"])
    assert server.num_fds() == 3
    peer.close()
    eventually("it has left", lambda: not world.locked())
    assert world.files() == {"s.lock", "s.log"}


def test_inherited_it_reports_why_it_can_not_start_and_leaves_no_socket(world: World) -> None:
    told, pid = inherited(world.place, "--grace", "soon")
    assert b"'soon' is not a duration" in told
    eventually("the lock is free", lambda: not world.locked())
    assert not Path(world.path).exists()
    assert not pid or not running(pid)
