"""Lines that are no message, and those that others choke on. MCP base protocol, "Messages"; JSON-RPC 2.0."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mux import errors
from mux.core import scan
from mux.core.envelope import (
    Answer,
    Rejected,
    Request,
    error_line,
    read_host,
    read_server,
    splice,
)
from mux.core.scan import Malformed
from mux.limits import ID_BYTES
from tests.core.layouts import (
    NAMES,
    Known,
    answers,
    escaped,
    json_values,
    literal,
    mutated,
    notifications,
    requests,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def text_lines(data: bytes) -> list[str]:
    """What a server sees that reads its stdin in text mode."""
    return list(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


# --- what is refused --------------------------------------------------------------------------

DEEP = 100_000

REFUSED = [
    (b"", errors.PARSE_ERROR, b"null"),
    (b"hello", errors.PARSE_ERROR, b"null"),
    (b'{"jsonrpc":"2.0","id":1,"method":"x"', errors.PARSE_ERROR, b"null"),
    (b'{"jsonrpc":"2.0","id":1,"method":"x"}}', errors.PARSE_ERROR, b"null"),
    (b'{"jsonrpc":"2.0","id":1,"method":"x","params":[1NaN]}', errors.PARSE_ERROR, b"null"),
    (b'{"jsonrpc":"2.0","id":1,"method":"x","params":"\xff"}', errors.PARSE_ERROR, b"null"),
    (b'{"jsonrpc":"2.0","id":1,"method":"x","params":"\xed\xa0\x80"}', errors.PARSE_ERROR, b"null"),
    (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"x"}', errors.PARSE_ERROR, b"null"),
    (b'[{"jsonrpc":"2.0","id":1,"method":"x"}]', errors.INVALID_REQUEST, b"null"),
    (b'"x"', errors.INVALID_REQUEST, b"null"),
    (b"1", errors.INVALID_REQUEST, b"null"),
    (b"NaN", errors.INVALID_REQUEST, b"null"),
    (b"{}", errors.INVALID_REQUEST, b"null"),
    (b'{"jsonrpc":"2.0"}', errors.INVALID_REQUEST, b"null"),
    (b'{"jsonrpc":"2.0","id":null,"method":"x"}', errors.INVALID_REQUEST, b"null"),
    (b'{"jsonrpc":"2.0","id":[1],"method":"x"}', errors.INVALID_REQUEST, b"null"),
    (b'{"jsonrpc":"2.0","id":{},"method":"x"}', errors.INVALID_REQUEST, b"null"),
    (b'{"jsonrpc":"2.0","id":true,"method":"x"}', errors.INVALID_REQUEST, b"null"),
    (b'{"jsonrpc":"2.0","id":NaN,"method":"x"}', errors.INVALID_REQUEST, b"null"),
    (b'{"jsonrpc":"2.0","id":-Infinity,"method":"x"}', errors.INVALID_REQUEST, b"null"),
    (b'{"id":1,"method":"x"}', errors.INVALID_REQUEST, b"1"),
    (b'{"jsonrpc":"1.0","id":"a","method":"x"}', errors.INVALID_REQUEST, b'"a"'),
    (b'{"jsonrpc":2.0,"id":1,"method":"x"}', errors.INVALID_REQUEST, b"1"),
    (b'{"jsonrpc":"2.0","id":1,"method":5}', errors.INVALID_REQUEST, b"1"),
    (b'{"jsonrpc":"2.0","method":null}', errors.INVALID_REQUEST, b"null"),
    (b'{"jsonrpc":"2.0","id":1,"method":"x","result":{}}', errors.INVALID_REQUEST, b"1"),
    (b'{"jsonrpc":"2.0","method":"x","error":{}}', errors.INVALID_REQUEST, b"null"),
    (b'{"jsonrpc":"2.0","id":1}', errors.INVALID_REQUEST, b"1"),
    (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', errors.INVALID_REQUEST, b"1"),
    (b'{"jsonrpc":"2.0","result":{}}', errors.INVALID_REQUEST, b"null"),
    (b'{"jsonrpc":"2.0","id":1,"ID":2,"method":"x"}', errors.INVALID_REQUEST, b"null"),
    (b'{"jsonrpc":"2.0","Id":2,"method":"x"}', errors.INVALID_REQUEST, b"null"),
    (b'{"jsonrpc":"2.0","id":1,"method":"x"}\r ', errors.INVALID_REQUEST, b"null"),
    (b'\r{"jsonrpc":"2.0","id":1,"method":"x"}', errors.INVALID_REQUEST, b"null"),
    (
        b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + b"[" * DEEP + b"]" * DEEP + b"}",
        errors.INVALID_REQUEST,
        b"null",
    ),
    (b"[" * DEEP, errors.INVALID_REQUEST, b"null"),
]


@pytest.mark.parametrize(("line", "code", "id_"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_message_is_refused_with_its_code(line: bytes, code: int, id_: bytes) -> None:
    message = read_host(line)
    assert isinstance(message, Rejected)
    assert (message.code, message.id) == (code, id_)
    assert json.loads(error_line(message.id, message.code, message.reason))["error"]["message"] == message.reason


@given(
    st.sampled_from(NAMES),
    st.sampled_from([literal, escaped]),
    json_values,
    requests() | notifications() | answers(),
    st.sampled_from([1, -1]),
)
def test_a_name_of_a_message_stands_in_it_once(
    name: str, spell: Callable[[str], bytes], value: bytes, known: Known, order: int
) -> None:
    assume(name in known.spans)
    member = spell(name) + b":" + value
    inner = known.line.strip()[1:-1]
    line = b"{" + b",".join([member, inner][::order]) + b"}"
    message = read_host(line)
    assert isinstance(message, Rejected)
    assert message.reason == f"{name!r} stands twice in this message."


def test_a_line_that_the_scanner_can_not_follow_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_line: bytes) -> list[tuple[bytes, int, int]]:
        raise Malformed("two parsers disagree")

    monkeypatch.setattr(scan, "members", lost)
    message = read_host(b'{"jsonrpc":"2.0", "method":"x"}')
    assert message == Rejected(errors.PARSE_ERROR, "This line is not JSON: two parsers disagree.")


def test_names_without_meaning_may_stand_twice() -> None:
    message = read_host(b'{"jsonrpc":"2.0","x":1,"id":5,"method":"m","x":2}')
    assert isinstance(message, Request)
    assert message.id == b"5"


@pytest.mark.parametrize("size", [ID_BYTES, ID_BYTES + 1])
@pytest.mark.parametrize(
    "template", [b'{"jsonrpc":"2.0","id":%b,"method":"x"}', b'{"method":"x","id":%b, "jsonrpc":"2.0"}']
)
def test_an_id_may_be_so_long_whatever_the_layout(template: bytes, size: int) -> None:
    for id_ in (b'"' + b"x" * (size - 2) + b'"', b"9" * size):
        message = read_host(template % id_)
        assert isinstance(message, Request if size <= ID_BYTES else Rejected)


@settings(max_examples=300)
@given(mutated())
def test_a_reader_in_text_mode_sees_one_line_in_what_we_took_for_one(line: bytes) -> None:
    message = read_host(line)
    if not isinstance(message, Rejected):
        assert len(text_lines(line + b"\n")) == 1


def test_a_message_hidden_behind_a_carriage_return_goes_nowhere() -> None:
    hidden = b'{"jsonrpc":"2.0","id":1048576,"method":"tools/call"}'
    line = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":\r' + hidden + b"\r}"
    assert json.loads(line)["params"]["id"] == 1048576
    assert hidden.decode() + "\n" in text_lines(line)
    assert isinstance(read_host(line), Rejected)


def test_a_line_may_end_as_windows_ends_it() -> None:
    message = read_host(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\r')
    assert isinstance(message, Request)


# --- what others choke on ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        b"NaN",
        b"[-Infinity,Infinity]",
        b"1e400",
        b"-1E+999",
        b'"\\ud800"',
        b'{"\\udfff":1}',
        b"9" * 5000,
        b"[" * 500 + b"]" * 500,
        '"\u2028 \u0085 😀"'.encode(),
        b'"' + b"\\\\" * 5000 + b'"',
    ],
    ids=lambda value: value[:12].decode(),
)
def test_values_that_parsers_choke_on_pass(value: bytes) -> None:
    for layout in (
        b'{"jsonrpc":"2.0","id":12,"method":"x","params":%b}',
        b'{"method":"x","params":%b,"jsonrpc":"2.0","id":12}',
    ):
        message = read_host(layout % value)
        assert isinstance(message, Request)
        assert message.id == b"12"
        assert splice(message.line, (message.span, b"7")) == layout.replace(b"12", b"7") % value + b"\n"
    for layout in (b'{"jsonrpc":"2.0","id":12,"result":{"a":%b}}', b'{"result":{"a":%b},"jsonrpc":"2.0","id":12}'):
        answer = read_server(layout % value)
        assert isinstance(answer, Answer)
        assert splice(answer.line, (answer.span, b'"a"')) == layout.replace(b"12", b'"a"') % value + b"\n"


def test_a_server_may_send_bytes_that_are_no_utf_8() -> None:
    answer = read_server(b'{"result":{"a":"\xff"},"id":12,"jsonrpc":"2.0"}')
    assert isinstance(answer, Answer)
    assert answer.id == b"12"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("depth", [900, 5_000, 200_000])
@pytest.mark.parametrize(
    "layout",
    [
        b'{"jsonrpc":"2.0","id":7,"result":%b}',
        b'{"result":{"a":%b},"jsonrpc":"2.0","id":7}',
        b'{"result":{"a":%b},"id":7,"jsonrpc":"2.0"}',
        b'{"id":7,"result":{"]":%b},"jsonrpc":"2.0"}',
        b' {"jsonrpc":"2.0", "error": {"code":1,"message":"\\"[{","data":%b}, "id": 7} ',
    ],
)
def test_an_answer_is_known_however_deep_it_is(layout: bytes, depth: int) -> None:
    line = layout % (b'[{"a":' * depth + b"1" + b"}]" * depth)
    answer = read_server(line)
    assert isinstance(answer, Answer)
    assert answer.id == b"7"
    assert line[: answer.span[0]].endswith((b'"id":', b'"id": '))
    assert answer.failed == (b'"error"' in layout)


@pytest.mark.parametrize(
    "line",
    [
        b'{"result":{"a":%b,"b":{}},"jsonrpc":"2.0","id":7}',
        b'{"result":{"a":%b,"b":{"x":{}},"jsonrpc":"2.0","id":7}',
        b'{"result":{"a":%b}}},"jsonrpc":"2.0","id":7}',
        b'{"result":%b,"jsonrpc":"2.0","id":7',
    ],
)
def test_however_deep_a_line_that_does_not_close_what_it_opens_is_no_answer(line: bytes) -> None:
    deep = b"[" * 5_000 + b"]" * 4_999 + (b"]" if line.count(b"{") != line.count(b"}") else b"")
    assert not isinstance(read_server(line % deep), Answer)


def test_quotes_without_an_end_are_refused_at_once() -> None:
    for reader in (read_host, read_server):
        assert isinstance(reader(b'"' + b'\\"' * 500_000), Rejected)
        assert isinstance(reader(b'{"result":{"a":NaN,"b":"' + b'\\"' * 500_000), Rejected)
