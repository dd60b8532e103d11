"""Answers of the shim itself, while no backend can be reached. Imported only then: it needs `json`."""

from __future__ import annotations

import json

from mux.errors import INVALID_REQUEST, PARSE_ERROR, UPSTREAM_UNAVAILABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_HELD = ("server/discover",)
"""A client takes any error to its probe for a verdict on the server, and may store it: this one waits."""


def answer(lines: Sequence[bytes], reason: str) -> tuple[bytes, list[bytes]]:
    """(answers for the host, lines to hold for the next backend). Requests get -31001, all else is dropped."""
    answers: list[bytes] = []
    held: list[bytes] = []
    for line in lines:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            if line.strip():
                answers.append(_error(None, PARSE_ERROR, "Parse error: the line is not JSON", None))
            continue
        if not isinstance(message, dict):
            answers.append(_error(None, INVALID_REQUEST, "Invalid request: not a JSON-RPC message", None))
        elif message.get("method") in _HELD:
            held.append(line)
        elif "method" in message and "id" in message:
            answers.append(_error(message["id"], UPSTREAM_UNAVAILABLE, *_unavailable(reason)))
    return b"".join(answers), held


def _unavailable(reason: str) -> tuple[str, dict[str, object]]:
    message = (
        f"The MCP multiplexer's backend cannot be reached ({reason}); it is tried again. Send the request again later."
    )
    return message, {"mux": {"cause": reason, "executionState": "not_started", "safeToRetry": True}}


def _error(identity: object, code: int, message: str, data: dict[str, object] | None) -> bytes:
    error: dict[str, object] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return json.dumps({"jsonrpc": "2.0", "id": identity, "error": error}, separators=(",", ":")).encode() + b"\n"
