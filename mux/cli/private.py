"""A backend of one's own, for `mux demo` and the bench: a socket in a fresh directory, and its end made sure."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from mux.backend import record
from mux.cli import control, processes
from mux.errors import MuxError
from mux.limits import DEMO_GRACE_SECONDS, STOP_STEP_SECONDS, SUN_PATH_BYTES
from mux.rendezvous.paths import Place

NAME = "demo.sock"


class PrivateBackend:
    """A place for a backend that the first shim starts. Leaving the block ends it, whatever happened."""

    def __init__(self, grace: float = DEMO_GRACE_SECONDS) -> None:
        self._grace = grace
        self._seen: list[psutil.Process] = []

    def __enter__(self) -> Self:
        directory = tempfile.mkdtemp(prefix="mux-demo-")
        if len(os.fsencode(Path(directory, NAME))) > SUN_PATH_BYTES:
            os.rmdir(directory)
            directory = tempfile.mkdtemp(prefix="mux-demo-", dir="/tmp")
        self._directory = Path(directory)
        self._place = Place(str(self._directory / NAME))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        processes.kill(self.leave())
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def socket(self) -> str:
        """The path of its socket."""
        return self._place.socket

    @property
    def shim(self) -> list[str]:
        """The beginning of a command that reaches this backend; a server's command follows it."""
        beside = Path(sys.executable).with_name("mux-shim")
        program = [str(beside)] if beside.exists() else [sys.executable, "-m", "mux.shim.main"]
        return [*program, "--socket", self._place.socket, "--grace", f"{self._grace:g}", "--fallback", "error"]

    def processes(self) -> tuple[psutil.Process, list[psutil.Process]]:
        """The backend, and its servers with all below them. Raises MuxError if none runs.

        It is found by its record: asking it would make it load what it measures with, and weigh more.
        """
        found = record.read(Path(self._place.record))
        running = processes.tree(found.process.pid) if found else []
        if not running:
            raise MuxError(f"no backend is running at {self._place.socket}")
        self._seen = running
        return running[0], running[1:]

    def check(self, sessions: int) -> None:
        """Raises MuxError unless the backend serves that many sessions."""
        state = control.ask([self._place], "status") or {}
        served = len(state.get("sessions", ()))
        if served != sessions:
            raise MuxError(f"the backend at {self._place.socket} serves {served} sessions, not {sessions}")

    def leave(self) -> list[psutil.Process]:
        """Wait until the backend has left by itself; returns what a bounded wait leaves of it and its servers."""
        patience = 2 * self._grace + 3 * STOP_STEP_SECONDS
        deadline = time.monotonic() + patience
        if not self._seen and self._held():
            with contextlib.suppress(MuxError):
                self.processes()
        psutil.wait_procs(self._seen, timeout=patience)
        while self._held() and time.monotonic() < deadline:
            time.sleep(0.02)
        return processes.alive(self._seen)

    def remains(self) -> list[str]:
        """What a backend that has left must not leave: its socket, a held lock. As phrases."""
        left: list[str] = []
        if os.path.exists(self._place.socket):
            left.append(f"the socket {self._place.socket}")
        if self._held():
            left.append(f"a holder of {self._place.lock}")
        return left

    def _held(self) -> bool:
        """Whether a process holds the lock, that is: a backend lives or starts."""
        import fcntl  # not on Windows, where `mux` can still say so

        try:
            descriptor = os.open(self._place.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False
