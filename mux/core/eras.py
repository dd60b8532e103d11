"""Refusing a client of the other era: as a server does that speaks one only, and how that is recognised.

MCP 2026-07-28, "Versioning": a modern server refuses `initialize` and names the versions that it serves; legacy ones
refuse `server/discover` in ways that no version specified, which is how a client knows them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from mux import errors
from mux.core.envelope import error_line, find_in
from mux.core.scan import Malformed, find

if TYPE_CHECKING:
    from mux.core.envelope import Answer, Request
    from mux.core.scan import Span

FIRST_MODERN = "2026-07-28"

UNSUPPORTED_VERSION = -32022
"""UnsupportedProtocolVersionError. MCP 2026-07-28, "Error codes"."""

MODERN_ERRORS = frozenset({b"-32020", b"-32021", b"%d" % UNSUPPORTED_VERSION})
"""Errors that only a modern server gives to a discover. MCP 2026-07-28, "Error codes"."""

_INITIALIZE_FIRST = (
    "This server is shared in the protocol up to 2025-11-25 only (--era legacy, or --clients any): "
    "send `initialize` first."
)
_NO_HANDSHAKE = (
    f"This server is shared in the protocol from {FIRST_MODERN} only (--era modern), which has no `initialize`: "
    "send `server/discover`."
)
_NO_VERSION = (
    f"This server is shared in the protocol from {FIRST_MODERN} only (--era modern): each request names its version in "
    "`_meta`."
)


def not_found() -> tuple[bytes, Span]:
    """How legacy servers refuse a discover, mostly: a line without its newline, and where its id stands."""
    line = error_line(b"0", errors.METHOD_NOT_FOUND, "Method not found")[:-1]
    at = line.index(b"0,")
    return line, (at, at + 1)


def by_legacy(request: Request) -> bytes:
    """What a session is told that sends anything but `initialize` to a server that is shared as a legacy one only."""
    return error_line(request.id, errors.INVALID_REQUEST, _INITIALIZE_FIRST)


def by_modern(request: Request) -> bytes:
    """What a session is told that sends no modern request to a server that is shared as a modern one only."""
    if request.method != "initialize":
        return error_line(request.id, errors.INVALID_PARAMS, _NO_VERSION)
    data: dict[str, object] = {"supported": [FIRST_MODERN]}
    with suppress(Malformed, msgspec.DecodeError, UnicodeDecodeError):  # what is no text can not be repeated
        if span := find_in(request, b"protocolVersion"):
            data["requested"] = msgspec.json.decode(request.line[slice(*span)], type=str)
    return error_line(request.id, UNSUPPORTED_VERSION, _NO_HANDSHAKE, data)


def is_modern_refusal(answer: Answer) -> bool:
    """Whether a discover failed as only modern servers fail, and not because it wants an older version."""
    try:
        code = find(answer.line, b"error", b"code")
        supported = find(answer.line, b"error", b"data", b"supported")
    except Malformed:
        return False
    if code is None or answer.line[slice(*code)] not in MODERN_ERRORS:
        return False
    if supported is None:
        return True
    try:
        versions = msgspec.json.decode(answer.line[slice(*supported)], type=list[str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return any(version >= FIRST_MODERN for version in versions)
