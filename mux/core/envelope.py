"""One line of JSON-RPC 2.0: what it is and where its id stands. Payload bytes are never decoded or written anew.

MCP base protocol, "Messages"; stdio transport, "Framing". A host's line is parsed once and its duplicates refused: two
parsers would disagree about whose request it is. A server's answer is spliced without a parse where an anchored match
proves that the id is top level.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from mux.core import scan
from mux.core.scan import BACKSLASH, CARRIAGE_RETURN, Malformed, Span
from mux.errors import INVALID_REQUEST, PARSE_ERROR
from mux.limits import ID_BYTES, JSON_DEPTH, VIEW_BYTES


class Request(msgspec.Struct, gc=False):
    """A request. id: its bytes as sent, at `span` of the line. params: its bytes, or nothing.

    escaped: the line has an escape by which a name could be spelt in another way.
    """

    line: bytes
    id: bytes
    span: Span
    method: str
    params: Raw | UnsetType
    escaped: bool


class Notification(msgspec.Struct, gc=False):
    """A notification, in the same terms."""

    line: bytes
    method: str
    params: Raw | UnsetType
    escaped: bool


class Answer(msgspec.Struct, gc=False):
    """A response. failed: it carries `error`."""

    line: bytes
    id: bytes
    span: Span
    failed: bool


class Rejected(msgspec.Struct, gc=False):
    """A line that is no JSON-RPC message: the code and the sentence to answer with. id: where it could be read."""

    code: int
    reason: str
    id: bytes = b"null"


Message = Request | Notification | Answer | Rejected


class _Peek(msgspec.Struct, gc=False):
    jsonrpc: Literal["2.0"] | UnsetType = UNSET
    id: Raw | UnsetType = UNSET
    method: str | UnsetType = UNSET
    params: Raw | UnsetType = UNSET


class _Meta(msgspec.Struct, gc=False):
    token: Raw | UnsetType = msgspec.field(default=UNSET, name="progressToken")


class _Tokens(msgspec.Struct, gc=False):
    meta: _Meta | UnsetType = msgspec.field(default=UNSET, name="_meta")
    token: Raw | UnsetType = msgspec.field(default=UNSET, name="progressToken")


_peek = msgspec.json.Decoder(_Peek).decode
_tokens = msgspec.json.Decoder(_Tokens).decode
_TOKEN = b'"progressToken"'
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NAMES = (b"jsonrpc", b"id", b"method", b"params", b"result", b"error")

# A line with these members is at least as long as their values and this, and exactly as long only if each stands there
# once, as spelt here, without white space or any other member.
_FRAME = len('{"jsonrpc":"2.0","method":""}')
_WITH_ID = len(',"id":')
_WITH_PARAMS = len(',"params":')

_PYTHON_FRONT = b'{"jsonrpc":"2.0","id":'
_CLAUDE_FRONT = b'{"method":"%b","jsonrpc":"2.0","id":'
_SCRIPT_ID = b',"jsonrpc":"2.0","id":%b}'
_valid_id = re.compile(rb'(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"|-?\d++(?:\.\d++)?+(?:[eE][+-]?\d++)?+)\Z', re.DOTALL)

# Answers: Python's layout in front, TypeScript's at the end.
_python_answer = re.compile(rb'\{"jsonrpc": ?"2\.0", ?"id": ?([1-9]\d{0,15}), ?"(result|error)":').match
_script_answer = re.compile(rb'\}(?:,"jsonrpc":"2\.0","id":([1-9]\d{0,15})|,"id":([1-9]\d{0,15}),"jsonrpc":"2\.0")\}\Z')
_SCRIPT_TAIL = 64

_number_like = re.compile(rb'"?([1-9]\d{0,15})(?:\.0+)?"?\Z')


def read_host(line: bytes) -> Message:
    """What a host's line is. Never raises; anything that is no message comes back as Rejected."""
    if CARRIAGE_RETURN in line or not line.isascii():
        harmful = _harmful(line)
        if harmful is not None:
            return harmful
    return _read_exactly(line) or _read_slowly(line)


def read_server(line: bytes) -> Message:
    """What a server's line is; for an answer `id` is the digits of an id that we sent up. Never raises."""
    front = _python_answer(line)
    if front is not None:
        return Answer(line, front[1], front.span(1), front[2] == b"error")
    if line.startswith((b'{"result":', b'{"error":')):
        tail = _script_answer.search(line, max(0, len(line) - _SCRIPT_TAIL))
        if tail is not None and _is_json(line):
            group = 1 if tail[1] else 2
            return Answer(line, tail[group], tail.span(group), line.startswith(b'{"error":'))
    message = _read_exactly(line) or _read_slowly(line, deep=True)
    if isinstance(message, Answer):
        digits = _number_like.match(message.id)
        if digits is not None:
            message.id = digits[1]
    return message


def renamed(message: Request | Answer, id_: bytes) -> bytes:
    """The message's line with another id, and a newline."""
    start, end = message.span
    line = message.line if len(message.line) < VIEW_BYTES else memoryview(message.line)
    return b"".join((line[:start], id_, line[end:], b"\n"))


def splice(line: bytes, *edits: tuple[Span, bytes]) -> bytes:
    """The line with each span replaced, and a newline. Spans do not overlap; any order."""
    parts: list[bytes] = []
    at = 0
    for (start, end), new in sorted(edits):
        parts += (line[at:start], new)
        at = end
    parts += (line[at:], b"\n")
    return b"".join(parts)


def find_in(message: Request | Notification, *path: bytes) -> Span | None:
    """Where `params` → path stands in the line. Raises Malformed at a duplicate of a name on the way.

    Cheap for a message that does not mention the last name at all, whatever its size.
    """
    line = message.line
    if message.params is UNSET or (line.find(path[-1]) < 0 and not message.escaped):
        return None
    return scan.find(line, b"params", *path)


def find_token(message: Request | Notification) -> Span | None:
    """Where `params._meta.progressToken` stands, as `find_in` would say, but fast for the layout of every SDK.

    If each of the two names stands in the line once, unescaped, and a parser finds them nested so, then it is those.
    """
    line = message.line
    if message.params is UNSET or (line.find(_TOKEN) < 0 and not message.escaped):
        return None
    if message.escaped or line.count(b'"_meta"') != 1 or line.count(_TOKEN) != 1:
        return scan.find(line, b"params", b"_meta", b"progressToken")
    try:
        meta = _tokens(message.params).meta
    except _UNREADABLE:
        return scan.find(line, b"params", b"_meta", b"progressToken")
    return None if meta is UNSET or meta.token is UNSET else _after_name(line, meta.token)


def find_progress(message: Notification) -> Span | None:
    """The same for `params.progressToken`, of a notification of progress."""
    line = message.line
    if message.params is not UNSET and not message.escaped and line.count(_TOKEN) == 1:
        try:
            token = _tokens(message.params).token
        except _UNREADABLE:
            token = UNSET
        if token is not UNSET:
            return _after_name(line, token)
    return find_in(message, b"progressToken")


def _after_name(line: bytes, token: Raw) -> Span:
    """Where the value of the only progress token of a line stands: JSON has white space and a colon before it."""
    raw = bytes(token)
    start = line.index(raw, line.index(b":", line.index(_TOKEN)))
    return start, start + len(raw)


def find_in_result(line: bytes, *path: bytes) -> Span | None:
    """Where `result` → path stands in an answer, or None. Raises Malformed as `find_in`."""
    if line.find(path[-1]) < 0 and not _is_escaped(line):
        return None
    return scan.find(line, b"result", *path)


def id_key(raw: bytes) -> bytes:
    """Equal for two spellings of one id, one of them with escapes. A number and a string never are."""
    if raw[:1] != b'"' or b"\\" not in raw:
        return raw
    return b'"%b"' % scan.unescape(raw)


def error_line(id_: bytes, code: int, message: str, data: object = None) -> bytes:
    """A JSON-RPC error as a line with its newline; `id_` as its bytes."""
    error: dict[str, object] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}\n' % (id_, msgspec.json.encode(error))


def result_line(id_: bytes, result: bytes = b"{}") -> bytes:
    """A JSON-RPC result as a line with its newline; both as their bytes."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}\n' % (id_, result)


def _read_exactly(line: bytes) -> Request | Notification | None:
    """A request or a notification in the layout of an SDK; None for any other line."""
    try:
        peek = _peek(line)
    except _UNREADABLE:
        return None
    method, params = peek.method, peek.params
    if method is UNSET or peek.jsonrpc is UNSET:
        return None
    size = len(line) - len(method) - _FRAME
    if params is not UNSET:
        size -= len(memoryview(params)) + _WITH_PARAMS
    if peek.id is UNSET:
        return None if size else Notification(line, method, params, _is_escaped(line))
    id_ = bytes(peek.id)
    if size != len(id_) + _WITH_ID or len(id_) > ID_BYTES or not (id_.isdigit() or _valid_id.match(id_)):
        return None
    # Nothing but these members: where one of these stands at an end of the line, the id stands beside it.
    if line.startswith(_PYTHON_FRONT):
        start = len(_PYTHON_FRONT)
    elif line.endswith(_SCRIPT_ID % id_):
        start = len(line) - 1 - len(id_)
    elif line.startswith(_CLAUDE_FRONT % method.encode()):
        start = len(_CLAUDE_FRONT) - 2 + len(method)
    else:
        return None
    return Request(line, id_, (start, start + len(id_)), method, params, _is_escaped(line))


def _is_escaped(line: bytes) -> bool:
    return BACKSLASH in line and b"\\u" in line


def _harmful(line: bytes) -> Rejected | None:
    """Why a line that may be JSON does not go to a server, or None.

    A reader in text mode, as the Python SDK's, ends a line at a carriage return: what stands behind it were a message
    that we never judged. Invalid UTF-8 ends some of them altogether.
    """
    if -1 < line.find(b"\r") < len(line) - 1:
        return Rejected(INVALID_REQUEST, "A message is one line: it must not contain a carriage return.")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return Rejected(PARSE_ERROR, f"This line is not UTF-8: {error.reason} at byte {error.start}.")
    return None


def _is_json(line: bytes) -> bool:
    try:
        _peek(line)
    except _UNREADABLE:
        return _judge(line, deep=True) is None
    return True


def _judge(line: bytes, *, deep: bool) -> Rejected | None:
    """Why a line that the fast parser refused is no JSON, or None if only the parser is at fault.

    deep: a depth that no parser bears is such a fault. A server's answer must reach who asked, whatever it looks like.
    """
    try:
        msgspec.json.decode(scan.strict_copy(line), type=Raw)
    except RecursionError:
        if deep and scan.is_closed(line):
            return None
        return Rejected(INVALID_REQUEST, f"This message is nested deeper than {JSON_DEPTH} levels.")
    except msgspec.DecodeError as error:
        return Rejected(PARSE_ERROR, f"This line is not JSON: {error}.")
    return None


def _read_slowly(line: bytes, *, deep: bool = False) -> Message:
    """As the readers, by scanning: for layouts that they do not know. deep: as in `_judge`."""
    try:
        _peek(line)
    except _UNREADABLE:
        rejected = _judge(line, deep=deep)
        if rejected is not None:
            return rejected
    stripped = line.lstrip(b" \t\r\n")
    if stripped[:1] == b"[":
        return Rejected(INVALID_REQUEST, "JSON-RPC batches are not part of MCP: send one message a line.")
    if stripped[:1] != b"{":
        return Rejected(INVALID_REQUEST, "This line is JSON but no object, so it is no JSON-RPC message.")
    spans: dict[bytes, Span] = {}
    try:
        found = scan.members(line)
    except Malformed as error:
        return Rejected(PARSE_ERROR, f"This line is not JSON: {error}.")
    for name, start, end in found:
        if name in spans and name in _NAMES:
            return Rejected(INVALID_REQUEST, f"{name.decode()!r} stands twice in this message.")
        if name not in _NAMES and name.lower() in _NAMES:  # Go's encoding/json takes "ID" for "id"
            return Rejected(INVALID_REQUEST, f"{name.decode()!r} is no name of a message; names are lower case.")
        spans[name] = (start, end)
    return _classify(line, spans)


def _classify(line: bytes, spans: dict[bytes, Span]) -> Message:
    span = spans.get(b"id")
    raw = line[slice(*span)] if span else b""
    if span and (not _valid_id.match(raw) or len(raw) > ID_BYTES):
        return Rejected(INVALID_REQUEST, f"The id of a message is a string or a number of at most {ID_BYTES} bytes.")
    if line[slice(*spans.get(b"jsonrpc", (0, 0)))] != b'"2.0"':
        return Rejected(INVALID_REQUEST, 'This message lacks "jsonrpc": "2.0".', raw or b"null")
    method = spans.get(b"method")
    if method:
        if line[method[0] : method[0] + 1] != b'"':
            return Rejected(INVALID_REQUEST, "The method of a message is a string.", raw or b"null")
        if b"result" in spans or b"error" in spans:
            return Rejected(INVALID_REQUEST, "A message has a method or a result, not both.", raw or b"null")
        name = scan.unescape(line[slice(*method)]).decode(errors="replace")
        at = spans.get(b"params")
        params = Raw(line[slice(*at)]) if at else UNSET
        escaped = _is_escaped(line)
        if span:
            return Request(line, raw, span, name, params, escaped)
        return Notification(line, name, params, escaped)
    if span and (b"result" in spans) != (b"error" in spans):
        return Answer(line, raw, span, b"error" in spans)
    return Rejected(
        INVALID_REQUEST, "A JSON-RPC message has a method, or an id and either a result or an error.", raw or b"null"
    )
