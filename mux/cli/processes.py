"""Processes and what they weigh."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import psutil

from mux.cli.text import printable


@dataclasses.dataclass(frozen=True)
class Weight:
    """Memory of some processes together, bytes.

    rss counts shared pages once per process, so a sum of it overstates. proportional (PSS) splits shared pages among
    their users: sums are true; None where the system has no such number (macOS). private is what an exit would free.
    """

    processes: int
    rss: int
    proportional: int | None
    private: int

    def __add__(self, other: Weight) -> Weight:
        pair = (self.proportional, other.proportional)
        return Weight(
            self.processes + other.processes,
            self.rss + other.rss,
            None if pair[0] is None or pair[1] is None else pair[0] + pair[1],
            self.private + other.private,
        )

    @property
    def fair(self) -> int:
        """The number to compare sums by: proportional where there is one, else private."""
        return self.private if self.proportional is None else self.proportional

    @property
    def each(self) -> float:
        """The fair weight of one of them, on average."""
        return self.fair / max(1, self.processes)


NOTHING = Weight(0, 0, 0, 0)


def weigh(processes: Iterable[psutil.Process]) -> Weight:
    """The weight of those that still run and that we may look into."""
    total = NOTHING
    for process in processes:
        try:
            memory = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        total += Weight(1, memory.rss, getattr(memory, "pss", None), memory.uss)
    return total


def tree(pid: int) -> list[psutil.Process]:
    """The process and all its descendants; empty if it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that still run: the same pid with the same start time, and no zombie."""
    living: list[psutil.Process] = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
        except psutil.NoSuchProcess:
            continue
    return living


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL to those that still run. psutil compares the start time, so a stranger with a reused pid is safe."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def phrases(processes: Iterable[psutil.Process]) -> list[str]:
    """`process 123 (name)` for each of those that still run."""
    said: list[str] = []
    for process in alive(processes):
        try:
            said.append(f"process {process.pid} ({printable(process.name())})")
        except psutil.NoSuchProcess:
            continue
    return said
