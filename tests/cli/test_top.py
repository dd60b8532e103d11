"""`mux top` on a terminal of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import subprocess
import termios
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from tests.support.processes import eventually
from tests.support.runtime import Runtime, program

ROWS, COLUMNS = 12, 70


class Terminal:
    """The other side of a pseudo-terminal on which a command runs; `said`: all that it printed."""

    def __init__(self, *argv: str, environment: dict[str, str]) -> None:
        self.side, child_side = os.openpty()
        fcntl.ioctl(child_side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.before = termios.tcgetattr(child_side)
        names = {**environment, "TERM": "xterm"}
        self.child = subprocess.Popen(
            argv, stdin=child_side, stdout=child_side, stderr=child_side, env=names, start_new_session=True
        )
        self.child_side = child_side
        os.set_blocking(self.side, False)
        self.said = ""

    def shows(self, word: str) -> bool:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.said += os.read(self.side, 65536).decode(errors="replace")
        return word in self.said

    def press(self, key: str) -> None:
        os.write(self.side, key.encode())


@contextmanager
def top(runtime: Runtime) -> Generator[Terminal, None, None]:
    argv = [program("mux"), "top", "--interval", "0.5", "--socket", str(runtime.socket)]
    terminal = Terminal(*argv, environment=runtime.environment)
    try:
        yield terminal
    finally:
        terminal.child.kill()
        terminal.child.wait()
        os.close(terminal.side)
        os.close(terminal.child_side)


def test_it_draws_what_runs_follows_it_and_ends_with_q(runtime: Runtime) -> None:
    with top(runtime) as terminal:
        eventually("it says that nothing runs", lambda: terminal.shows("No backend is running"))
        session = runtime.ready()
        eventually("it shows the server", lambda: terminal.shows("scripted.py"))
        session.call("echo", text="x")
        terminal.press("q")
        assert terminal.child.wait(20) == 0
        assert terminal.shows("\x1b[?1049l")
        assert terminal.said.count("\x1b[?1049h") == 1
        assert termios.tcgetattr(terminal.child_side) == terminal.before


def test_a_screen_is_never_longer_than_the_terminal(runtime: Runtime) -> None:
    for number in range(4):
        runtime.ready(options=["--no-share"]).call("echo", text=str(number))
    with top(runtime) as terminal:
        eventually("it says what does not fit", lambda: terminal.shows("`mux status` has them all"))
        terminal.press("q")
        terminal.child.wait(20)
        screen = terminal.said.split("\x1b[H")[-1].split("\x1b[J")[0]
        assert screen.count("\n") == ROWS - 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_the_terminal_back_and_leaves_no_traceback(runtime: Runtime, number: signal.Signals) -> None:
    with top(runtime) as terminal:
        eventually("it draws", lambda: terminal.shows("q ends this"))
        terminal.child.send_signal(number)
        assert terminal.child.wait(20) == 128 + number
        assert terminal.shows("\x1b[?1049l")
        assert "Traceback" not in terminal.said
        assert termios.tcgetattr(terminal.child_side) == terminal.before


def test_without_a_terminal_it_says_what_to_use(runtime: Runtime) -> None:
    done = runtime.mux("top", "--socket", str(runtime.socket))
    assert done.returncode == 2
    assert "`mux status` prints the same once" in done.stderr


@pytest.mark.parametrize("interval", ["0", "0.1", "x", "nan", "1e9"])
def test_it_cannot_be_made_to_storm_the_backend(runtime: Runtime, interval: str) -> None:
    done = runtime.mux("top", "--interval", interval)
    assert done.returncode == 2
    assert "number of seconds" in done.stderr
