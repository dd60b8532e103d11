"""Sessions of one way, started one after the other, and surely ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from mux.cli import interrupts
from mux.cli.client import Client, ServerError

END_SECONDS = 5.0


class Sessions:
    """A list of clients, the i-th in directory i modulo their number.

    started: seconds from the start of each process to its `initialize` answer.
    """

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], directories: Sequence[str] = ("/",)
    ) -> None:
        self._argv = argv
        self._environment = environment
        self._directories = directories
        self.clients: list[Client] = []
        self.started: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def start(self, count: int) -> None:
        """That many more. Raises ServerError."""
        for _ in range(count):
            directory = self._directories[len(self.clients) % len(self._directories)]
            began = time.perf_counter()
            with interrupts.deferred():
                client = Client(self._argv, cwd=directory, environment=self._environment)
                self.clients.append(client)
            try:
                client.initialize()
            except ServerError as error:
                raise ServerError(f"{' '.join(self._argv)}: {error}") from error
            self.started.append(time.perf_counter() - began)

    @property
    def pids(self) -> list[int]:
        """Of the processes that were started."""
        return [client.pid for client in self.clients]

    def end(self) -> None:
        """As hosts do: end of input, SIGTERM, SIGKILL."""
        for client in self.clients:
            client.end_input()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self._ended():
                for client in self.clients:
                    client.signal(number)
        self._ended()
        for client in self.clients:
            client.close()
        self.clients = []

    def _ended(self) -> bool:
        deadline = time.monotonic() + END_SECONDS
        ended = [client.wait(max(0.0, deadline - time.monotonic())) is not None for client in self.clients]
        return all(ended)
