"""`mux logs`: what the backend did, or what a server wrote to its stderr; as it comes, if asked."""

from __future__ import annotations

import argparse
import collections
import glob
import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, BinaryIO

from mux.backend.state import State, Upstream
from mux.cli import backends, control, text
from mux.config.names import label
from mux.errors import MuxError, UsageError
from mux.limits import LOG_FILES, LOG_LINES, LOG_POLL_SECONDS, READ_BYTES
from mux.rendezvous.paths import places

if TYPE_CHECKING:
    from mux.rendezvous.paths import Place


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux logs`'s part of the command line."""
    parser = commands.add_parser(
        "logs",
        help="print the backend's log, or what a server wrote to stderr",
        description="Print the end of the backend's log: one line per event, no payloads. With UPSTREAM: what that "
        "server wrote to its stderr, over all its restarts. The backend's log outlives it, a server's does not.",
        allow_abbrev=False,
    )
    control.add_socket_option(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on as it grows; Ctrl-C ends it")
    parser.add_argument("-n", "--lines", metavar="N", type=_count, default=LOG_LINES, help="default: %(default)s")
    words = "its number in `mux status`, or a part of its command"
    parser.add_argument("server", metavar="UPSTREAM", nargs="?", help=words)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print. Raises MuxError if there is nothing to print from, UsageError for a server that is not clear."""
    candidates = places(options.socket)
    answer = backends.ask(candidates)
    state = answer[1] if answer else None
    path = _own(candidates, state) if options.server is None else _servers(candidates, state, options.server)
    file = _open(path)
    try:
        for line in _last(path, file, options.lines):
            _print(line)
        if options.follow:
            _follow(path, file)
    finally:
        file.close()
    return 0


def _own(candidates: Sequence[Place], state: State | None) -> str:
    """The backend's log: of the one that runs, else of the last one. Raises MuxError."""
    if state is not None and state.backend is not None:
        if state.backend.log is None:
            raise MuxError(
                f"the backend at {state.backend.socket} runs in the foreground (pid {state.backend.pid}): "
                "read its log on that terminal"
            )
        return state.backend.log
    paths = [place.socket.removesuffix(".sock") + ".log" for place in candidates]
    found = next((path for path in paths if os.path.exists(path)), None)
    if found is None:
        what = f"there is no log yet: no backend has run at {candidates[0].socket}"
        raise MuxError(f"{what}. The first session starts one")
    return found


def _servers(candidates: Sequence[Place], state: State | None, word: str) -> str:
    """The stderr of one server, which may be gone or restarted. Raises MuxError, UsageError."""
    if state is None or state.backend is None:
        raise MuxError(
            f"no backend is running at {candidates[0].socket}, and what its servers wrote went with it. "
            "`mux logs` without a server says what the last one did"
        )
    stem = state.backend.socket.removesuffix(".sock")
    if word.isdigit():
        found = glob.glob(f"{glob.escape(stem)}-{int(word)}-*.err")
        known = next((upstream for upstream in state.upstreams if upstream.id == int(word)), None)
    else:
        known = _named(state.upstreams, word)
        found = [known.log] if known.log else []
    if found:
        return found[0]
    if known is None:
        raise UsageError(f"there is no server {word}. {_choice(state.upstreams)}")
    who = f"server {known.id} ({text.printable(label(known.command))})"
    raise MuxError(f"{who} has written nothing to its stderr; `mux logs` has what the backend saw of it")


def _named(upstreams: Sequence[Upstream], word: str) -> Upstream:
    found = [upstream for upstream in upstreams if word.lower() in " ".join(upstream.command).lower()]
    if len(found) != 1:
        problem = f"no server is called {word!r}" if not found else f"{word!r} fits {len(found)} servers"
        raise UsageError(f"{problem}. {_choice(found or upstreams)}")
    return found[0]


def _choice(upstreams: Sequence[Upstream]) -> str:
    if not upstreams:
        return "None runs now"
    lines = (f"  {upstream.id}  {text.command(upstream.command)}  in {upstream.cwd}" for upstream in upstreams)
    return "\n".join(["These run:", *map(text.printable, lines)])


def _open(path: str) -> BinaryIO:
    """Raises MuxError."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise MuxError(f"{path} cannot be read: {error.strerror or error}; `mux doctor` looks closer") from error


def _last(path: str, file: BinaryIO, count: int) -> Iterable[bytes]:
    """The last `count` lines of `file`, which is at `path`, and of those rotated away before it."""
    lines: collections.deque[bytes] = collections.deque(maxlen=count)
    for name in (f"{path}.{number}" for number in range(LOG_FILES - 1, 0, -1)):
        if os.path.exists(name):
            with _open(name) as older:
                lines.extend(older)
    lines.extend(file)
    return lines


def _follow(path: str, file: BinaryIO) -> None:
    """What is appended from now on, into the next file where one is rotated. Returns when the file is removed."""
    while True:
        _copy_rest(file)
        known = os.fstat(file.fileno())
        if not known.st_nlink:
            print(f"mux: {path} is gone: the backend has left", file=sys.stderr)
            return
        if _elsewhere(path, known):
            _copy_rest(file)
            with file:
                file = _open(path)
        else:
            time.sleep(LOG_POLL_SECONDS)


def _elsewhere(path: str, known: os.stat_result) -> bool:
    """Whether the file that was at `path` has been rotated away, and the next one is there."""
    try:
        return not os.path.samestat(os.stat(path), known)
    except FileNotFoundError:
        return False


def _copy_rest(file: BinaryIO) -> None:
    while data := file.read(READ_BYTES):
        _print(data)
    sys.stdout.flush()


def _print(data: bytes) -> None:
    """As it is; on a terminal without what could move its cursor."""
    if sys.stdout.isatty():
        for line in data.decode(errors="replace").splitlines(keepends=True):
            whole = line.endswith("\n")
            sys.stdout.write(text.printable(line.rstrip("\r\n").expandtabs()) + ("\n" if whole else ""))
    else:
        sys.stdout.buffer.write(data)


def _count(value: str) -> int:
    if not value.isdigit():
        raise argparse.ArgumentTypeError(f"{value} is not a number of lines")
    return int(value)
