"""What the fault tests share: how often a profile repeats, a watch on the process table, and starters in numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import psutil

from mux.backend import memory
from tests.support.processes import GONE
from tests.support.runtime import Runtime
from tests.support.session import Failed, Session

FULL = os.environ.get("MUX_FAULTS") == "full"
"""`MUX_FAULTS=full pytest tests/faults` repeats everything as often as the product promises: hours."""

STAMP = [sys.executable, "-I", "-S", str(Path(__file__).with_name("stamp.py"))]
ATTACHER = str(Path(__file__).with_name("attacher.py"))
ROOT = str(Path(__file__).parents[2])


def times(fast: int, full: int) -> int:
    """How often this profile does it."""
    return full if FULL else fast


def report(text: str) -> None:
    """A number that is worth keeping; pytest shows it with -rP or -s."""
    print(f"faults: {text}")


class Watch:
    """Looks again and again how many backends of a socket are alive; `overlaps` holds pairs that were so at once."""

    def __init__(self, socket: Path) -> None:
        self._socket = os.fsencode(socket)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.overlaps: list[tuple[int, ...]] = []
        self.seen: set[int] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def now(self) -> list[int]:
        """Living backends of the socket. Not all of one instant: reading the table takes time."""
        found = [int(name) for name in os.listdir("/proc") if name.isdigit() and self._is_backend(name)]
        # Between fork and exec a backend's child looks like the backend.
        return [pid for pid in found if _parent(pid) not in found]

    def _run(self) -> None:
        while not self._stopping.wait(0.03):
            found = self.now()
            self.seen.update(found)
            if len(found) > 1 and all(self._is_backend(str(pid)) for pid in found):
                self.overlaps.append(tuple(found))

    def _is_backend(self, pid: str) -> bool:
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            return False
        return b"mux.backend.daemon" in words and self._socket in words


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0


class Attachers:
    """Processes that attach, say `initialize`, hear the answer, leave, and do it again."""

    def __init__(self, runtime: Runtime, lives: Path) -> None:
        self._runtime = runtime
        self._lives = lives
        self._running: list[tuple[subprocess.Popen[str], IO[str]]] = []

    def start(
        self,
        count: int,
        *,
        rounds: int = 1,
        grace: float = 0.0,
        pause: float = 0.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`count` more of them, each `rounds` times. environment: also of the backends that they start.

        pause: the longest rest between two rounds, seconds.
        """
        command = [sys.executable, "-P", ATTACHER, str(self._runtime.socket), str(rounds), f"{grace:g}"]
        command += [str(pause), *STAMP, str(self._lives)]
        for _ in range(count):
            told = tempfile.TemporaryFile("w+")  # noqa: SIM115 - no pipe: nobody reads before the end
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=told,
                stderr=subprocess.PIPE,
                text=True,
                cwd=self._runtime.project,
                env={**self._runtime.environment, "PYTHONPATH": ROOT, **(environment or {})},
            )
            self._running.append((process, told))

    def keep(self, count: int, **how: Any) -> None:
        """So many that go on until `end`: new ones, as `start` makes them, in place of those that were killed."""
        ended = [process for process, _ in self._running if process.poll() is not None]
        self.start(count - len(self._running) + len(ended), rounds=0, **how)

    def end(self) -> list[float]:
        """No more rounds; then as `results`."""
        for process, _ in self._running:
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
        return self.results()

    def kill(self) -> None:
        """All of them."""
        for process, _ in self._running:
            process.kill()

    def results(self, seconds: float = 600.0) -> list[float]:
        """Seconds of each attach of all of them, killed ones too. Fails if one failed that was not killed."""
        taken: list[float] = []
        failed: list[str] = []
        deadline = time.monotonic() + seconds
        for process, told in self._running:
            try:
                _, err = process.communicate(timeout=max(1.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                failed.append("an attacher hangs")
                process.kill()
                process.communicate()
            else:
                if process.returncode not in (0, -signal.SIGKILL):
                    failed.append(err)
            with told:
                told.seek(0)
                for outcome in map(json.loads, told):
                    if isinstance(outcome, float):
                        taken.append(outcome)
                    else:
                        failed.append(outcome)
        self._running.clear()
        assert not failed, "\n".join(failed[:10])
        return taken

    def heal(self) -> None:
        """What a killed process has left, one more session removes; then nothing is left."""
        self.start(1, grace=0.0)
        self.results()
        self._runtime.expect_empty()


def overlaps(lives: Path) -> list[str]:
    """Lives of servers that began while another of the kind was alive: the kernel knew by a lock."""
    try:
        return (lives / "overlaps").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def lives_of(lives: Path) -> int:
    """How many servers have begun to live."""
    try:
        return len((lives / "lives").read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        return 0


def slowest(taken: Iterable[float]) -> str:
    """Median and maximum, for a report."""
    ordered = sorted(taken) or [0.0]
    return f"{len(ordered)} attaches, p50 {ordered[len(ordered) // 2] * 1e3:.0f} ms, max {ordered[-1] * 1e3:.0f} ms"


def configure(runtime: Runtime, **limits: Any) -> None:
    """Limits for all sessions and backends of the test, in the user's file."""
    path = runtime.home / ".config" / "mux" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[limits]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in limits.items()))


def descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def private_bytes(pid: int) -> int:
    """What a process has written to. A clean page of a library is its alone only while no other process maps it."""
    found = memory.weigh([pid])
    assert found is not None
    return found.copy


def zombies(pid: int) -> list[int]:
    """Children of a process that have ended and were not waited for."""
    found = []
    for child in psutil.Process(pid).children():
        try:
            if child.status() == psutil.STATUS_ZOMBIE:
                found.append(child.pid)
        except GONE:
            continue
    return found


def served(session: Session) -> bool:
    """Whether a request gets its answer."""
    try:
        session.request("tools/list")
    except Failed:
        return False
    return True
