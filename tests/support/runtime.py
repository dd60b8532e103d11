"""A test's own world: directory, socket, environment, sessions, and the proof that nothing of it is left."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.support import processes
from tests.support.processes import GONE, MARK, eventually
from tests.support.session import Session, Stdio

Json = dict[str, Any]

SCRIPTED = [sys.executable, str(Path(__file__).parents[1] / "upstreams" / "scripted.py")]
SDK = str(Path(__file__).parents[1] / "upstreams" / "sdk.py")

DIRECT, SHIM = "direct", "shim"
MODES = (DIRECT, SHIM)
"""The same behaviour is tested in every mode; a difference is a bug."""

GRACE = 0.3
"""Seconds; short, so that a test sees the end, yet longer than a session needs to follow another."""

PARK_AFTER = os.environ.get("MUX_TEST_PARK_AFTER", "")
"""Seconds; with it every session of every test sleeps whenever it is quiet for so long."""


def program(name: str) -> str:
    """One of the package's commands, from the environment that runs the tests."""
    return str(Path(sys.executable).with_name(name))


class Runtime:
    """One socket in a directory of mode 0700; `project` is the directory that sessions start in."""

    def __init__(self, directory: Path, *, grace: float = GRACE) -> None:
        directory.mkdir(mode=0o700)
        self.directory = directory
        self.grace = grace
        self.socket = directory / "s.sock"
        self.lock = directory / "s.lock"
        self.record = directory / "s.json"
        self.project = directory / "project"
        self.project.mkdir()
        self.home = directory / "home"
        self.home.mkdir()
        self.sessions: list[Session] = []
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MUX_")},
            MARK: str(directory),
            "HOME": str(self.home),
            "PWD": str(self.project),
            **({"MUX_PARK_AFTER": PARK_AFTER} if PARK_AFTER else {}),
        }

    def shim(self, *command: str, options: Sequence[str] = ()) -> list[str]:
        """The command line that a host's configuration would hold."""
        return [program("mux-shim"), "--socket", str(self.socket), "--grace", f"{self.grace:g}", *options, *command]

    def session(
        self,
        *command: str,
        mode: str = SHIM,
        options: Sequence[str] = (),
        cwd: Path | None = None,
        environment: Mapping[str, str | None] | None = None,
        stdio: Stdio = "pipe",
        read: bool = True,
    ) -> Session:
        """Start a session of `command`, by default of the scripted server. It is closed with the runtime.

        environment: beside the runtime's own; None takes a name away.
        """
        command = command or tuple(SCRIPTED)
        wanted: dict[str, str | None] = {**self.environment, **(environment or {})}
        session = Session(
            self.shim(*command, options=options) if mode == SHIM else command,
            environment={name: value for name, value in wanted.items() if value is not None},
            cwd=cwd or self.project,
            stdio=stdio,
            read=read,
        )
        self.sessions.append(session)
        return session

    def ready(self, *command: str, **how: Any) -> Session:
        """A session that has shaken hands."""
        session = self.session(*command, **how)
        session.initialize()
        return session

    def mux(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the operator's command."""
        return subprocess.run(
            [program("mux"), *arguments],
            env=self.environment,
            cwd=self.project,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=60,
            check=False,
        )

    def status(self) -> Json:
        """What `mux status --json` prints."""
        done = self.mux("status", "--json", "--socket", str(self.socket))
        assert done.returncode == 0, done.stderr
        state: Json = json.loads(done.stdout)
        return state

    def processes(self) -> list[psutil.Process]:
        """All that live and belong to this test: shims, backend, servers and what these started."""
        return processes.marked(self.directory)

    def backends(self) -> list[psutil.Process]:
        """Backend processes of this socket that live."""
        return [process for process in self.processes() if _is_backend(process)]

    def backend(self) -> psutil.Process:
        """The one backend. Fails if there is another number of them."""
        found = self.backends()
        assert len(found) == 1, processes.describe(found)
        return found[0]

    def servers(self, name: str) -> list[psutil.Process]:
        """Living processes below a backend, of which an argument ends in `name`."""
        found: list[psutil.Process] = []
        for backend in self.backends():
            for process in backend.children(recursive=True):
                try:
                    if any(argument.endswith(name) for argument in process.cmdline()):
                        found.append(process)
                except GONE:
                    continue
        return found

    def locked(self) -> bool:
        """Whether a process holds the lock, that is: a backend lives or starts."""
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def leftovers(self) -> list[str]:
        """What is left of backend, servers and shims, as lines for a person."""
        left = processes.describe(self.processes())
        left += [f"file {path}" for path in (self.socket, self.record) if path.exists()]
        if self.locked():
            left.append(f"a holder of {self.lock}")
        return left

    def expect_empty(self, *, seconds: float = 30.0) -> None:
        """Wait until nothing is left, with nobody's help. Fails, naming it, if something stays."""
        try:
            eventually("nothing is left", lambda: not self.leftovers(), seconds=seconds)
        except AssertionError:
            raise AssertionError("\n".join(["left behind:", *self.leftovers()])) from None

    def close(self) -> None:
        """End every session, ask the backend to leave, and see that nothing is left; what is left is killed."""
        for session in self.sessions:
            session.end_input()
        for session in self.sessions:
            session.close()
        for backend in self.backends():
            try:
                backend.send_signal(signal.SIGTERM)
            except GONE:
                continue
        try:
            self.expect_empty()
        finally:
            processes.kill(self.processes())
            shutil.rmtree(self.directory, ignore_errors=True)


def _is_backend(process: psutil.Process) -> bool:
    try:
        command = process.cmdline()
    except GONE:
        return False
    return "mux.backend.daemon" in command or any(word.endswith("/mux-backend") for word in command)
