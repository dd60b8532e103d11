"""What is made of a line, and lines of our own. MCP base protocol, "Messages"."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from mux.core.envelope import Answer, Request, error_line, id_key, read_host, result_line, splice
from tests.core.layouts import Known, ids, messages, parse, with_id

# --- splicing ---------------------------------------------------------------------------------


@given(messages, ids)
def test_a_splice_changes_nothing_but_the_id(known: Known, new: bytes) -> None:
    message = read_host(known.line)
    assume(isinstance(message, Request | Answer))
    assert isinstance(message, Request | Answer)
    start, end = message.span
    line = splice(message.line, (message.span, new))
    assert line == known.line[:start] + new + known.line[end:] + b"\n"
    assert parse(line) == with_id(parse(known.line), parse(new))
    back = splice(line[:-1], ((start, start + len(new)), message.id))
    assert back == known.line + b"\n"


@given(
    st.binary(max_size=40),
    st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=5)), min_size=2, max_size=8),
    st.randoms(),
)
def test_edits_in_any_order_give_the_same_line(line: bytes, cuts: list[tuple[int, bytes]], random: Any) -> None:
    line += b"0123456789"
    places = sorted({at % len(line) for at, _ in cuts})
    edits = [
        ((at, to), new) for (at, to), (_, new) in zip(zip(places[::2], places[1::2], strict=False), cuts, strict=False)
    ]
    expected = bytearray(line)
    for (start, end), new in reversed(edits):
        expected[start:end] = new
    random.shuffle(edits)
    assert splice(line, *edits) == bytes(expected) + b"\n"


# --- lines of our own -------------------------------------------------------------------------


def test_two_spellings_of_one_id_are_one_key() -> None:
    assert id_key(rb'"\u0061"') == id_key(b'"a"') == b'"a"'
    assert id_key(rb'"\ud83d\ude00"') == id_key('"😀"'.encode())
    assert id_key(b"1") != id_key(b'"1"')
    assert id_key(b"1") == b"1"


@given(ids, st.text(max_size=20))
def test_an_error_is_one_line_with_the_id_as_it_came(id_: bytes, text: str) -> None:
    line = error_line(id_, -31001, text, {"mux": {"cause": text}})
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert line.startswith(b'{"jsonrpc":"2.0","id":' + id_ + b",")
    assert json.loads(line)["error"] == {"code": -31001, "message": text, "data": {"mux": {"cause": text}}}
    assert "data" not in json.loads(error_line(id_, -1, text))["error"]


def test_a_result_is_one_line() -> None:
    assert result_line(b'"a"') == b'{"jsonrpc":"2.0","id":"a","result":{}}\n'
    assert result_line(b"1", b'{"a":1}') == b'{"jsonrpc":"2.0","id":1,"result":{"a":1}}\n'
