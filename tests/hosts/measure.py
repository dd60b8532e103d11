"""What each real host costs without us and with us: copies of its server, their memory, the time to its tools.

The server is context-mode. Memory is proportional (PSS): servers alone, or servers, shims and backend.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.report import machine
from tests.hosts.census import Census, census
from tests.hosts.fake_model import HELPER, FakeModel, Step
from tests.hosts.hosts import CLAUDE, CODEX, GEMINI, INSPECTOR, OPENCODE, Host
from tests.hosts.serve import Serve
from tests.hosts.stage import Stage, finish, patiently
from tests.support import processes
from tests.support.installed import Node
from tests.support.processes import eventually
from tests.support.runtime import DIRECT, SHIM, Runtime

SERVER = "context-mode"
TOOL = "ctx_stats"
SESSIONS = 4
DIRECTORIES = 16
WARM_STARTS = 3
MEASURE_SECONDS = 600.0
"""A bound, and no expectation."""

MANY_SESSIONS = (
    (OPENCODE, f"{SESSIONS} times `opencode run`, one directory"),
    (CLAUDE, f"{SESSIONS} times `claude -p`, one directory"),
    (CODEX, f"`codex exec` with {SESSIONS - 1} helpers"),
    (GEMINI, f"{SESSIONS} times `gemini -p`, one directory"),
    (INSPECTOR, f"{SESSIONS} times `mcp-inspector --cli`, one directory, in a call"),
)


@dataclasses.dataclass(frozen=True)
class Side:
    """One way of running it. tools: median seconds from the start of the host to its model's first sight of a tool."""

    census: Census
    tools: float | None = None


@contextlib.contextmanager
def stage(node: Node, mode: str) -> Generator[Stage]:
    """A world of its own, in which the server outlives each session for a while."""
    with tempfile.TemporaryDirectory(prefix="muxh-", dir="/tmp") as directory:
        place = Path(directory) / "world"
        os.environ[processes.MARK] = str(place)
        runtime = Runtime(place, grace=120)
        try:
            with Stage(runtime, node, mode=mode, server=[SERVER]) as world:
                yield world
        finally:
            runtime.close()
            del os.environ[processes.MARK]


def sessions(node: Node, host: Host, mode: str) -> Side:
    """Several at once in one directory, started one after the other, each with one call behind it; weighed asleep."""
    waiting: list[None] = []
    gate = threading.Event()

    def hold() -> None:
        waiting.append(None)
        gate.wait(MEASURE_SECONDS)

    with stage(node, mode) as world:
        alone = _warm(world, host) if host in (CODEX, INSPECTOR) else None
        with FakeModel(*_script(host, hold), helper=[Step(TOOL), Step(TOOL, before=hold)]) as model:
            actor = world.host(host, model)
            runs: list[subprocess.Popen[str]] = []
            seconds: list[float] = []
            for number in range(1, 2 if host is CODEX else SESSIONS + 1):
                began = time.monotonic()
                runs.append(actor.start())
                if host not in (CODEX, INSPECTOR):
                    eventually("it waits", functools.partial(_count, waiting, number), seconds=MEASURE_SECONDS)
                    seconds.append(model.offers[-1] - began)
            if host is INSPECTOR:
                patiently("all of them call", lambda: _in_flight(world, mode) == SESSIONS)
            else:
                eventually("all of them wait", lambda: len(waiting) >= SESSIONS, seconds=MEASURE_SECONDS)
            if mode == SHIM and host is not INSPECTOR:
                patiently("all shims sleep", lambda: _asleep(world))
            found = census(world, SERVER)
            gate.set()
            for run in runs:
                finish(run)
    return Side(found, statistics.median(seconds[1:]) if alone is None else alone)


def _count(waiting: list[None], number: int) -> bool:
    return len(waiting) >= number  # a host that is tired of waiting asks again


def _script(host: Host, hold: Callable[[], None]) -> Sequence[Step]:
    if host is INSPECTOR:
        return [Step("ctx_execute", {"language": "shell", "code": "sleep 45"})]
    spawn = Step("multi_agent_v1/spawn_agent", {"message": HELPER})
    first = [spawn] * (SESSIONS - 1) if host is CODEX else [Step(TOOL)]
    return [*first, Step(TOOL, before=hold)]


def _in_flight(world: Stage, mode: str) -> int:
    """How many sessions of the inspector have a server, and with us a call at it."""
    if mode == DIRECT:
        return census(world, SERVER).servers.processes
    return sum(each["in_flight"] for each in world.runtime.status()["sessions"])


def _asleep(world: Stage) -> bool:
    return all(each["parked"] for each in world.runtime.status()["sessions"])


def _warm(world: Stage, host: Host) -> float:
    """Median seconds to the tools of a session that follows others."""
    seconds: list[float] = []
    with FakeModel(Step(TOOL)) as model:
        actor = world.host(host, model)
        for _ in range(1 + WARM_STARTS):
            began = time.monotonic()
            actor.run()
            seconds.append((model.offers[-1] if model.offers else time.monotonic()) - began)
    return statistics.median(seconds[1:])


def directories(node: Node, mode: str) -> Side:
    """One `opencode serve`, touched in many directories."""
    with stage(node, mode) as world, FakeModel() as model:
        places = [world.runtime.project / str(number) for number in range(DIRECTORIES)]
        for place in places:
            place.mkdir()
        serve = Serve(world.host(OPENCODE, model))
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(serve.connected, places))
        if mode == SHIM:
            patiently("all shims sleep", lambda: _asleep(world))
        return Side(census(world, SERVER))


def table(node: Node, names: Collection[str] = ()) -> Iterator[str]:
    """The table, line by line as it is measured, in Markdown; of the hosts with these names, by default of all."""
    yield "| | servers | memory | until the model has the tools |"
    yield "| --- | ---: | ---: | ---: |"
    for host, what in MANY_SESSIONS:
        if not names or host.name in names:
            yield _row(f"{host}: {what}", *(sessions(node, host, mode) for mode in (DIRECT, SHIM)))
    if not names or OPENCODE.name in names:
        what = f"opencode: one `opencode serve`, {DIRECTORIES} directories"
        yield _row(what, *(directories(node, mode) for mode in (DIRECT, SHIM)))
    about = machine()
    yield ""
    where = f"{about['cores']} cores of {about['cpu']}, load {about['load'][0]}, {about['date']}"
    yield f"`python -m tests.hosts --table`: context-mode as the server; {where}."


def _row(what: str, before: Side, after: Side) -> str:
    servers = " → ".join(str(side.census.servers.processes) for side in (before, after))
    memory = " → ".join(f"{side.census.total.fair / 1e6:.0f} MB" for side in (before, after))
    seconds = " → ".join(f"{side.tools:.1f} s" for side in (before, after) if side.tools is not None)
    return f"| {what} | {servers} | {memory} | {seconds} |"
