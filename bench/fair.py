"""`python -m bench.fair [ROUNDS]`: how much a session that floods slows another one. Prints JSON.

One session makes calls one at a time, first alone, then while another keeps as many open as fit. Both have a server of
their own without the multiplexer (what the machine itself costs), then with it, then they share one server.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from bench.load import DEPTH, Lane, round_trips
from mux.cli import interrupts
from mux.cli.client import Client
from mux.cli.private import PrivateBackend
from mux.errors import MuxError

Json = dict[str, Any]

SERVER = (sys.executable, str(Path(__file__).with_name("echo.py")))
OTHER = (*SERVER, "other")
"""The same program; the argument makes it another server."""

ROUNDS = 9
CALLS = 2000
FLOOD_SECONDS = 600.0
END_SECONDS = 10.0


@contextlib.contextmanager
def session(argv: Sequence[str]) -> Generator[Lane]:
    """An initialised session of `argv`. Raises MuxError."""
    with interrupts.deferred():
        client = Client(argv)
    try:
        client.initialize()
        yield Lane(client)
    finally:
        client.end_input()
        client.wait(END_SECONDS)
        client.close()


@contextlib.contextmanager
def flooded(argv: Sequence[str]) -> Generator[None]:
    """Another process floods a session of `argv` within the block. Raises MuxError."""
    with subprocess.Popen(
        [sys.executable, "-m", __spec__.name, "--flood", *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as flooder:
        assert flooder.stdout is not None
        try:
            if not flooder.stdout.readline():
                raise MuxError("the flood did not begin")
            yield
        finally:
            flooder.communicate()


def flood(argv: Sequence[str]) -> None:
    """Keep DEPTH requests open until stdin ends. Says when it begins."""
    import select

    with session(argv) as lane:
        lane.send(DEPTH)
        print("flooding", flush=True)
        ends = time.monotonic() + FLOOD_SECONDS
        while time.monotonic() < ends:
            ready = select.select([0, lane.source], [], [])[0]
            if 0 in ready:
                break
            lane.send(lane.receive())
        while lane.open:
            lane.receive()


def measure(quiet: Sequence[str], loud: Sequence[str], rounds: int) -> Json:
    """Microseconds of a call of `quiet`, alone and beside a flood of `loud`, in turn. Raises MuxError."""
    alone: list[list[float]] = []
    beside: list[list[float]] = []
    with session(quiet) as lane:
        round_trips(lane, CALLS // 10)
        for _ in range(rounds):
            alone.append(round_trips(lane, CALLS))
            with flooded(loud):
                beside.append(round_trips(lane, CALLS))
    found: Json = {"alone": spread(alone), "beside_a_flood": spread(beside)}
    found["ratio"] = {
        name: round(found["beside_a_flood"][f"{name}_us"] / found["alone"][f"{name}_us"], 2) for name in ("p50", "p99")
    }
    return found


def spread(rounds: list[list[float]]) -> Json:
    """Of round trips, in whole microseconds: the median of the rounds."""
    parts = [statistics.quantiles(seconds, n=100) for seconds in rounds]
    return {f"p{n}_us": round(statistics.median(part[n - 1] for part in parts) * 1e6) for n in (50, 99)}


def main() -> int:
    """Measure and print."""
    interrupts.install()
    try:
        if sys.argv[1:2] == ["--flood"]:
            flood(sys.argv[2:])
            return 0
        rounds = int(sys.argv[1]) if sys.argv[1:] else ROUNDS
        with PrivateBackend(grace=2.0) as backend:
            shim = [*backend.shim, "--park-after", "0"]
            found = {
                "without_the_multiplexer": measure(SERVER, OTHER, rounds),
                "another_server": measure([*shim, *SERVER], [*shim, *OTHER], rounds),
                "the_same_server": measure([*shim, *SERVER], [*shim, *SERVER], rounds),
            }
        print(json.dumps(found, indent=2))
    except MuxError as error:
        print(f"bench.fair: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
