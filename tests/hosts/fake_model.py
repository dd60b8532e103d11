"""A model endpoint on loopback that four providers' clients believe in; it calls tools as a script says.

A step's tool is named as the server names it; each host has a prefix of its own for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.hosts.dialects import Asked, Call, Dialect, Json, Turn, chat, gemini, messages, responses

MODEL = "fake-1"
SERVER = "shared"
"""The name of the MCP server in every host's configuration."""

HELPER = "be the helper"
"""An agent whose task says this follows the helper's script."""

DIALECTS: dict[str, Dialect] = {
    "/chat/completions": chat,
    "/responses": responses,
    "/messages": messages,
    ":streamGenerateContent": gemini,
    ":generateContent": gemini,
}
"""By the end of the path."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One call of a tool; `before` runs after the host has sent the former result and before it gets this call."""

    tool: str
    arguments: Json = dataclasses.field(default_factory=dict)
    before: Callable[[], object] | None = None


class FakeModel:
    """In each conversation it makes the calls of the script, one after the other, then repeats the last result.

    results: the longest list of results that any conversation had. helped: those of the helpers, in order of arrival.
    offers: when a conversation's model first had the tool that it wanted, monotonic seconds.
    """

    def __init__(self, *script: Step, helper: Sequence[Step] = ()) -> None:
        self.script = script
        self.helper = helper
        self.helped: list[str] = []
        self.offered: set[str] = set()
        self.offers: list[float] = []
        self.results: list[str] = []
        self.unknown: list[str] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Without a path: some hosts add `/v1` themselves."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def turn(self, asked: Asked) -> Turn:
        """What comes next in a conversation that got so far."""
        with self._lock:
            self.offered |= {*asked.offered}
            if HELPER in asked.prompt:
                self.helped += asked.results[-1:]
            elif len(asked.results) > len(self.results):
                self.results = [*asked.results]
        script = self.helper if HELPER in asked.prompt else self.script
        if len(asked.results) == len(script):
            return f"The tool said: {asked.results[-1]}" if script else "Done"
        step = script[len(asked.results)]
        name = next((name for name in asked.offered if _means(name, step.tool)), None)
        if name is None:
            return "A title"
        if not asked.results:
            self.offers.append(time.monotonic())
        if step.before:
            step.before()
        return Call(name, step.arguments)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                path = self.path.partition("?")[0]
                dialect = next((each for end, each in DIALECTS.items() if path.endswith(end)), None)
                if dialect is None:
                    model.unknown.append(path)
                    self.send_error(404)
                    return
                events = dialect.answer(model.turn(dialect.read(asked)), asked)
                stream = not path.endswith(":generateContent")
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream" if stream else "application/json")
                self.end_headers()
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    for name, data in events:
                        self._write(name, data if isinstance(data, str) else json.dumps(data), stream)

            def do_GET(self) -> None:
                self.send_error(404)

            def _write(self, name: str | None, data: str, stream: bool) -> None:
                head = f"event: {name}\n" if name else ""
                self.wfile.write(f"{head}data: {data}\n\n".encode() if stream else data.encode())

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
                """Not to the terminal of the tests."""

        return Handler


def _means(offered: str, tool: str) -> bool:
    """Whether a host's name for a tool is that of the shared server's `tool`, or of a tool of its own."""
    return offered == tool or (SERVER in offered and offered.endswith((f"_{tool}", f"/{tool}")))
