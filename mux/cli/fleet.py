"""Many sessions of one command at once, measured and surely ended."""

from __future__ import annotations

import dataclasses
import os
import signal
import statistics
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import psutil

from mux.cli import interrupts, processes
from mux.cli.client import Client, ServerError
from mux.cli.text import Progress, plural
from mux.cli.text import command as text_of
from mux.limits import DEMO_CALL_SECONDS, DEMO_CALLS, STOP_STEP_SECONDS

Json = dict[str, Any]
Call = tuple[str, Json]


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds. Ready: from the start of the process until its tools are listed. `later`, `call`: medians."""

    first: float
    later: float | None
    call: float


def environment() -> dict[str, str]:
    """Ours without MUX_*: the user's own settings are not what is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MUX_")}


class Fleet:
    """Sessions of `argv`, the i-th in directory i modulo their number. Leaving the block ends them all."""

    def __init__(self, name: str, argv: Sequence[str], directories: Sequence[str], progress: Progress) -> None:
        self._name = name
        self._argv = argv
        self._directories = directories
        self._progress = progress
        self._ready: list[float] = []
        self._calls: list[float] = []
        self._seen: list[psutil.Process] = []
        self.clients: list[Client] = []
        self.server: str = ""
        self.tools: list[Json] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        processes.kill(self.end())

    def start(self, count: int) -> None:
        """Start `count` sessions one after the other, each with a handshake and a tool list. Raises ServerError."""
        for number in range(1, count + 1):
            self._progress.step(f"{self._name}: starting sessions", number, count)
            directory = self._directories[number % len(self._directories)]
            began = time.perf_counter()
            try:
                with interrupts.deferred():
                    client = Client(self._argv, cwd=directory, environment=environment())
                    self.clients.append(client)
                server = client.initialize().get("serverInfo", {})
                self.tools = client.tools()
            except ServerError as error:
                raise self._failed(f"session {number} of {count}", error) from error
            self._ready.append(time.perf_counter() - began)
            self.server = f"{server.get('name', 'unnamed')} {server.get('version', '')}".strip()

    def _failed(self, session: str, error: ServerError) -> ServerError:
        by_hand = f"Start it by hand to see more: `{text_of(self._argv)}`"
        return ServerError(f"{self._name}, {session}: {error}\n{by_hand}")

    def call(self, tool: Call | None) -> None:
        """Call the tool, or ping where there is none, several times in each session. Raises ServerError."""
        method, params = ("ping", None) if tool is None else ("tools/call", {"name": tool[0], "arguments": tool[1]})
        for number, client in enumerate(self.clients, 1):
            self._progress.step(f"{self._name}: calling {tool[0] if tool else 'ping'}", number, len(self.clients))
            stop = time.perf_counter() + DEMO_CALL_SECONDS
            for _ in range(DEMO_CALLS):
                began = time.perf_counter()
                try:
                    client.request(method, params)
                except ServerError as error:
                    raise self._failed(f"session {number}", error) from error
                ended = time.perf_counter()
                self._calls.append(ended - began)
                if ended > stop:
                    break

    @property
    def times(self) -> Times:
        """What `start` and `call` took."""
        later = statistics.median(self._ready[1:]) if len(self._ready) > 1 else None
        return Times(self._ready[0], later, statistics.median(self._calls))

    def trees(self) -> list[psutil.Process]:
        """Every process of every session that runs now."""
        return [process for client in self.clients for process in processes.tree(client.pid)]

    def end(self) -> list[psutil.Process]:
        """End the sessions as hosts do: end of input, 2 s, SIGTERM, 2 s, SIGKILL. Returns what lives on below them."""
        if not self.clients:
            return processes.alive(self._seen)
        self._progress.step(f"{self._name}: ending {plural(len(self.clients), 'session')}")
        self._seen = self.trees()
        for client in self.clients:
            client.end_input()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._all_ended():
                break
            for client in self.clients:
                client.signal(number)
        self._all_ended()
        for client in self.clients:
            client.close()
        self.clients = []
        psutil.wait_procs(self._seen, timeout=STOP_STEP_SECONDS)
        return processes.alive(self._seen)

    def _all_ended(self) -> bool:
        deadline = time.monotonic() + STOP_STEP_SECONDS
        ended = [client.wait(max(0.0, deadline - time.monotonic())) is not None for client in self.clients]
        return all(ended)
