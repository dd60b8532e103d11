"""`opencode serve`: one process, any number of sessions in any number of directories."""

from __future__ import annotations

import json
import socket
import threading
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.hosts.hosts import PROMPT
from tests.hosts.stage import RUN_SECONDS, Actor
from tests.support.processes import eventually

Json = dict[str, Any]


class Serve:
    """A running server, ready for requests. The stage ends it."""

    def __init__(self, actor: Actor) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = actor.start(["opencode", "serve", "--hostname", "127.0.0.1", "--port", str(self.port)])
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        eventually("opencode listens", lambda: "listening on" in self.said, seconds=RUN_SECONDS)

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said += line

    def session(self, directory: Path) -> str:
        """A new session there; its id."""
        return str(self.ask("/session", directory, {})["id"])

    def message(self, session: str, directory: Path) -> str:
        """Say something in the session; what the model says in the end."""
        answer = self.ask(f"/session/{session}/message", directory, {"parts": [{"type": "text", "text": PROMPT}]})
        return " ".join(part["text"] for part in answer["parts"] if part["type"] == "text")

    def abort(self, session: str, directory: Path) -> None:
        self.ask(f"/session/{session}/abort", directory, {})

    def connected(self, directory: Path) -> bool:
        """Whether the MCP server of this directory has shaken hands."""
        return bool(self.ask("/mcp", directory)["shared"]["status"] == "connected")

    def ask(self, path: str, directory: Path, body: Json | None = None) -> Any:
        """The decoded answer of one request, a POST if it has a body."""
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode({'directory': str(directory)})}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=RUN_SECONDS) as answer:
            return json.loads(answer.read() or "null")
