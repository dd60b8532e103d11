"""What the servers of some hosts weigh, and what the multiplexer weighs that shares them."""

from __future__ import annotations

import dataclasses

import psutil

from mux.cli.processes import Weight, weigh
from tests.hosts.stage import Stage
from tests.support import processes
from tests.support.processes import GONE


@dataclasses.dataclass(frozen=True)
class Census:
    """Without us there are only servers."""

    servers: Weight
    shims: Weight
    backend: Weight

    @property
    def total(self) -> Weight:
        return self.servers + self.shims + self.backend

    def __str__(self) -> str:
        megabytes = self.total.fair / 1e6
        return f"{self.servers.processes} servers, {megabytes:.0f} MB with {self.shims.processes} shims and backend"


def census(stage: Stage, program: str) -> Census:
    """Count the servers, by the last word of their program's path, below the stage's hosts or below its backend."""
    backends = stage.runtime.backends()
    below = [process for backend in backends for process in backend.children(recursive=True)]
    hosts = [process for host in stage.started if host.poll() is None for process in processes.tree(host.pid)]
    shims = [process for process in hosts if any("mux-shim" in word for word in _words(process))]
    direct = [process for process in hosts if process not in shims]
    servers = [each for each in (*below, *direct) if any(word.endswith(program) for word in _words(each)[:2])]
    return Census(weigh(servers), weigh(shims), weigh(backends))


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except GONE:
        return []
