"""The process table, as far as a test's own processes go.

A process of ours is known by the mark in its environment, or, where the environment was scrubbed, by the test's
directory in its command line.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

MARK = "MUXTEST_RUN"
"""Environment variable that every process of a test run inherits; its value is the test's directory."""

GONE = (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied, FileNotFoundError, ProcessLookupError)


def marked(directory: Path) -> list[psutil.Process]:
    """Living processes that belong to `directory` or to one below it, but not this one. Zombies are dead."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if process.status() != psutil.STATUS_ZOMBIE and _belongs(process, str(directory)):
                found.append(process)
        except GONE:
            continue
    return found


def _belongs(process: psutil.Process, directory: str) -> bool:
    mark = process.environ().get(MARK, "")
    if mark == directory or mark.startswith(f"{directory}/"):
        return True
    return any(argument.startswith(f"{directory}/") for argument in process.cmdline())


def running(pid: int) -> bool:
    """Whether `pid` lives. For a number that was surely a process of ours a moment ago."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except GONE:
        return False


def tree(pid: int) -> list[psutil.Process]:
    """The process and all its descendants, as they are now."""
    top = psutil.Process(pid)
    return [top, *top.children(recursive=True)]


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL, to these and no others: psutil compares the start time first."""
    for process in processes:
        try:
            process.kill()
        except GONE:
            continue


def describe(processes: Iterable[psutil.Process]) -> list[str]:
    """One line for each, for a failure's message."""
    lines: list[str] = []
    for process in processes:
        try:
            lines.append(f"pid {process.pid} of parent {process.ppid()}: {' '.join(process.cmdline())}")
        except GONE:
            lines.append(f"pid {process.pid}, gone by now")
    return lines


def eventually(what: str, look: Callable[[], T], *, seconds: float = 20.0) -> T:
    """Look until the answer is true, and return it. Fails, naming `what`, after a bound that is no expectation."""
    deadline = time.monotonic() + seconds
    while not (value := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s it is not so that {what}")
        time.sleep(0.01)
    return value
