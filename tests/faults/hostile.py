"""A server that answers properly until a tool tells it to misbehave. Nothing of the package is imported here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

CHUNK = b"x" * (1 << 20)
SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"

_writing = threading.Lock()


def main() -> None:
    if "--stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "--family" in sys.argv:
        for _ in range(2):
            family(2)
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("params", {}).get("name") == "flood":
            threading.Thread(target=serve, args=(message,), daemon=True).start()
        elif "id" in message and "method" in message:
            serve(message)
    while "--stubborn" in sys.argv:
        time.sleep(3600)


def serve(message: dict[str, Any]) -> None:
    reply(message["id"], answer(message))


def answer(message: dict[str, Any]) -> Any:
    if message["method"] == "initialize":
        version = message["params"].get("protocolVersion", "2025-11-25")
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "h", "version": "1"}}
    if message["method"] != "tools/call":
        return {"tools": []}
    name, given = message["params"]["name"], message["params"].get("arguments", {})
    token = message["params"].get("_meta", {}).get("progressToken")
    text = TOOLS[name](given, token)
    return {"content": [{"type": "text", "text": str(text)}]}


def reply(number: Any, result: Any) -> None:
    write(json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode() + b"\n")


def write(data: bytes, fd: int = 1) -> None:
    view = memoryview(data)
    with _writing:
        while view:
            view = view[os.write(fd, view) :]


def family(depth: int) -> int:
    """A child with children, some in sessions of their own, all deaf to SIGTERM; they hold our stdout."""
    code = SLEEPER if depth == 0 else f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}], "
    if depth:
        code += f"start_new_session=True); {SLEEPER}"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL, start_new_session=depth == 2).pid


def endless(given: dict[str, Any], _token: Any) -> str:
    """A line that does not end for so many MiB, and then does."""
    for _ in range(given["mib"]):
        write(CHUNK)
    write(b"\n")
    return "ended"


def scream(given: dict[str, Any], _token: Any) -> str:
    for _ in range(given["mib"]):
        write(CHUNK, 2)
    return "screamed"


def garbage(_given: dict[str, Any], _token: Any) -> str:
    write(b'\xff\xfe\x00garbage\n{\n[]\nnull\n{"jsonrpc":"2.0"}\n' + b"[" * 100_000 + b"\n\n\r\n")
    return "written"


def half(_given: dict[str, Any], _token: Any) -> str:
    write(b'{"jsonrpc":"2.0","id":')
    os._exit(3)


def close_stdout(_given: dict[str, Any], _token: Any) -> str:
    os.close(1)
    time.sleep(3600)
    return ""


def flood(given: dict[str, Any], token: Any) -> int:
    """Progress to whoever called, at a rate, for a while, beside all else. Returns how many bytes that was."""
    pad = "x" * (given["rate"] // 200)
    begun = time.monotonic()
    sent = 0
    while (passed := time.monotonic() - begun) < given["seconds"]:
        params = {"progressToken": token, "progress": sent, "message": pad}
        line = json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}).encode() + b"\n"
        write(line)
        sent += len(line)
        time.sleep(max(0.001, sent / given["rate"] - passed))  # other threads want to write, too
    return sent


TOOLS: dict[str, Any] = {
    "close_stdout": close_stdout,
    "echo": lambda given, _token: given["text"],
    "endless": endless,
    "family": lambda _given, _token: family(2),
    "flood": flood,
    "garbage": garbage,
    "half": half,
    "pid": lambda _given, _token: os.getpid(),
    "scream": scream,
}


if __name__ == "__main__":
    main()
