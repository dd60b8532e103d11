"""Whose a line is of which only both ends are known. MCP base protocol, "Messages"."""

from __future__ import annotations

import re

_ID = rb'("[^"\\]*+"|-?\d++)'
_SCALARS = rb'\s*+"(?:jsonrpc|id|method)"\s*+:\s*+(?:"[^"\\]*+"|-?\d++)\s*+'
_TRAILERS = rb'(?:,\s*+"(?:jsonrpc|method)"\s*+:\s*+"[^"\\]*+"\s*+)*+'
_oversize_front = re.compile(rb"\s*+\{(?:" + _SCALARS + rb',)*+\s*+("result"|"error"|"params")?+')
_oversize_id = re.compile(rb'"id"\s*+:\s*+' + _ID)
_oversize_back = re.compile(rb',\s*+"id"\s*+:\s*+' + _ID + rb"\s*+" + _TRAILERS + rb"\}\s*+\Z")


def id_of_oversize(edges: bytes) -> tuple[bytes | None, bool]:
    """(id of a message of which only both ends are known, or None; whether it looks like a request).

    If the message is JSON the id is its own: in front, none but scalar members stand before it; at the end, none but
    scalar members without an escape between it and the closing brace.
    """
    half = len(edges) // 2
    head, tail = edges[:half], edges[half:]
    front = _oversize_front.match(head)
    if front is None:
        return None, True
    back = _oversize_back.search(tail)
    id_ = _oversize_id.search(front[0]) or back
    answers = front[1] in (b'"result"', b'"error"')
    is_request = b'"method"' in front[0] or (not answers and (front[1] is not None or b'"method"' in tail[-4096:]))
    return (id_[1] if id_ is not None else None), is_request
