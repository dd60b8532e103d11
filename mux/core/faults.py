"""The errors that the multiplexer itself answers with: one line each, in words that say what to do."""

from __future__ import annotations

from mux import errors, limits
from mux.core.envelope import error_line

NOT_STARTED = "not_started"
UNKNOWN = "unknown"

_NEXT_REQUEST = "The request was not run. The next one tries again; `mux doctor` says what is wrong."


def unavailable(id_: bytes, argv: tuple[bytes, ...], cause: str) -> bytes:
    """The server can not start or keeps dying; the request was never run."""
    message = f"MCP server `{text(argv)}` is not available: {cause}\n{_NEXT_REQUEST}"
    return _line(id_, errors.UPSTREAM_UNAVAILABLE, message, cause)


def outcome_unknown(id_: bytes, cause: str) -> bytes:
    """The request was running when the server or the backend died; it is not run again."""
    message = f"The outcome of this request is unknown, and it is not run again: {cause} Look before you repeat it."
    return _line(id_, errors.OUTCOME_UNKNOWN, message, cause, state=UNKNOWN, safe=False)


def too_large(id_: bytes, who: str, state: str = NOT_STARTED) -> bytes:
    """A message over the limit, from a host or from its server."""
    cause = f"{who} sent a message larger than {limits.MESSAGE_BYTES // limits.MIB} MiB."
    message = f"{cause} Ask for less or send less, or raise the limit `message_bytes`."
    return _line(id_, errors.MESSAGE_TOO_LARGE, message, cause, state=state, safe=False)


def unreadable(id_: bytes, reason: str) -> bytes:
    """For a server: the answer to its question was no message."""
    return error_line(id_, errors.INTERNAL_ERROR, f"The client answered with something that is no message: {reason}")


def overloaded(id_: bytes) -> bytes:
    """More requests of one session wait than are kept."""
    cause = f"More than {limits.SESSION_WAITING} requests of this session are waiting."
    return _line(id_, errors.OVERLOADED, f"{cause} Wait for answers before you send more.", cause)


def kept_too_much(id_: bytes) -> bytes:
    """More subscriptions and listens of one session than its shim keeps for a rebuild."""
    cause = f"This session holds {limits.KEPT_LINES} subscriptions, or {limits.KEPT_BYTES // limits.KIB} KiB of them."
    message = f"{cause} End some, or raise `kept_lines` and `kept_bytes`."
    return _line(id_, errors.OVERLOADED, message, cause, safe=False)


def text(argv: tuple[bytes, ...]) -> str:
    """A command for a person: its words with spaces between, at most 200 characters."""
    words = b" ".join(argv).decode(errors="replace")
    return words if len(words) <= 200 else words[:199] + "…"


def exit_cause(status: int, stderr: str, when: str) -> str:
    """How a process ended, in words. status: exit code, or minus the signal."""
    how = f"exited with code {status}" if status >= 0 else f"was killed by signal {-status}"
    last = f" Its last words on stderr:\n{stderr}" if stderr else " It wrote nothing to stderr."
    return f"it {how} {when}.{last}"


def _line(id_: bytes, code: int, message: str, cause: str, *, state: str = NOT_STARTED, safe: bool = True) -> bytes:
    data = {"mux": {"cause": cause, "executionState": state, "safeToRetry": safe}}
    return error_line(id_, code, message, data)
