"""Answers of the shim itself, while no backend can be reached. Imported only then: it needs `json`."""

from __future__ import annotations

import json

from mux.errors import INVALID_REQUEST, OUTCOME_UNKNOWN, PARSE_ERROR, UPSTREAM_UNAVAILABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_HELD = ("server/discover", "notifications/initialized", "notifications/roots/list_changed")
"""Kept for the next backend: a client takes any error to its probe for a verdict on the server, and may store it; and
without these notifications no server knows where it stands."""


def answer(lines: Sequence[bytes], reason: str, *, sent: bool = False) -> tuple[bytes, list[bytes]]:
    """(answers for the host, lines to hold for the next backend). Requests get -31001, all else is dropped.

    sent: they may have been run already, so that requests get -31002.
    """
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
            answers.append(_unknown(message["id"], reason) if sent else _unavailable(message["id"], reason))
    return b"".join(answers), held


def _unavailable(identity: object, reason: str) -> bytes:
    text = f"The MCP multiplexer cannot serve this now: {reason}. The request was not run; send it again later."
    return _error(identity, UPSTREAM_UNAVAILABLE, text, _data(reason, "not_started", safe=True))


def _unknown(identity: object, reason: str) -> bytes:
    text = f"Whether this request took effect is unknown: it was running when its server ended. Now: {reason}."
    return _error(identity, OUTCOME_UNKNOWN, text, _data(reason, "unknown", safe=False))


def _data(cause: str, state: str, *, safe: bool) -> dict[str, object]:
    return {"mux": {"cause": cause, "executionState": state, "safeToRetry": safe}}


def _error(identity: object, code: int, message: str, data: dict[str, object] | None) -> bytes:
    error: dict[str, object] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return json.dumps({"jsonrpc": "2.0", "id": identity, "error": error}, separators=(",", ":")).encode() + b"\n"
