"""A byte scanner for JSON: where members stand, without decoding anything.

It looks only at strings and brackets, so it works where parsers give up: NaN, 1e400, lone surrogates, invalid UTF-8,
integers of any length, any depth. It does not validate: give it only what `envelope` has accepted. RFC 8259.
"""

from __future__ import annotations

import re

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_string = re.compile(_STRING, re.DOTALL)
# A string that does not end is taken to the end of the data: else each quote in it would be searched a partner again.
_token = re.compile(_STRING + rb"?+|[{\[]++|[}\]]", re.DOTALL)
_scalar = re.compile(rb"[^\s,:{}\[\]\"]++")
_space = re.compile(rb"[ \t\r\n]*+")
_lax = re.compile(_STRING + rb"?+|(?<![\w.+-])(?:NaN|-?Infinity)(?![\w.+-])", re.DOTALL)
_escape = re.compile(rb"\\(?:u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL)


class Malformed(ValueError):
    """The bytes are not the JSON value that was expected; `str()` says what."""


Span = tuple[int, int]

BACKSLASH = 0x5C
CARRIAGE_RETURN = 0x0D
"""One byte is looked for as a number: `bytes in bytes` raises an error inside and clears it, at ten times the cost."""


def members(data: bytes, at: int = 0) -> list[tuple[bytes, int, int]]:
    """The members of the object that starts at or after `at`: (name, start of value, end of value), in their order.

    Names are unescaped where they can be. Raises Malformed where no object starts or it does not end.
    """
    at = _skip(data, at)
    if data[at : at + 1] != b"{":
        raise Malformed("an object was expected")
    found: list[tuple[bytes, int, int]] = []
    at = _skip(data, at + 1)
    if data[at : at + 1] == b"}":
        return found
    while True:
        name = _string.match(data, at)
        if name is None:
            raise Malformed("a member name was expected")
        at = _skip(data, name.end())
        if data[at : at + 1] != b":":
            raise Malformed("a colon was expected")
        start = _skip(data, at + 1)
        end = value_end(data, start)
        found.append((unescape(name.group()), start, end))
        at = _skip(data, end)
        separator = data[at : at + 1]
        if separator == b"}":
            return found
        if separator != b",":
            raise Malformed("a comma or a closing brace was expected")
        at = _skip(data, at + 1)


def elements(data: bytes, at: int) -> list[Span]:
    """Where the elements of the array that starts at or after `at` stand. Raises Malformed as `members`."""
    at = _skip(data, at)
    if data[at : at + 1] != b"[":
        raise Malformed("an array was expected")
    found: list[Span] = []
    at = _skip(data, at + 1)
    if data[at : at + 1] == b"]":
        return found
    while True:
        end = value_end(data, at)
        found.append((at, end))
        at = _skip(data, end)
        separator = data[at : at + 1]
        if separator == b"]":
            return found
        if separator != b",":
            raise Malformed("a comma or a closing bracket was expected")
        at = _skip(data, at + 1)


def value_end(data: bytes, at: int) -> int:
    """The index after the value that starts at `at`. Raises Malformed if it does not end."""
    first = data[at : at + 1]
    if first == b'"':
        match = _string.match(data, at)
    elif first in (b"{", b"["):
        return _container_end(data, at)
    else:
        match = _scalar.match(data, at)
    if match is None:
        raise Malformed("a value was expected")
    return match.end()


def is_closed(data: bytes) -> bool:
    """Whether `data` is one object or array and nothing else, as far as brackets and strings tell; at any depth."""
    at = _skip(data, 0)
    try:
        return data[at : at + 1] in (b"{", b"[") and _skip(data, _container_end(data, at)) == len(data)
    except Malformed:
        return False


def find(data: bytes, *path: bytes, at: int = 0) -> Span | None:
    """Where the value under `path` stands, or None. Raises Malformed if a name on the way stands twice."""
    at, end = _skip(data, at), len(data)
    for name in path:
        if data[at : at + 1] != b"{":
            return None
        hits = [(start, stop) for key, start, stop in members(data, at) if key == name]
        if not hits:
            return None
        if len(hits) > 1:
            raise Malformed(f"{name.decode()!r} stands twice in one object")
        at, end = hits[0]
    return at, end


def unescape(literal: bytes) -> bytes:
    """The content of a string literal, quotes included in `literal`; as it stands where it can not be decoded."""
    content = literal[1:-1]
    if b"\\" not in content:
        return content

    def plain(match: re.Match[bytes]) -> bytes:
        short = _SHORT.get(match.group()[1:])
        if short is not None:
            return short
        units = bytes.fromhex(match.group().replace(b"\\u", b"").decode())
        return units.decode("utf-16-be", "surrogatepass").encode(errors="surrogatepass")

    return _any_escape.sub(plain, content)


_any_escape = re.compile(rb"(?:\\u[0-9a-fA-F]{4})++|\\[\"\\/bfnrt]")
_SHORT = {
    b'"': b'"',
    b"\\": b"\\",
    b"/": b"/",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
}


def strict_copy(data: bytes) -> bytes:
    """`data` with NaN, Infinity and lone surrogates replaced by legal tokens of the same length.

    So a strict parser can judge the rest, and every offset still holds. Python's `json` sends those three by default.
    """

    def legal(match: re.Match[bytes]) -> bytes:
        token = match.group()
        if token[:1] != b'"':
            return b"1" * len(token)
        return _escape.sub(_not_surrogate, token) if b"\\u" in token else token

    return _lax.sub(legal, data)


def _not_surrogate(match: re.Match[bytes]) -> bytes:
    return b"\\u0041" if len(match.group()) == 6 else match.group()


def _skip(data: bytes, at: int) -> int:
    match = _space.match(data, at)
    return match.end() if match else at


def _container_end(data: bytes, at: int) -> int:
    depth = 0
    for token in _token.finditer(data, at):
        first = data[token.start()]
        if first in b"{[":
            depth += token.end() - token.start()
        elif first in b"}]":
            depth -= 1
            if not depth:
                return token.end()
    raise Malformed("an object or array does not end")
