"""`mux top`: the status, live. One question to the backend per round, nothing in between."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mux.backend.state import State
from mux.cli import backends, control, screen
from mux.errors import MuxError, UsageError
from mux.limits import TOP_LEAST_SECONDS, TOP_SECONDS
from mux.rendezvous.paths import places

if TYPE_CHECKING:
    from mux.rendezvous.paths import Place

_ENTER = "\x1b[?1049h\x1b[?25l"
_LEAVE = "\x1b[?25h\x1b[?1049l"
_QUIT = (b"q", b"Q", b"\x04", b"")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux top`'s part of the command line."""
    parser = commands.add_parser(
        "top",
        help="show the same, live",
        description="Show what `mux status` shows, again and again. q or Ctrl-C ends it; it starts no backend, and "
        "waits for one that comes.",
        allow_abbrev=False,
    )
    control.add_socket_option(parser)
    parser.add_argument(
        "--interval", metavar="SECONDS", type=_interval, default=TOP_SECONDS, help="default: %(default)g"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw until somebody has seen enough. Raises UsageError where there is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("`mux top` needs a terminal to draw on; `mux status` prints the same once")
    from mux.cli import interrupts

    candidates = places(options.socket)
    interrupts.install()
    with _screen():
        while True:
            size = _size()
            view = screen.terminal(width=size.columns, colour=True)
            _draw(_lines(candidates, view), size.lines)
            if _key_within(options.interval) in _QUIT:
                return 0


def _lines(candidates: Sequence[Place], view: screen.View) -> list[str]:
    clock = view.line(f"{time.strftime('%H:%M:%S')}   q ends this", "dim")
    try:
        answer = backends.ask(candidates)
    except MuxError as error:
        return [clock, "", view.line(str(error), "red")]
    if answer is None:
        return [clock, "", f"No backend is running at {candidates[0].socket}. One starts with the first session."]
    state: State = answer[1]
    return [clock, *screen.lines(state, view)]


def _size() -> os.terminal_size:
    """As it is now: COLUMNS and LINES do not follow a window that is resized."""
    size = os.get_terminal_size(sys.stdout.fileno())
    return size if size.columns and size.lines else shutil.get_terminal_size()


def _draw(lines: list[str], height: int) -> None:
    """Over what is there, from the top, so that nothing flickers."""
    if len(lines) > height:
        rest = len(lines) - height + 1
        lines = [*lines[: height - 1], f"… {rest} more lines: `mux status` has them all"]
    sys.stdout.write("\x1b[H" + "\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J")
    sys.stdout.flush()


def _key_within(seconds: float) -> bytes | None:
    """A key, b"" if the terminal is gone, None if none was pressed in time."""
    import select

    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return os.read(sys.stdin.fileno(), 1) if ready else None


@contextmanager
def _screen() -> Generator[None]:
    """A screen of its own, keys as they are pressed; what was there before comes back."""
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    sys.stdout.write(_ENTER)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


def _interval(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not TOP_LEAST_SECONDS <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{value} is not a number of seconds from {TOP_LEAST_SECONDS:g} to 3600")
    return seconds
