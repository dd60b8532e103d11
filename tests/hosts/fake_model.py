"""A model endpoint on loopback: OpenAI chat completions, streamed; it calls one tool, then repeats what that said."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Json = dict[str, Any]

MODEL = "fake-1"


class FakeModel:
    """Asked with tools and no result yet, it calls `tool` with `arguments`; asked with a result, it says this."""

    def __init__(self, tool: str, arguments: Json) -> None:
        self.tool = tool
        self.arguments = arguments
        self.results: list[str] = []
        self.offered: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def deltas(self, asked: Json) -> Iterator[tuple[Json, str | None]]:
        """The answer in pieces: (delta, finish reason)."""
        offered = {tool["function"]["name"] for tool in asked.get("tools", ())}
        self.offered |= offered
        said = [message["content"] for message in asked["messages"] if message["role"] == "tool"]
        self.results += [json.dumps(content) for content in said]
        yield {"role": "assistant", "content": ""}, None
        if said or self.tool not in offered:
            yield {"content": f"The tool said: {said[-1]}" if said else "A title"}, None
            yield {}, "stop"
        else:
            call = {"name": self.tool, "arguments": json.dumps(self.arguments)}
            yield {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": call}]}, None
            yield {}, "tool_calls"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                for delta, reason in model.deltas(asked):
                    choice = {"index": 0, "delta": delta, "finish_reason": reason}
                    self._event(json.dumps({**HEAD, "choices": [choice]}))
                usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
                self._event(json.dumps({**HEAD, "choices": [], "usage": usage}))
                self._event("[DONE]")

            def _event(self, data: str) -> None:
                self.wfile.write(f"data: {data}\n\n".encode())

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
                """Not to the terminal of the tests."""

        return Handler


HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": MODEL}
