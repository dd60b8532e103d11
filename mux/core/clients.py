"""Who a client says it is, and what it can. MCP 2025-11-25, "Lifecycle"; 2026-07-28, "Versioning".

Read leniently: what can not be read is not known, and the message passes as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from mux.core.envelope import find_in
from mux.core.scan import Malformed, members

if TYPE_CHECKING:
    from mux.core.envelope import Request
    from mux.core.session import Session

VERSION = (b"_meta", b"io.modelcontextprotocol/protocolVersion")
CLIENT = (b"_meta", b"io.modelcontextprotocol/clientInfo")


class _Client(msgspec.Struct):
    name: str = ""
    version: str = ""


def is_enveloped(request: Request) -> bool:
    """Whether a request carries the version of a modern client."""
    try:
        return find_in(request, *VERSION) is not None
    except Malformed:
        return False


def read_legacy(session: Session, request: Request) -> None:
    """Client, version and capabilities from an `initialize`."""
    _read_client(session, request, b"clientInfo")
    try:
        version = find_in(request, b"protocolVersion")
        span = find_in(request, b"capabilities")
        declared = members(request.line, span[0]) if span else []
    except Malformed:
        return
    session.version = request.line[slice(*version)].strip(b'"').decode(errors="replace") if version else ""
    session.capabilities = frozenset(name.decode(errors="replace") for name, _, _ in declared)


def read_modern(session: Session, request: Request) -> None:
    """The client from the `_meta` of its first request."""
    _read_client(session, request, *CLIENT)


def _read_client(session: Session, request: Request, *path: bytes) -> None:
    try:
        span = find_in(request, *path)
        known = msgspec.json.decode(request.line[slice(*span)], type=_Client) if span else _Client()
    except (Malformed, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    session.client = (known.name, known.version)
