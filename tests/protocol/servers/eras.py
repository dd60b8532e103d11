"""A server in stdlib Python that speaks the eras that its command line says; it stands for the servers of others.

modern: stateless, `server/discover`. legacy: `initialize`. dual: pinned to one of them by its opening request, as both
SDK families do. Nothing of the package is imported.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from typing import Any

Json = dict[str, Any]

LEGACY, MODERN = "2025-11-25", "2026-07-28"
META = "io.modelcontextprotocol/"
VERSION, SUBSCRIPTION, LOG_LEVEL = f"{META}protocolVersion", f"{META}subscriptionId", f"{META}logLevel"
NOT_FOUND, INVALID, UNSUPPORTED = -32601, -32600, -32022


class Error(Exception):
    def __init__(self, code: int, message: str, **data: Any) -> None:
        super().__init__(message)
        self.error: Json = {"code": code, "message": message, **({"data": data} if data else {})}


class Server:
    def __init__(self, speaks: str, *, silent: bool, exits: bool, declares: str = "") -> None:
        self.era = "" if speaks == "dual" else speaks
        self.silent = silent
        self.capabilities = {**CAPABILITIES, **({"experimental": {"mux": {"scope": declares}}} if declares else {})}
        self.exits = exits
        self.listens: dict[Any, Json] = {}
        self.key = secrets.token_hex(8)
        """Signs `requestState`: another process can not read it."""
        self.cancelled: list[Any] = []
        self.opened: list[str] = []

    def serve(self) -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if "id" in message and "method" in message:
                self.opened.append(message["method"])
                try:
                    result = self.request(message["method"], message["id"], message.get("params", {}))
                except Error as error:
                    send({"jsonrpc": "2.0", "id": message["id"], "error": error.error})
                else:
                    if result is not None:
                        send({"jsonrpc": "2.0", "id": message["id"], "result": result})
            elif message.get("method") == "notifications/cancelled":
                number = message["params"]["requestId"]
                self.cancelled.append(number)
                self.listens.pop(number, None)

    def request(self, method: str, number: Any, params: Json) -> Json | None:
        enveloped = VERSION in params.get("_meta", {})
        if not self.era:
            self.era = "modern" if enveloped or method == "server/discover" else "legacy"
        if self.era == "legacy":
            if method == "initialize":
                return {"protocolVersion": LEGACY, "capabilities": self.capabilities, "serverInfo": INFO}
            if method.startswith(("server/", "subscriptions/")):
                if self.exits:
                    os._exit(3)
                if self.silent:
                    return None
                raise Error(NOT_FOUND, "Method not found")
        elif method == "initialize":
            raise Error(UNSUPPORTED, "Unsupported protocol version", supported=[MODERN], requested=LEGACY)
        elif method == "server/discover":
            return self.complete({"supportedVersions": [MODERN], "capabilities": self.capabilities, "serverInfo": INFO})
        elif not enveloped:
            raise Error(INVALID, "No protocol version in _meta")
        elif method == "subscriptions/listen":
            self.listens[number] = params
            self.tell(number, "notifications/subscriptions/acknowledged", notifications=params.get("notifications", {}))
            return None
        return self.common(method, params)

    def common(self, method: str, params: Json) -> Json | None:
        if method == "ping":
            return {}
        if method == "tools/list":
            return self.complete({"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]})
        if method in ("prompts/list", "resources/list"):
            return self.complete({method.partition("/")[0]: []})
        if method != "tools/call":
            raise Error(NOT_FOUND, "Method not found")
        tool, given = params["name"], params.get("arguments", {})
        if tool == "hang":
            return None
        if tool == "ask":
            return self.ask(params)
        if tool == "log":
            send({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": given}})
        elif tool == "change":
            for listen in list(self.listens):
                self.tell(listen, "notifications/tools/list_changed")
        elif tool == "end":
            for listen in list(self.listens):
                del self.listens[listen]
                result = {"resultType": "complete", "_meta": {SUBSCRIPTION: listen}}
                send({"jsonrpc": "2.0", "id": listen, "result": result})
        elif tool == "progress":
            token = params["_meta"]["progressToken"]
            for step in range(given["steps"]):
                progress = {"progressToken": token, "progress": step + 1}
                send({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress})
        said: Json = {"pid": os.getpid(), "cancelled": len(self.cancelled), "opened": self.opened}
        said["listens"] = len(self.listens)
        text = given.get("text") if tool == "echo" else json.dumps(said.get(tool, "done"))
        return self.complete({"content": [{"type": "text", "text": text}]})

    def ask(self, params: Json) -> Json:
        """Modern: the answer comes with a retry, a request of its own, to the process that signed the state."""
        who = params["arguments"]["who"]
        if "requestState" not in params:
            question = {
                "method": "elicitation/create",
                "params": {"mode": "form", "message": who, "requestedSchema": {}},
            }
            state = f"{self.key}:{who}"
            return {"resultType": "input_required", "inputRequests": {"q": question}, "requestState": state}
        if params["requestState"] != f"{self.key}:{who}":
            raise Error(-32602, "requestState is not mine")
        text = params["inputResponses"]["q"]["content"]["name"]
        return self.complete({"content": [{"type": "text", "text": text}]})

    def complete(self, result: Json) -> Json:
        return {"resultType": "complete", **result} if self.era == "modern" else result

    def tell(self, listen: Any, method: str, **params: Any) -> None:
        send({"jsonrpc": "2.0", "method": method, "params": {**params, "_meta": {SUBSCRIPTION: listen}}})


CAPABILITIES = {"tools": {"listChanged": True}, "prompts": {}, "resources": {}}
INFO = {"name": "eras", "version": "1"}
TOOLS = ("ask", "cancelled", "change", "echo", "end", "hang", "listens", "log", "opened", "pid", "progress")


def send(message: Json) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("speaks", choices=("modern", "legacy", "dual"))
    parser.add_argument("--silent", action="store_true", help="never answer a request that it does not know")
    parser.add_argument("--exits", action="store_true", help="end instead of answering a request that it does not know")
    parser.add_argument("--declare", default="", metavar="SCOPE", help="what it says itself about being shared")
    given = parser.parse_args()
    Server(given.speaks, silent=given.silent, exits=given.exits, declares=given.declare).serve()


if __name__ == "__main__":
    main()
