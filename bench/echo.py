"""The measured server: as cheap as standard-library Python can be, so that it hides little of the multiplexer's cost.

It takes what one read brings and answers with one write; a message that comes alone is answered at once.
"""

from __future__ import annotations

import json
import os

READ_BYTES = 64 * 1024

INITIALIZE = (
    b'{"jsonrpc": "2.0", "id": %s, "result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, '
    b'"serverInfo": {"name": "bench-echo", "version": "1"}}}\n'
)
LIST = (
    b'{"jsonrpc": "2.0", "id": %s, "result": {"tools": [{"name": "echo", "inputSchema": {"type": "object", '
    b'"properties": {"text": {"type": "string"}}, "required": ["text"]}}]}}\n'
)
ECHO = b'{"jsonrpc": "2.0", "id": %s, "result": {"content": [{"type": "text", "text": %s}]}}\n'
EMPTY = b'{"jsonrpc": "2.0", "id": %s, "result": {}}\n'


def answer(line: bytes) -> bytes:
    """The answer to one line; nothing to a notification."""
    message = json.loads(line)
    if "id" not in message:
        return b""
    number = b"%d" % message["id"] if type(message["id"]) is int else json.dumps(message["id"]).encode()
    method = message["method"]
    if method == "tools/call":
        return ECHO % (number, json.dumps(message["params"]["arguments"]["text"]).encode())
    return (INITIALIZE if method == "initialize" else LIST if method == "tools/list" else EMPTY) % number


def main() -> None:
    """Serve stdin until it ends."""
    rest: list[bytes] = []
    while data := os.read(0, READ_BYTES):
        if b"\n" not in data:
            rest.append(data)
            continue
        *lines, last = b"".join([*rest, data]).split(b"\n")
        rest = [last]
        out = b"".join(map(answer, lines))
        while out:
            out = out[os.write(1, out) :]


if __name__ == "__main__":
    main()
