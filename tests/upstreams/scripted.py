"""A legacy MCP server in stdlib Python that behaves, and misbehaves, as its command line and its tools say.

Nothing of the package is imported here: it stands for the servers of others.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]

VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
LISTS = ("tools", "prompts", "resources")
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"


TELLING = """
import pathlib, signal, sys, time
def told(*_):
    pathlib.Path(sys.argv[1]).write_text("told")
    sys.exit()
signal.signal(signal.SIGTERM, told)
pathlib.Path(sys.argv[1]).touch()
time.sleep(3600)
"""


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--name", default="scripted")
    parser.add_argument("--lives", type=Path, help="directory for the proof that no two of this kind live at once")
    parser.add_argument("--initialize-after", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--ignore-eof", action="store_true")
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--die-at-start", type=int, metavar="CODE", help="three lines on stderr, then this exit code")
    parser.add_argument("--declare", metavar="SCOPE", help="what it says itself about being shared")
    parser.add_argument("--announces", nargs="*", choices=LISTS, default=["tools"], help="it says when these change")
    parser.add_argument("--layout", choices=("python", "typescript"), default="python")
    return parser.parse_args()


class Server:
    """One life. Blocking tools run on threads of their own, all else in the order of arrival."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.seen: Counter[str] = Counter()
        self.writing = threading.Lock()
        self.answers: dict[str, Json] = {}
        self.answered = threading.Condition()
        self.cancelled: list[Any] = []
        self.last = b""
        self.subscribed: set[str] = set()
        self.level = "info"

    def serve(self) -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            self.last = line
            if "method" not in message:
                with self.answered:
                    self.answers[str(message["id"])] = message
                    self.answered.notify_all()
                continue
            self.seen[message["method"]] += 1
            if "id" in message:
                self.request(message)
            elif message["method"] == "notifications/cancelled":
                self.cancelled.append(message["params"]["requestId"])
        while self.given.ignore_eof:
            time.sleep(3600)

    def request(self, message: Json) -> None:
        method, number = message["method"], message["id"]
        if method == "initialize":
            time.sleep(self.given.initialize_after)
            self.reply(number, self.initialize(message["params"]))
        elif method == "ping":
            self.reply(number, {})
        elif method == "tools/list":
            self.reply(number, {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]})
        elif method == "resources/list":
            self.reply(number, {"resources": []})
        elif method == "resources/subscribe":
            self.subscribed.add(message["params"]["uri"])
            self.reply(number, {})
        elif method == "resources/unsubscribe":
            self.subscribed.discard(message["params"]["uri"])
            self.reply(number, {})
        elif method == "logging/setLevel":
            self.level = message["params"]["level"]
            self.reply(number, {})
        elif method == "tools/call" and message["params"]["name"] in TOOLS:
            name = message["params"]["name"]
            if name in BLOCKING:
                threading.Thread(target=self.call, args=(message,), daemon=True).start()
            else:
                self.call(message)
        elif method == "tools/call":
            self.send({"jsonrpc": "2.0", "id": number, "error": {"code": -32602, "message": "Unknown tool"}})
        else:
            self.send({"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "Method not found"}})

    def initialize(self, params: Json) -> Json:
        asked = params.get("protocolVersion")
        return {
            "protocolVersion": asked if asked in VERSIONS else VERSIONS[-1],
            "capabilities": {
                **{kind: {"listChanged": kind in self.given.announces} for kind in ("tools", "prompts")},
                "resources": {"subscribe": True, "listChanged": "resources" in self.given.announces},
                "logging": {},
                **({"experimental": {"mux": {"scope": self.given.declare}}} if self.given.declare else {}),
            },
            "serverInfo": {"name": self.given.name, "version": "1"},
        }

    def call(self, message: Json) -> None:
        params = message["params"]
        token = params.get("_meta", {}).get("progressToken")
        arguments = params.get("arguments", {})
        value = TOOLS[params["name"]](self, arguments, token)
        if params["name"] == "raw":
            head = f'{{"jsonrpc": "2.0", "id": {json.dumps(message["id"])}, "result": {arguments["result"]}}}\n'
            self.write(head.encode())
            return
        text = value if isinstance(value, str) else json.dumps(value)
        self.reply(message["id"], {"content": [{"type": "text", "text": text}]})

    def reply(self, number: Any, result: Json) -> None:
        if self.given.layout == "typescript":
            self.send({"result": result, "jsonrpc": "2.0", "id": number})
        else:
            self.send({"jsonrpc": "2.0", "id": number, "result": result})

    def send(self, message: Json) -> None:
        tight = (",", ":") if self.given.layout == "typescript" else None
        self.write(json.dumps(message, separators=tight).encode() + b"\n")

    def write(self, data: bytes) -> None:
        with self.writing:
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]

    def ask(self, given: Json, _token: Any) -> Json:
        number = f"question-{time.monotonic_ns()}"
        self.send({"jsonrpc": "2.0", "id": number, "method": given["method"], "params": given.get("params", {})})
        with self.answered:
            self.answered.wait_for(lambda: number in self.answers, 30)
            return self.answers[number]

    def progress(self, given: Json, token: Any) -> str:
        for step in range(given["steps"]):
            params = {"progressToken": token, "progress": step + 1, "total": given["steps"]}
            self.send({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
        return "done"

    def notify(self, given: Json, _token: Any) -> str:
        self.send({"jsonrpc": "2.0", "method": given["method"], "params": given.get("params", {})})
        return "sent"

    def update(self, given: Json, _token: Any) -> str:
        if given["uri"] not in self.subscribed:
            return "nobody has asked for it"
        return self.notify({"method": "notifications/resources/updated", "params": {"uri": given["uri"]}}, None)

    def log(self, given: Json, _token: Any) -> str:
        """A message, if its level is high enough; what is high enough."""
        if LEVELS.index(given["level"]) >= LEVELS.index(self.level):
            self.notify({"method": "notifications/message", "params": {"level": given["level"], "data": "said"}}, None)
        return self.level

    def garbage(self, given: Json, _token: Any) -> str:
        self.write(given["text"].encode() + b"\n")
        return "written"

    def close_stdout(self, _given: Json, _token: Any) -> str:
        with self.writing:
            os.close(1)
            os.open(os.devnull, os.O_WRONLY)
        return "nobody reads this"


def leave(_server: Server, given: Json, _token: Any) -> str:
    for line in given.get("stderr", ()):
        os.write(2, line.encode() + b"\n")
    os._exit(given["code"])


def crash(_server: Server, _given: Json, _token: Any) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def sleep(_server: Server, given: Json, _token: Any) -> str:
    time.sleep(given["seconds"])
    return "slept"


def effect(_server: Server, given: Json, _token: Any) -> str:
    """Something that must not happen twice: one line in a file, then, if asked, no answer for a while."""
    with open(given["file"], "a", encoding="utf-8") as file:
        file.write(f"{given['mark']}\n")
    time.sleep(given.get("seconds", 0))
    return "done"


def spawn(_server: Server, given: Json, _token: Any) -> int:
    """A child, in a session of its own if `detached`. It ignores SIGTERM, or writes to the file `tell` and ends."""
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        [sys.executable, "-c", TELLING, given["tell"]] if "tell" in given else [sys.executable, "-c", STUBBORN],
        stdin=quiet,
        stdout=None if given.get("hold_stdout") else quiet,
        stderr=quiet,
        start_new_session=bool(given.get("detached")),
    ).pid


def stderr(_server: Server, given: Json, _token: Any) -> str:
    data = memoryview(given["text"].encode() * given.get("times", 1) + b"\n")
    while data:
        data = data[os.write(2, data) :]
    return "written"


TOOLS: dict[str, Callable[[Server, Json, Any], Any]] = {
    "ask": Server.ask,
    "big": lambda _server, given, _token: "x" * given["bytes"],
    "cancelled": lambda server, _given, _token: len(server.cancelled),
    "close_stdout": Server.close_stdout,
    "crash": crash,
    "cwd": lambda _server, _given, _token: os.getcwd(),
    "echo": lambda _server, given, _token: given.get("text", given.get("message")),
    "effect": effect,
    "environment": lambda _server, given, _token: os.environ.get(given["name"]),
    "exit": leave,
    "garbage": Server.garbage,
    "log": Server.log,
    "notify": Server.notify,
    "pid": lambda _server, _given, _token: os.getpid(),
    "progress": Server.progress,
    "raw": lambda _server, _given, _token: None,
    "said": lambda server, _given, _token: server.last.decode(),
    "seen": lambda server, _given, _token: dict(server.seen),
    "size": lambda _server, given, _token: len(given["text"]),
    "sleep": sleep,
    "spawn": spawn,
    "stderr": stderr,
    "update": Server.update,
    "who": lambda _server, _given, _token: f"process {os.getpid()}",
}
BLOCKING = {"ask", "effect", "sleep", "progress"}


def record_life(directory: Path) -> None:
    """A line in `lives`, and one in `overlaps` if another of this kind is still alive: the kernel knows by a lock."""
    directory.mkdir(exist_ok=True)
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    line = f"{os.getpid()} {time.monotonic_ns()}\n"
    with open(directory / "lives", "a", encoding="utf-8") as file:
        file.write(line)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with open(directory / "overlaps", "a", encoding="utf-8") as file:
            file.write(line)


def main() -> None:
    given = options()
    if given.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if given.lives:
        record_life(given.lives)
    if given.die_at_start is not None:
        for line in ("reading the configuration", "there is no database", "giving up"):
            os.write(2, line.encode() + b"\n")
        os._exit(given.die_at_start)
    Server(given).serve()


if __name__ == "__main__":
    main()
