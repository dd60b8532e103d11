"""A small real MCP server over stdio, standard library only: what `mux demo` starts when no COMMAND is given.

Legacy era (MCP 2024-11-05 … 2025-11-25): `initialize`, `ping`, `tools/list`, `tools/call` with three tools. It ends
at the end of its input.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from mux import __version__
from mux.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR

VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")

Json = dict[str, Any]


class RpcError(Exception):
    """Becomes a JSON-RPC error answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _tool(name: str, description: str, **properties: str) -> Json:
    schema = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in properties.items()},
        "required": list(properties),
    }
    hints = {"readOnlyHint": True, "openWorldHint": False}
    return {"name": name, "description": description, "inputSchema": schema, "annotations": hints}


TOOLS = (
    _tool("echo", "Return the text that was given.", text="string"),
    _tool("pid", "Return the process id of this server: equal in two sessions that share it."),
    _tool("add", "Return the sum of two numbers.", a="number", b="number"),
)


def initialize(params: Json) -> Json:
    """Agree on the client's version where we speak it, otherwise offer our newest (MCP 2025-11-25, Lifecycle)."""
    asked = params.get("protocolVersion")
    if not isinstance(asked, str):
        raise RpcError(INVALID_PARAMS, "initialize needs a protocolVersion")
    return {
        "protocolVersion": asked if asked in VERSIONS else VERSIONS[-1],
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "mux-demo-server", "version": __version__},
    }


def call(params: Json) -> Json:
    """A tool's result. Wrong arguments are a result with `isError`, so that a model can see and mend them."""
    name, arguments = params.get("name"), params.get("arguments", {})
    tool = next((tool for tool in TOOLS if tool["name"] == name), None)
    if tool is None:
        raise RpcError(INVALID_PARAMS, f"Unknown tool: {name}")
    if not isinstance(arguments, dict):
        raise RpcError(INVALID_PARAMS, "arguments must be an object")
    for key, schema in tool["inputSchema"]["properties"].items():
        kinds: tuple[type, ...] = (str,) if schema["type"] == "string" else (int, float)
        value = arguments.get(key)
        if not isinstance(value, kinds) or isinstance(value, bool):
            return _text(f"{name} needs {key}, a {schema['type']}", error=True)
    match name:
        case "echo":
            return _text(arguments["text"])
        case "pid":
            return _text(str(os.getpid()))
        case _:
            return _text(str(arguments["a"] + arguments["b"]))


def _text(text: str, *, error: bool = False) -> Json:
    return {"content": [{"type": "text", "text": text}], "isError": error}


METHODS = {
    "initialize": initialize,
    "ping": lambda _: {},
    "tools/list": lambda _: {"tools": TOOLS},
    "tools/call": call,
}


def answer(line: bytes) -> Json | None:
    """The answer to one line, or None where JSON-RPC wants none: a notification, a response, an empty line."""
    if not line.strip():
        return None
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _error(None, RpcError(PARSE_ERROR, f"Parse error: {error}"))
    if not isinstance(message, dict):
        return _error(None, RpcError(INVALID_REQUEST, "A message must be one JSON object"))
    method, request = message.get("method"), message.get("id")
    if not isinstance(method, str):
        if "result" in message or "error" in message:
            return None
        return _error(None, RpcError(INVALID_REQUEST, "A message needs a method"))
    if "id" not in message:
        return None
    if not isinstance(request, str | int | float) or isinstance(request, bool):
        return _error(None, RpcError(INVALID_REQUEST, "An id must be a string or a number"))
    try:
        params = message.get("params", {})
        if not isinstance(params, dict):
            raise RpcError(INVALID_PARAMS, "params must be an object")
        if method not in METHODS:
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {method}")
        return {"jsonrpc": "2.0", "id": request, "result": METHODS[method](params)}
    except RpcError as error:
        return _error(request, error)


def _error(request: object, error: RpcError) -> Json:
    return {"jsonrpc": "2.0", "id": request, "error": {"code": error.code, "message": str(error)}}


def main() -> int:
    """Serve stdin until it ends; 0 then, and when the reader of stdout has gone."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    try:
        for line in source:
            if (message := answer(line)) is not None:
                sink.write(json.dumps(message).encode() + b"\n")
                sink.flush()
    except (BrokenPipeError, KeyboardInterrupt):
        # The interpreter's own flush at exit would fail as well, and print.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
