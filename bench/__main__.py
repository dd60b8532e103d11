"""`python -m bench`: direct against through the shim, alternating, as JSON and as tables.

A run takes about a minute and keeps two cores busy. What else runs on the machine is in the numbers too.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from bench.load import Lane, rate, round_trips
from bench.report import embedded, machine, markdown
from mux.cli import interrupts, processes
from mux.cli.client import Client
from mux.cli.fleet import Fleet
from mux.cli.private import PrivateBackend
from mux.cli.text import Progress
from mux.errors import MuxError

Json = dict[str, Any]

SERVER = (sys.executable, str(Path(__file__).with_name("echo.py")))
WATCHDOG_SECONDS = 600


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int = 5
    round_trips: int = 2000
    rate_seconds: float = 2.0
    warm_starts: int = 30
    cold_starts: int = 5
    sessions: tuple[int, ...] = (1, 8, 26)


QUICK = Sizes(rounds=1, round_trips=200, rate_seconds=0.2, warm_starts=3, cold_starts=1, sessions=(1, 8))


class Bench:
    """All measurements of one run, each of both ways in turn."""

    def __init__(self, sizes: Sizes, progress: Progress) -> None:
        self._sizes = sizes
        self._progress = progress

    def run(self) -> Json:
        """Everything. Raises MuxError if a session fails or an answer is wrong."""
        with PrivateBackend(grace=5.0) as backend:
            measured: Json = {
                "round_trip": self._round_trip(backend),
                "rate_1": self._rate(backend, 1),
                "rate_8": self._rate(backend, 8),
                "warm_start": self._warm_start(backend),
            }
        measured["cold_start"] = self._cold_start()
        measured["memory"] = [self._memory(count) for count in self._sizes.sessions]
        return measured

    def _round_trip(self, backend: PrivateBackend) -> Json:
        with self._both(backend, 1) as ways:
            times: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(self._sizes.rounds):
                self._progress.step("round trips", number + 1, self._sizes.rounds)
                for way, lanes in ways.items():
                    times[way] += round_trips(lanes[0], self._sizes.round_trips)
        answer: Json = {way: _spread(values) for way, values in times.items()}
        answer["added_p50_us"] = answer["shim"]["p50_us"] - answer["direct"]["p50_us"]
        answer["added_p99_us"] = answer["shim"]["p99_us"] - answer["direct"]["p99_us"]
        return answer

    def _rate(self, backend: PrivateBackend, sessions: int) -> Json:
        with self._both(backend, sessions) as ways:
            rates: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(self._sizes.rounds):
                self._progress.step(f"rate with {sessions} sessions", number + 1, self._sizes.rounds)
                for way, lanes in ways.items():
                    rates[way].append(rate(lanes, self._sizes.rate_seconds))
        return {way: round(statistics.median(values)) for way, values in rates.items()}

    def _warm_start(self, backend: PrivateBackend) -> Json:
        times: dict[str, list[float]] = {"direct": [], "shim": []}
        with self._fleet([*backend.shim, *SERVER], 1):
            for number in range(self._sizes.warm_starts):
                self._progress.step("warm starts", number + 1, self._sizes.warm_starts)
                for way, argv in (("direct", SERVER), ("shim", (*backend.shim, *SERVER))):
                    times[way].append(self._start(argv))
        return {way: _ms(values) for way, values in times.items()}

    def _cold_start(self) -> Json:
        times: list[float] = []
        for number in range(self._sizes.cold_starts):
            self._progress.step("cold starts", number + 1, self._sizes.cold_starts)
            with PrivateBackend(grace=0.1) as backend:
                times.append(self._start([*backend.shim, *SERVER]))
        return {"shim": _ms(times)}

    def _start(self, argv: Sequence[str]) -> float:
        """Seconds from the start of the process to its `initialize` answer."""
        with self._fleet(argv, 0) as fleet:
            began = time.perf_counter()
            with interrupts.deferred():
                client = Client(argv)
                fleet.clients.append(client)
            client.initialize()
            return time.perf_counter() - began

    def _memory(self, sessions: int) -> Json:
        self._progress.step(f"memory of {sessions} sessions")
        with PrivateBackend() as backend, self._fleet([*backend.shim, *SERVER], sessions) as fleet:
            fleet.call(("echo", {"text": "x"}))
            main, servers = backend.processes()
            shims = [processes.weigh([shim]).private for shim in fleet.trees()]
            weights = {
                "sessions": sessions,
                "shim_private": round(statistics.median(shims)),
                "backend_private": processes.weigh([main]).private,
                "server_private": processes.weigh(servers).private,
                "server_processes": len(servers),
            }
            backend.check(sessions)
            return weights

    @contextlib.contextmanager
    def _both(self, backend: PrivateBackend, sessions: int) -> Generator[dict[str, list[Lane]], None, None]:
        with self._fleet(SERVER, sessions) as direct, self._fleet([*backend.shim, *SERVER], sessions) as shim:
            backend.check(sessions)
            yield {
                "direct": [Lane(client) for client in direct.clients],
                "shim": [Lane(client) for client in shim.clients],
            }

    @contextlib.contextmanager
    def _fleet(self, argv: Sequence[str], sessions: int) -> Generator[Fleet, None, None]:
        with Fleet("bench", argv, ["/"], Progress(open(os.devnull, "w"))) as fleet:
            fleet.start(sessions)
            yield fleet


def _spread(values: Sequence[float]) -> Json:
    ordered = sorted(value * 1e6 for value in values)
    return {
        "p50_us": round(ordered[len(ordered) // 2], 1),
        "p99_us": round(ordered[len(ordered) * 99 // 100], 1),
        "calls": len(ordered),
    }


def _ms(values: Sequence[float]) -> Json:
    ordered = sorted(value * 1e3 for value in values)
    return {"p50_ms": round(ordered[len(ordered) // 2], 1), "worst_ms": round(ordered[-1], 1), "starts": len(ordered)}


def main() -> int:
    """Measure, write `latest.json` and `latest.md`, print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the multiplexer.", allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results"), metavar="DIR")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="put the tables between its `bench` marks, too")
    parser.add_argument("--quick", action="store_true", help="a few seconds: whether it works, not how fast it is")
    options = parser.parse_args()
    interrupts.install()
    signal.alarm(WATCHDOG_SECONDS)
    try:
        with contextlib.closing(Progress()) as progress:
            result = {"machine": machine(), **Bench(QUICK if options.quick else Sizes(), progress).run()}
    except MuxError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "latest.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (options.out / "latest.md").write_text(markdown(result), encoding="utf-8")
    if options.readme:
        text = options.readme.read_text(encoding="utf-8")
        options.readme.write_text(embedded(text, markdown(result)), encoding="utf-8")
    print(markdown(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
