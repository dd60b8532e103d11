"""Lines of which only both ends are known: whose each is."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mux.core.oversize import id_of_oversize
from tests.core.layouts import Known, answers, json_values, literal, mutated, requests, small_ids

huge = st.one_of(
    json_values,
    st.text(min_size=20).map(literal),
    st.lists(st.sampled_from([',"jsonrpc":"2.0","id":5}', "\\", '"id":5,', "x", '"method":"y"}']), min_size=5).map(
        lambda parts: literal("".join(parts))
    ),
)


@settings(max_examples=300)
@given(requests(huge) | answers(), st.integers(1, 60))
def test_the_id_of_an_oversize_message_is_its_own_or_unknown(known: Known, edge: int) -> None:
    line = known.line
    assume(2 * edge < len(line))
    found, _ = id_of_oversize(line[:edge] + line[-edge:])
    assert found in {None, known.text("id")}


@given(small_ids, st.text(max_size=300).map(literal), st.sampled_from(['"method":"x"', ',"id":5}', "\\"]))
def test_the_layouts_of_the_sdks_give_the_id_of_an_oversize_message(id_: bytes, text: bytes, hostile: str) -> None:
    payload = b'{"a":' + literal(hostile * 30) + b',"method":"GET","b":' + text + b"}"
    for layout, is_request in (
        (b'{"jsonrpc":"2.0","id":%b,"method":"tools/call","params":%b}', True),
        (b'{"jsonrpc": "2.0", "method": "tools/call", "id": %b, "params": %b}', True),
        (b'{"jsonrpc":"2.0","id":%b,"result":%b}', False),
        (b'{"jsonrpc": "2.0", "id": %b, "error": %b}', False),
    ):
        line = layout % (id_, payload)
        assert id_of_oversize(line[:80] + line[-80:]) == (id_, is_request)
    for layout, is_request in (
        (b'{"method":"tools/call","params":%b,"jsonrpc":"2.0","id":%b}', True),
        (b'{"params":%b,"jsonrpc":"2.0","id":%b,"method":"tools/call"}', True),
        (b'{"result":%b,"jsonrpc":"2.0","id":%b}', False),
        (b'{"error":%b,"id":%b,"jsonrpc":"2.0"}', False),
        (b'{"x":%b,"id":%b,"method":"x","jsonrpc":"2.0"}', True),
    ):
        line = layout % (payload, id_)
        assert id_of_oversize(line[:80] + line[-80:]) == (id_, is_request)


@pytest.mark.parametrize("edges", [b"", b"xx", b"[" * 80 + b"]" * 80, b'"' * 160, b"x" * 80 + b',"id":5}'.rjust(80)])
def test_what_is_no_object_has_no_id(edges: bytes) -> None:
    assert id_of_oversize(edges) == (None, True)


@pytest.mark.timeout(20)
def test_an_oversize_line_full_of_ids_is_read_at_once() -> None:
    for part in (b',"jsonrpc":"2.0"', b',"id":1', b',"id":1,"jsonrpc":""', b'","', b" ", b"},", b',"id":' + b" " * 500):
        tail = part * (65536 // len(part))
        assert id_of_oversize(b"{" + b" " * len(tail) + tail + b"x")[0] is None


@given(mutated() | st.binary())
def test_no_bytes_make_it_raise(edges: bytes) -> None:
    id_of_oversize(edges)
