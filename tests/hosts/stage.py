"""Real hosts at work in a test's own world, and the processes of their server."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.hosts.fake_model import FakeModel
from tests.hosts.hosts import Host, Setup
from tests.support import processes
from tests.support.installed import Node
from tests.support.processes import GONE, eventually
from tests.support.runtime import SCRIPTED, SHIM, Runtime

RUN_SECONDS = 200.0
"""A bound, and no expectation: opencode alone takes 30 s on a busy machine."""


def patiently(what: str, look: Callable[[], object]) -> None:
    """`eventually`, looking twice a second: to ask the backend, or all processes, costs a busy machine too much."""

    def seldom() -> object:
        time.sleep(0.5)
        return look()

    eventually(what, seldom, seconds=RUN_SECONDS)


class Stage:
    """The world of one test with its hosts. Leaving it ends those that still run."""

    def __init__(
        self,
        runtime: Runtime,
        node: Node,
        *,
        mode: str = SHIM,
        options: Sequence[str] = (),
        server: Sequence[str] = (),
    ) -> None:
        """server: its command, by default that of the scripted one."""
        self.runtime = runtime
        self.node = node
        self.lives_at = runtime.directory / "lives"
        server = server or [*SCRIPTED, "--lives", str(self.lives_at)]
        self.command = runtime.shim(*server, options=options) if mode == SHIM else [*server]
        self.started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.started:
            kill(process)

    def host(self, host: Host, model: FakeModel, *, impatient: bool = False) -> Actor:
        """Configure it. A second call for the same host replaces the first."""
        setup = Setup(self.runtime.home, model, self.command, impatient)
        environment = {
            **self.runtime.environment,
            **host.configure(setup),
            "PATH": self.node.path,
            "NO_PROXY": "127.0.0.1,localhost",
            "GEMINI_CLI_NO_RELAUNCH": "true",  # one process, so that a signal reaches the host itself
        }
        return Actor(self, host, setup, environment)

    def kill_server(self) -> None:
        """SIGKILL to the only server, and wait until the backend has noticed: a call can then be in its way no more."""
        (server,) = self.runtime.status()["upstreams"]
        os.kill(server["pid"], signal.SIGKILL)
        patiently("the backend knows that its server is dead", lambda: server["pid"] not in self.serving())

    def serving(self) -> list[int | None]:
        """Pids of the servers that the backend has now."""
        return [each["pid"] for each in self.runtime.status()["upstreams"]]

    def lives(self) -> list[int]:
        """Pids of all server processes that there ever were, the first one first."""
        path = self.lives_at / "lives"
        return [int(line.split()[0]) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


class Actor:
    """One host, configured; each `start` is a process of it."""

    def __init__(self, stage: Stage, host: Host, setup: Setup, environment: dict[str, str]) -> None:
        self.stage = stage
        self.host = host
        self.setup = setup
        self.environment = environment

    def start(self, words: Sequence[str] | None = None, cwd: Path | None = None) -> subprocess.Popen[str]:
        """By default a run of the model's script, in the project."""
        cwd = cwd or self.stage.runtime.project
        process = subprocess.Popen(
            words or self.host.run(self.setup),
            env={**self.environment, "PWD": str(cwd)},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.stage.started.append(process)
        return process

    def run(self, words: Sequence[str] | None = None, cwd: Path | None = None) -> str:
        """Start it and wait; what it printed. Fails if it did."""
        return finish(self.start(words, cwd))


def finish(process: subprocess.Popen[str]) -> str:
    """What it printed, once it has ended well."""
    said = process.communicate(timeout=RUN_SECONDS)[0]
    assert process.returncode == 0, f"exit code {process.returncode}: {said}"
    return said


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to all processes of the host, and to none that serves it: these must see by themselves."""
    end(process, signal.SIGKILL)
    process.communicate(timeout=RUN_SECONDS)


def end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """A signal to the host; SIGKILL also to its helpers, which would live on for a while."""
    try:
        family = processes.tree(process.pid) if number == signal.SIGKILL else [psutil.Process(process.pid)]
    except GONE:
        return
    for each in family:
        try:
            if each.pid == process.pid or not _serves(each):
                os.kill(each.pid, number)
        except GONE:
            continue


def _serves(process: psutil.Process) -> bool:
    """Whether it is a shim, asleep or not, or a server."""
    return any("mux-shim" in word or word.endswith("scripted.py") for word in process.cmdline())
