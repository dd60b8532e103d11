"""What is measured of each way, all ways in turn within one round, so that a disturbance meets all of them."""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from bench.load import SIZES, Lane, rate, round_trips
from bench.sessions import Sessions
from bench.ways import AWAKE, Crew, Ours, Way
from mux.cli import processes
from mux.errors import MuxError

Json = dict[str, Any]
Step = Callable[[str], None]

PARK_AFTER = "0.5"
PATIENCE_SECONDS = 180.0
SETTLE_SECONDS = 1.0
WOKEN = 20
"""Sleeping sessions that are woken to see how long it takes."""


@dataclass(frozen=True)
class Amount:
    """How much is measured. calls: per round and size, and no more than fit into `seconds`.

    apart: of which crowd each session has a server of its own, too.
    """

    rounds: int = 5
    calls: tuple[int, ...] = (2000, 1000, 300, 60)
    seconds: float = 5.0
    rate_seconds: float = 2.0
    rate_sessions: tuple[int, ...] = (1, 8, 64)
    warm_starts: int = 30
    cold_starts: int = 5
    crowds: tuple[int, ...] = (1, 8, 26, 50, 100, 1000)
    apart: int = 50
    idle_seconds: float = 10.0


QUICK = Amount(
    rounds=1,
    calls=(200, 100, 20, 5),
    seconds=1.0,
    rate_seconds=0.3,
    rate_sessions=(1, 8),
    warm_starts=3,
    cold_starts=1,
    crowds=(1, 8),
    apart=8,
    idle_seconds=1.0,
)


def spread(values: Sequence[float], unit: float, digits: int = 1) -> Json:
    """Quantiles of `values`, which are seconds, in `unit` of them."""
    ordered = sorted(values)
    at = {"p50": 0.5, "p99": 0.99, "low": 0.0, "high": 1.0}
    last = len(ordered) - 1
    return {
        "n": len(ordered),
        **{name: round(ordered[min(last, int(len(ordered) * share))] / unit, digits) for name, share in at.items()},
    }


@contextlib.contextmanager
def lanes(ways: Sequence[Way], count: int) -> Generator[dict[str, list[Lane]]]:
    """`count` sessions of each way that can have them, all alive at once. Raises MuxError."""
    with contextlib.ExitStack() as stack:
        found: dict[str, list[Lane]] = {}
        for way in ways:
            if count <= way.most:
                argv = stack.enter_context(way.ready())
                sessions = stack.enter_context(Sessions(argv, way.environment()))
                sessions.start(count)
                found[way.name] = [Lane(client) for client in sessions.clients]
        yield found


def trips(ways: Sequence[Way], amount: Amount, step: Step) -> Json:
    """Round trips of one session, by size of the request: microseconds. medians: of the rounds, for their spread."""
    result: Json = {}
    with lanes(ways, 1) as found:
        for size, calls in zip(SIZES, amount.calls, strict=True):
            times: dict[str, list[list[float]]] = {name: [] for name in found}
            for number in range(amount.rounds):
                step(f"round trips of {size} bytes, round {number + 1} of {amount.rounds}")
                for name, (lane,) in found.items():
                    times[name].append(round_trips(lane, calls, size, within=amount.seconds))
            result[str(size)] = {
                name: spread([value for part in parts for value in part], 1e-6)
                | {"medians": [round(statistics.median(part) * 1e6, 1) for part in parts]}
                for name, parts in times.items()
            }
    return result


def rates(ways: Sequence[Way], amount: Amount, step: Step) -> Json:
    """Answers per second, by number of sessions."""
    result: Json = {}
    for count in amount.rate_sessions:
        with lanes(ways, count) as found:
            rounds: dict[str, list[float]] = {name: [] for name in found}
            for number in range(amount.rounds):
                step(f"rates of {count} sessions, round {number + 1} of {amount.rounds}")
                for name, those in found.items():
                    rounds[name].append(rate(those, amount.rate_seconds))
        result[str(count)] = {name: spread(values, 1.0, 0) for name, values in rounds.items()}
    return result


def starts(ways: Sequence[Way], amount: Amount, step: Step) -> Json:
    """Milliseconds from a session's start to its `initialize` answer. warm: beside one that lives. cold: the first."""
    times: Json = {"warm": {way.name: [] for way in ways}, "cold": {way.name: [] for way in ways}}
    with contextlib.ExitStack() as stack:
        warm: dict[str, tuple[Way, Sequence[str]]] = {}
        for way in ways:
            argv = stack.enter_context(way.ready())
            stack.enter_context(Sessions(argv, way.environment())).start(1)
            warm[way.name] = way, argv
        for number in range(amount.warm_starts):
            step(f"warm starts, {number + 1} of {amount.warm_starts}")
            for name, (way, argv) in warm.items():
                times["warm"][name].append(_start(way, argv))
    for number in range(amount.cold_starts):
        step(f"cold starts, {number + 1} of {amount.cold_starts}")
        for way in ways:
            began = time.perf_counter()
            with way.ready(grace=0.1) as argv, Sessions(argv, way.environment()) as sessions:
                sessions.start(1)
                times["cold"][way.name].append(time.perf_counter() - began)
    return {kind: {name: spread(values, 1e-3) for name, values in by_way.items()} for kind, by_way in times.items()}


def _start(way: Way, argv: Sequence[str]) -> float:
    with Sessions(argv, way.environment()) as sessions:
        sessions.start(1)
        return sessions.started[0]


def crowds(ways: Sequence[Way], amount: Amount, step: Step) -> list[Json]:
    """Many sessions at once that do nothing: what they weigh, how they start, and whether they rest."""
    result: list[Json] = []
    for count in amount.crowds:
        for way in ways:
            if way.weighed and count <= way.most:
                for park_after in (AWAKE, PARK_AFTER) if isinstance(way, Ours) else (AWAKE,):
                    step(f"{count} sessions, {way.name}{'' if park_after == AWAKE else ', asleep'}")
                    result.append(crowd(way, count, amount, park_after))
            if isinstance(way, Ours) and count == amount.apart:
                step(f"{count} sessions, {way.name}, each with a server of its own")
                with tempfile.TemporaryDirectory() as folder:
                    places = [os.path.join(folder, str(number)) for number in range(count)]
                    for place in places:
                        os.mkdir(place)
                    result.append(crowd(way, count, amount, directories=places))
    return result


def crowd(way: Way, count: int, amount: Amount, park_after: str = AWAKE, directories: Sequence[str] = ("/",)) -> Json:
    """`count` sessions of one way. Weights are bytes, wake-ups are voluntary context switches."""
    with (
        way.ready(park_after=park_after) as argv,
        Sessions(argv, way.environment(), directories) as sessions,
    ):
        sessions.start(count)
        if park_after != AWAKE:
            _wait_for_sleep(sessions.pids)
        time.sleep(SETTLE_SECONDS)
        crew = way.crew(sessions.pids)
        result: Json = {"way": way.name, "sessions": count, "asleep": park_after != AWAKE}
        result["start_ms"] = spread(sessions.started[1:] or sessions.started, 1e-3)
        result["shared"], result["servers"] = weight(crew.shared), weight(crew.servers)
        result["each"] = _each(crew)
        result["total"] = weight([*crew.sessions, *crew.shared, *crew.servers])
        result["idle"] = _idle(crew, amount.idle_seconds)
        answered = [_wake(sessions, number) for number in range(min(WOKEN, count))]
        result["first_call_ms"] = spread(answered, 1e-3)
        result["round_trip_us"] = spread(round_trips(Lane(sessions.clients[0]), amount.calls[1]), 1e-6)
        return result


def weight(found: Collection[psutil.Process]) -> Json:
    """Of some processes together. PSS shares what is shared among all who have it."""
    total = processes.weigh(found)
    return {"processes": total.processes, "rss": total.rss, "pss": total.proportional, "private": total.private}


def _each(crew: Crew) -> Json:
    """The median over the sessions' own processes; where a session is nothing but a server, over those."""
    weights = [processes.weigh([process]) for process in crew.sessions or crew.servers]
    return {
        "rss": round(statistics.median(one.rss for one in weights)),
        "pss": round(statistics.median(one.proportional or 0 for one in weights)),
        "private": round(statistics.median(one.private for one in weights)),
    }


def _idle(crew: Crew, seconds: float) -> Json:
    """Wake-ups and CPU time per second, of all the sessions' processes, and of what they share."""
    groups = {"sessions": crew.sessions, "shared": crew.shared}
    before = {name: _activity(found) for name, found in groups.items()}
    time.sleep(seconds)
    result: Json = {}
    for name, found in groups.items():
        switches, cpu = (now - then for now, then in zip(_activity(found), before[name], strict=True))
        result[name] = {"wakeups": round(switches / seconds, 2), "cpu_ms": round(cpu / seconds * 1e3, 2)}
    return result


def _activity(found: Collection[psutil.Process]) -> tuple[int, float]:
    switches, cpu = 0, 0.0
    for process in found:
        with contextlib.suppress(psutil.Error):
            switches += process.num_ctx_switches().voluntary
            cpu += sum(process.cpu_times()[:2])
    return switches, cpu


def _wake(sessions: Sessions, number: int) -> float:
    began = time.perf_counter()
    sessions.clients[number].request("ping")
    return time.perf_counter() - began


def _wait_for_sleep(pids: Sequence[int]) -> None:
    """Until every shim is a shell. Raises MuxError if one stays awake."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    waiting = [psutil.Process(pid) for pid in pids]
    while waiting := [process for process in waiting if process.cmdline()[:2] != ["sh", "-c"]]:
        if time.monotonic() > deadline:
            raise MuxError(f"{len(waiting)} sessions do not fall asleep")
        time.sleep(0.1)


def everything(ways: Sequence[Way], amount: Amount, step: Step) -> Json:
    """All measurements. Raises MuxError if a session fails or an answer is wrong."""
    return {
        "round_trip": trips(ways, amount, step),
        "rate": rates(ways, amount, step),
        "start": starts(ways, amount, step),
        "crowd": crowds(ways, amount, step),
    }
