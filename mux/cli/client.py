"""A client of one stdio MCP server, for `mux demo` and the bench: raw JSON-RPC over the pipes of a child.

One request at a time, no threads; the legacy handshake (MCP 2025-11-25 and before). It declares no capabilities.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

from mux import __version__
from mux.errors import METHOD_NOT_FOUND, MuxError
from mux.limits import DEMO_ANSWER_SECONDS, READ_BYTES, STDERR_TAIL_BYTES, STDERR_TAIL_LINES

Json = dict[str, Any]

INITIALIZE: Json = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "mux-demo", "version": __version__},
}
LIST_PAGES = 100
"""A server whose `tools/list` goes on after this many pages is given up."""


class ServerError(MuxError):
    """The server could not be started, ended, stayed silent, or answered a request with an error."""


class Client:
    """One session with one child process, which leads a session and a process group of its own."""

    def __init__(
        self, argv: Sequence[str], *, cwd: str | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start `argv`. Raises ServerError if that fails."""
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._buffer = bytearray()
        self._searched = 0
        self._last_id = 0
        try:
            self._child = subprocess.Popen(
                argv,
                cwd=cwd,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            self._stderr.close()
            raise ServerError(f"cannot start {argv[0]}: {error.strerror or error}") from error
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._to_server, self._from_server = self._child.stdin, self._child.stdout
        self._readable = select.poll()
        self._readable.register(self._from_server, select.POLLIN)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def descriptors(self) -> tuple[int, int]:
        """(to the server, from the server), for a caller that talks to it in its own way from here on."""
        return self._to_server.fileno(), self._from_server.fileno()

    def initialize(self) -> Json:
        """The handshake; returns the server's `initialize` result. Raises ServerError."""
        result = self.request("initialize", INITIALIZE)
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return result

    def tools(self) -> list[Json]:
        """All pages of `tools/list`. Raises ServerError."""
        found: list[Json] = []
        params: Json = {}
        for _ in range(LIST_PAGES):
            result = self.request("tools/list", params)
            found.extend(tool for tool in result.get("tools", ()) if isinstance(tool, dict))
            if "nextCursor" not in result:
                return found
            params = {"cursor": result["nextCursor"]}
        raise ServerError(f"tools/list did not end after {LIST_PAGES} pages")

    def request(self, method: str, params: Json | None = None, *, timeout: float = DEMO_ANSWER_SECONDS) -> Json:
        """Ask and wait for the result, at most `timeout` seconds. Raises ServerError."""
        self._last_id += 1
        self._send({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params or {}})
        deadline = time.monotonic() + timeout
        while True:
            message = self._receive(method, deadline)
            if "method" in message:
                self._answer(message)
            elif message.get("id") == self._last_id or "error" in message:
                break
        if "error" in message:
            error = message["error"]
            text = error.get("message", error) if isinstance(error, dict) else error
            raise ServerError(f"{method} failed: {text}{self._last_words()}")
        result = message.get("result")
        if not isinstance(result, dict):
            raise ServerError(f"{method} was answered with a result that is no object")
        return result

    def end_input(self) -> None:
        """Close the child's stdin, as a host does that has finished. Harmless if repeated."""
        if not self._to_server.closed:
            self._to_server.close()

    def wait(self, timeout: float) -> int | None:
        """The exit status if the child ends within `timeout` seconds."""
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def signal(self, number: signal.Signals) -> None:
        """Signal the child's whole process group, while the child is not reaped: so the number is surely ours."""
        if self._child.poll() is None:
            os.killpg(self._child.pid, number)

    def close(self) -> None:
        """Close our ends. The child must have ended."""
        self.end_input()
        self._from_server.close()
        self._stderr.close()

    def _send(self, message: Json) -> None:
        data = memoryview(json.dumps(message).encode() + b"\n")
        try:
            while data:
                data = data[os.write(self._to_server.fileno(), data) :]
        except BrokenPipeError:
            raise self._gone(str(message.get("method"))) from None

    def _answer(self, message: Json) -> None:
        """What the server asks: a ping is answered, all else refused, notifications are ignored."""
        if "id" not in message:
            return
        reply: Json = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "ping":
            reply["result"] = {}
        else:
            reply["error"] = {"code": METHOD_NOT_FOUND, "message": "Not supported by this client"}
        self._send(reply)

    def _receive(self, method: str, deadline: float) -> Json:
        """The next message. Lines that are no JSON objects are skipped: some servers print."""
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end < 0:
                self._searched = len(self._buffer)
                self._fill(method, deadline)
                continue
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                return message

    def _fill(self, method: str, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or not self._readable.poll(left * 1e3):
            raise ServerError(f"{method} was not answered in time{self._last_words()}")
        data = os.read(self._from_server.fileno(), READ_BYTES)
        if not data:
            raise self._gone(method)
        self._buffer += data

    def _gone(self, method: str) -> ServerError:
        status = self.wait(1.0)
        how = (
            "closed its output"
            if status is None
            else f"was ended by signal {-status}"
            if status < 0
            else f"ended with exit code {status}"
        )
        return ServerError(f"the server {how} instead of answering {method}{self._last_words()}")

    def _last_words(self) -> str:
        """The end of the child's stderr, as the end of a sentence."""
        size = os.fstat(self._stderr.fileno()).st_size
        tail = os.pread(self._stderr.fileno(), STDERR_TAIL_BYTES, max(0, size - STDERR_TAIL_BYTES))
        lines = tail.decode(errors="replace").strip().splitlines()[-STDERR_TAIL_LINES:]
        return "; its last stderr lines:\n  " + "\n  ".join(lines) if lines else ""
