"""One upstream for every kind of client (`--clients any`), for a server that must exist once. MCP "Lifecycle".

It is opened by nobody in particular: the newest legacy version, no capability that would let it ask a client anything.
Each session is answered in the version that it asked for, if that is older than the one agreed with the server: later
versions only add members, which older clients ignore. What an older version does not have is not offered to it.
"""

from __future__ import annotations

import msgspec

from mux import __version__
from mux.core.envelope import Request, find_in_result, read_host, splice
from mux.core.scan import Malformed, members

VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Versions that begin with `initialize`, oldest first."""

SINCE = {b"completions": "2025-03-26", b"tasks": "2025-11-25"}
"""Capabilities of a server that came with a later version than the first."""

_OPENING = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": VERSIONS[-1],
        "capabilities": {},
        "clientInfo": {"name": "mcp-multiplexer", "version": __version__},
    },
}


def opening() -> Request:
    """The `initialize` that opens such an upstream."""
    request = read_host(msgspec.json.encode(_OPENING))
    assert isinstance(request, Request)  # it is written above
    return request


def adapted(line: bytes, asked: str) -> bytes:
    """The server's answer to `opening` for a session that asked for version `asked`."""
    try:
        version = find_in_result(line, b"protocolVersion")
        offered = find_in_result(line, b"capabilities")
        if version is None or asked not in VERSIONS:
            return line
        agreed = line[slice(*version)].strip(b'"').decode(errors="replace")
        if agreed not in VERSIONS or asked >= agreed:
            return line
        edits = [(version, b'"%b"' % asked.encode())]
        if offered is not None:
            edits.append((offered, _offered(line, offered[0], asked)))
    except Malformed:
        return line
    return splice(line.removesuffix(b"\n"), *edits)


def _offered(line: bytes, at: int, asked: str) -> bytes:
    kept = [
        msgspec.json.encode(name.decode(errors="replace")) + b":" + line[start:end]
        for name, start, end in members(line, at)
        if asked >= SINCE.get(name, "")
    ]
    return b"{" + b",".join(kept) + b"}"
