"""The ways from a client to a server that are compared: directly, through us, through what else is installed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mux.backend import reap
from mux.cli import processes
from mux.cli.private import PrivateBackend
from mux.errors import MuxError

SERVER = (sys.executable, str(Path(__file__).with_name("echo.py")))
RELAY = (sys.executable, str(Path(__file__).with_name("relay.py")))
AWAKE = "0"
"""`--park-after`: never."""

MARK = "BENCH_MARK"
"""A variable by which processes that leave their parents are still found."""

_PROXY_SESSIONS = 26
"""A session of mcp-proxy weighs as much as hundreds of ours."""
_PROXY_START_SECONDS = 30.0

Processes = list[psutil.Process]


@dataclass(frozen=True)
class Crew:
    """The processes behind some sessions: theirs, those that all of them share, and the servers."""

    sessions: Processes
    shared: Processes
    servers: Processes


@dataclass
class Way:
    """One way. `most`: sessions that it is measured with. weighed: whether crowds of it are."""

    name: str
    most: int = 100
    weighed: bool = True
    _mark: str = field(default_factory=lambda: secrets.token_hex(8))

    @contextlib.contextmanager
    def ready(self, *, park_after: str = AWAKE, grace: float = 2.0) -> Generator[Sequence[str]]:
        """The command of a session, for as long as the block lasts. Raises MuxError."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """What its sessions are started with; MUX_* of whoever measures is not."""
        return {name: value for name, value in os.environ.items() if not name.startswith("MUX_")} | {MARK: self._mark}

    def crew(self, sessions: Collection[int]) -> Crew:
        """All its processes; `sessions` are the pids that were started as such."""
        marked = [process for process in psutil.process_iter() if self._is_ours(process)]
        return _sorted(marked, sessions)

    def _is_ours(self, process: psutil.Process) -> bool:
        entry = f"{MARK}={self._mark}".encode()
        return process.pid != os.getpid() and entry in reap.environment(process.pid).split(b"\0")


def _sorted(found: Processes, sessions: Collection[int]) -> Crew:
    """Servers are known by their command, whoever started them."""
    crew = Crew([], [], [])
    for process in found:
        with contextlib.suppress(psutil.Error):
            kind = crew.sessions if process.pid in sessions else crew.shared
            (crew.servers if process.cmdline() == list(SERVER) else kind).append(process)
    return crew


class Direct(Way):
    """No multiplexer: each session is a server."""

    def __init__(self) -> None:
        super().__init__("direct", most=1000)

    @contextlib.contextmanager
    def ready(self, *, park_after: str = AWAKE, grace: float = 2.0) -> Generator[Sequence[str]]:
        del park_after, grace
        yield SERVER


class Relays(Way):
    """Two processes that do nothing stand between each session and a server of its own: what no shim can be below."""

    def __init__(self) -> None:
        super().__init__("two relays", most=8, weighed=False)

    @contextlib.contextmanager
    def ready(self, *, park_after: str = AWAKE, grace: float = 2.0) -> Generator[Sequence[str]]:
        del park_after, grace
        yield [*RELAY, *RELAY, *SERVER]


class Ours(Way):
    """mux-shim, with a backend of its own."""

    def __init__(self) -> None:
        super().__init__("mux-shim", most=1000)
        self._backend: PrivateBackend | None = None

    @contextlib.contextmanager
    def ready(self, *, park_after: str = AWAKE, grace: float = 2.0) -> Generator[Sequence[str]]:
        with PrivateBackend(grace=grace) as self._backend:
            yield [*self._backend.shim, "--park-after", park_after, *SERVER]

    def crew(self, sessions: Collection[int]) -> Crew:
        # Not by the mark: the backend hands on as little of an environment as it can.
        assert self._backend is not None
        backend, servers = self._backend.processes()
        return Crew([psutil.Process(pid) for pid in sessions], [backend], servers)


class Prefix(Way):
    """Any multiplexer that is put before a server's command. Its daemon, if it has one, is its own affair."""

    def __init__(self, words: Sequence[str]) -> None:
        """Raises MuxError if there is no such command."""
        super().__init__(os.path.basename(words[0]))
        if shutil.which(words[0]) is None:
            raise MuxError(f"--against: there is no {words[0]} on PATH")
        self._words = words

    @contextlib.contextmanager
    def ready(self, *, park_after: str = AWAKE, grace: float = 2.0) -> Generator[Sequence[str]]:
        del park_after, grace
        try:
            yield [*self._words, *SERVER]
        finally:
            processes.kill(self.crew(()).shared)


class McpProxy(Way):
    """mcp-proxy from PyPI: one that serves the server over HTTP, and one per session that speaks to it."""

    def __init__(self, program: str) -> None:
        super().__init__("mcp-proxy", most=_PROXY_SESSIONS)
        self._program = program

    @contextlib.contextmanager
    def ready(self, *, park_after: str = AWAKE, grace: float = 2.0) -> Generator[Sequence[str]]:
        del park_after, grace
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [self._program, "--log-level", "ERROR", "--port", str(port), "--", *SERVER]
        with subprocess.Popen(
            command, env=self.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as hub:
            try:
                _wait_for(port)
                url = f"http://127.0.0.1:{port}/mcp"
                yield [self._program, "--log-level", "ERROR", "--transport", "streamablehttp", url]
            finally:
                processes.kill(processes.tree(hub.pid))


def _wait_for(port: int) -> None:
    """Raises MuxError if nobody listens there in time."""
    deadline = time.monotonic() + _PROXY_START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise MuxError(f"mcp-proxy does not listen: {error}") from error
            time.sleep(0.05)


def ways(against: Sequence[str], *, proxy: bool = True) -> list[Way]:
    """Direct, relays, us, mcp-proxy where it is installed, each command prefix. Raises MuxError for one that is not."""
    found: list[Way] = [Direct(), Relays(), Ours()]
    beside = Path(sys.executable).with_name("mcp-proxy")
    program = str(beside) if beside.exists() else shutil.which("mcp-proxy")
    if proxy and program is not None:
        found.append(McpProxy(program))
    return [*found, *(Prefix(shlex.split(prefix)) for prefix in against)]
