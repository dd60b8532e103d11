"""A legacy server in stdlib Python that works at many calls at once and finishes them in an order of its own.

A call's arguments say who asks, how much to answer and how often to report; the answer and every report say it back, so
that whoever gets one that is not his sees it. Nothing of the package is imported.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from typing import Any

Json = dict[str, Any]

CAPABILITIES = {"tools": {"listChanged": True}, "logging": {}}
INFO = {"name": "busy", "version": "1"}


class Server:
    def __init__(self) -> None:
        self.running: dict[Any, asyncio.Task[None]] = {}
        self.dice = random.Random(7)

    def take(self, message: Json) -> None:
        method, number = message["method"], message.get("id")
        if method == "initialize":
            result = {"protocolVersion": "2025-11-25", "capabilities": CAPABILITIES, "serverInfo": INFO}
            send({"jsonrpc": "2.0", "id": number, "result": result})
        elif method == "tools/call":
            self.running[number] = asyncio.create_task(self.work(number, message["params"]))
        elif method == "notifications/cancelled":
            task = self.running.get(message["params"]["requestId"])
            if task is not None and self.dice.random() < 0.7:  # the rest is answered late, which is allowed
                task.cancel()
        elif number is not None:
            send({"jsonrpc": "2.0", "id": number, "result": {"pid": os.getpid()}})

    async def work(self, number: Any, params: Json) -> None:
        given = params["arguments"]
        try:
            for step in range(given["steps"]):
                await asyncio.sleep(given["pause"])
                said = {"progressToken": params["_meta"]["progressToken"], "progress": step, "message": given["who"]}
                send({"jsonrpc": "2.0", "method": "notifications/progress", "params": said})
            if given["change"]:
                send({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
            await asyncio.sleep(given["pause"])
            content = [{"type": "text", "text": given["who"]}, {"type": "text", "text": "x" * given["size"]}]
            send({"jsonrpc": "2.0", "id": number, "result": {"content": content}})
        finally:
            del self.running[number]


def send(message: Json) -> None:
    data = memoryview(json.dumps(message).encode() + b"\n")
    while data:
        data = data[os.write(1, data) :]


async def main() -> None:
    reader = asyncio.StreamReader(limit=1 << 30)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    server = Server()
    while line := await reader.readline():
        server.take(json.loads(line))


if __name__ == "__main__":
    asyncio.run(main())
