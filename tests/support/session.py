"""A host's end of one stdio connection: raw JSON-RPC over the pipes or sockets of a child process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

Json = dict[str, Any]
Stdio = Literal["pipe", "socketpair"]

PATIENCE = 30.0
"""Upper bound of every wait, seconds; a machine under load may take long, a hanging program takes for ever."""

READ_BYTES = 256 * 1024

CLIENT: Json = {"name": "raw", "version": "1"}


class Failed(AssertionError):
    """A request was answered with an error."""

    def __init__(self, error: Json) -> None:
        super().__init__(json.dumps(error))
        self.error = error


class Session:
    """One child in a process group of its own. A thread reads its stdout; every line is kept as it came.

    `read`: False leaves the child's stdout alone until `read_on`. `questions`: what the server asked; pings are
    answered here, the rest refused, unless a result for the method is in `willing`.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        stdio: Stdio = "pipe",
        read: bool = True,
    ) -> None:
        self.lines: list[bytes] = []
        self.questions: list[Json] = []
        self.notifications: list[Json] = []
        self.willing: dict[str, Json] = {}
        self.ended = False
        self._answers: dict[str, list[Json]] = {}
        self._news = threading.Condition()
        self._writing = threading.Lock()
        self._errors = os.memfd_create("stderr")
        self._next_id = 0
        child_in, self._to = _channel(stdio)
        self._from, child_out = _channel(stdio)
        try:
            self.child = subprocess.Popen(
                argv,
                env=environment,
                cwd=cwd,
                stdin=child_in,
                stdout=child_out,
                stderr=self._errors,
                start_new_session=True,
            )
        finally:
            os.close(child_in)
            os.close(child_out)
        self._reader = threading.Thread(target=self._read, daemon=True)
        if read:
            self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # what goes out

    def write(self, data: bytes) -> None:
        """Exactly these bytes. Raises BrokenPipeError if the child reads no more."""
        with self._writing:
            view = memoryview(data)
            while view:
                view = view[os.write(self._to, view) :]

    def send(self, message: Json) -> None:
        self.write(json.dumps(message).encode() + b"\n")

    def notify(self, method: str, params: Json | None = None) -> None:
        self.send({"jsonrpc": "2.0", "method": method, **({"params": params} if params is not None else {})})

    def begin(self, method: str, params: Json | None = None, *, number: Any = None) -> Any:
        """Send a request and return its id without waiting."""
        if number is None:
            number, self._next_id = self._next_id, self._next_id + 1
        self.send(
            {"jsonrpc": "2.0", "id": number, "method": method, **({"params": params} if params is not None else {})}
        )
        return number

    # what comes back

    def response(self, number: Any, *, seconds: float = PATIENCE) -> Json:
        """The first answer to the request `number`, whole."""
        key = json.dumps(number)
        with self._news:
            if not self._news.wait_for(lambda: key in self._answers or self.ended, seconds):
                raise AssertionError(f"no answer to {number!r} in {seconds:g} s; stderr: {self.stderr!r}")
            if key not in self._answers:
                raise AssertionError(f"stdout ended before the answer to {number!r}; stderr: {self.stderr!r}")
            return self._answers[key][0]

    def result(self, number: Any, *, seconds: float = PATIENCE) -> Json:
        """The result of the request `number`. Raises Failed if it is an error."""
        message = self.response(number, seconds=seconds)
        if "error" in message:
            raise Failed(message["error"])
        result: Json = message["result"]
        return result

    def request(self, method: str, params: Json | None = None) -> Json:
        return self.result(self.begin(method, params))

    def initialize(self, *, version: str = "2025-11-25", client: Json | None = None) -> Json:
        """The whole legacy handshake."""
        capabilities: Json = {"roots": {}} if "roots/list" in self.willing else {}
        params = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": client or CLIENT}
        result = self.request("initialize", params)
        self.notify("notifications/initialized")
        return result

    def begin_call(self, tool: str, _token: Any = None, **arguments: Any) -> Any:
        meta = {} if _token is None else {"_meta": {"progressToken": _token}}
        return self.begin("tools/call", {"name": tool, "arguments": arguments, **meta})

    def text(self, number: Any) -> str:
        """The text of a tool's result."""
        result = self.result(number)
        text: str = result["content"][0]["text"]
        assert not result.get("isError"), text
        return text

    def call(self, tool: str, **arguments: Any) -> str:
        return self.text(self.begin_call(tool, **arguments))

    def pid(self) -> int:
        """The process id that the server's `pid` tool tells."""
        return int(self.call("pid"))

    def answers(self) -> dict[str, list[Json]]:
        """All answers so far, by id as JSON."""
        with self._news:
            return {key: list(found) for key, found in self._answers.items()}

    def take(self) -> tuple[list[bytes], dict[str, list[Json]]]:
        """Lines and answers since the last time; they are forgotten, which keeps a long test small."""
        with self._news:
            taken = self.lines, self._answers
            self.lines, self._answers = [], {}
            return taken

    def unnumbered_error(self, nth: int = 0) -> Json:
        """The nth error that names no request (id null)."""
        with self._news:
            self._news.wait_for(lambda: self.ended or len(self._answers.get("null", ())) > nth, PATIENCE)
            found = self._answers.get("null", [])
            assert len(found) > nth, f"no error with id null; stderr: {self.stderr!r}"
            error: Json = found[nth]["error"]
            return error

    def wait_notification(self, method: str) -> Json:
        def look() -> Json | None:
            return next((message for message in self.notifications if message["method"] == method), None)

        with self._news:
            self._news.wait_for(lambda: look() is not None or self.ended, PATIENCE)
            found = look()
        assert found is not None, f"no {method} came"
        return found

    @property
    def stderr(self) -> str:
        return os.pread(self._errors, 1 << 20, 0).decode(errors="replace")

    def read_on(self) -> None:
        self._reader.start()

    def _read(self) -> None:
        rest = b""
        while True:
            try:
                data = os.read(self._from, READ_BYTES)
            except ConnectionResetError:
                data = b""
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._take(line)
        with self._news:
            if rest:
                self.lines.append(rest)
            self.ended = True
            self._news.notify_all()

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            message = {}
        with self._news:
            self.lines.append(line)
            if "method" not in message and "id" in message:
                self._answers.setdefault(json.dumps(message["id"]), []).append(message)
            elif "id" in message:
                self.questions.append(message)
            elif "method" in message:
                self.notifications.append(message)
            self._news.notify_all()
        if "method" in message and "id" in message:
            self._answer(message)

    def _answer(self, question: Json) -> None:
        reply: Json = {"jsonrpc": "2.0", "id": question["id"]}
        if question["method"] == "ping" or question["method"] in self.willing:
            reply["result"] = self.willing.get(question["method"], {})
        else:
            reply["error"] = {"code": -32601, "message": "Not supported by this client"}
        try:
            self.send(reply)
        except (BrokenPipeError, OSError):
            return  # asked at the very end: nobody waits for this

    # its end

    def end_input(self) -> None:
        """Close the child's stdin, as a host does that has finished. Harmless if repeated."""
        if self._to >= 0:
            os.close(self._to)
            self._to = -1

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit status; negative for a signal. Raises subprocess.TimeoutExpired."""
        return self.child.wait(seconds)

    def kill_group(self, number: int = signal.SIGKILL) -> None:
        """Signal the child's whole group, while it is not reaped: so the number is surely ours."""
        if self.child.poll() is None:
            os.killpg(self.child.pid, number)

    def finish(self) -> int:
        """End as a well-behaved host: close stdin and wait. Returns the exit status."""
        self.end_input()
        status = self.wait()
        self._join()
        return status

    def close(self) -> None:
        """Make an end, whatever state it is in. Fails if something still holds the dead child's stdout."""
        self.kill_group()
        self.child.wait()
        self.end_input()
        if self._from >= 0:
            if self._reader.ident is not None:
                self._join()
            os.close(self._from)
            os.close(self._errors)
            self._from = -1

    def _join(self) -> None:
        self._reader.join(PATIENCE)
        assert not self._reader.is_alive(), "something still holds the stdout of a child that is dead"


def _channel(stdio: Stdio) -> tuple[int, int]:
    """(end to read from, end to write to)."""
    if stdio == "pipe":
        return os.pipe()
    reader, writer = socket.socketpair()
    return reader.detach(), writer.detach()
