from __future__ import annotations

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.core import scan
from mux.core.scan import Malformed
from tests.core.layouts import (
    MARKER,
    Pairs,
    assemble,
    json_values,
    literal,
    marked,
    objects,
    parse,
    space,
    strings,
    styles,
)

names = st.sampled_from(["id", "a", "", "é", "x\\y", 'q"', "\n"])
spelled = names.map(literal)


@given(st.lists(st.tuples(names, json_values), max_size=5), styles, space, space)
def test_members_are_found_where_they_stand(
    parts: list[tuple[str, bytes]], style: tuple[bytes, ...], lead: bytes, tail: bytes
) -> None:
    line, spans = assemble([(literal(name), value) for name, value in parts], style)  # type: ignore[arg-type]
    found = scan.members(lead + line + tail)
    assert [(start - len(lead), end - len(lead)) for _, start, end in found] == spans
    assert [name for name, _, _ in found] == [name.encode() for name, _ in parts]


@given(st.lists(json_values, max_size=5), space, space)
def test_elements_are_found_where_they_stand(items: list[bytes], lead: bytes, gap: bytes) -> None:
    line = lead + b"[" + gap + (gap + b"," + gap).join(items) + gap + b"]"
    assert [line[start:end] for start, end in scan.elements(line, 0)] == items


@given(json_values, st.sampled_from([b"", b",", b"}", b"]", b" ", b" 1"]))
def test_a_value_ends_where_it_ends(value: bytes, after: bytes) -> None:
    assert scan.value_end(b"," + value + after, 1) == 1 + len(value)


@given(objects(json_values))
def test_an_object_that_is_cut_off_anywhere_is_malformed(line: bytes) -> None:
    for end in range(len(line)):
        with pytest.raises(Malformed):
            scan.members(line[:end])


@given(st.lists(json_values, max_size=3))
def test_an_array_that_is_cut_off_anywhere_is_malformed(items: list[bytes]) -> None:
    line = b"[" + b",".join(items) + b"]"
    for end in range(len(line)):
        with pytest.raises(Malformed):
            scan.elements(line[:end], 0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[]", "an object was expected"),
        (b"{1:2}", "a member name was expected"),
        (b'{"a" 1}', "a colon was expected"),
        (b'{"a":}', "a value was expected"),
        (b'{"a":"x}', "a value was expected"),
        (b'{"a":1;"b":2}', "a comma or a closing brace was expected"),
        (b'{"a":1 "b":2}', "a comma or a closing brace was expected"),
        (b'{"a":[1,{"b":2}', "an object or array does not end"),
        (b'{"a":["\\"]}', "an object or array does not end"),
    ],
)
def test_what_is_no_object_is_named(line: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=re.escape(reason)):
        scan.members(line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [(b"{}", "an array was expected"), (b"[,]", "a value was expected"), (b"[1 2]", "a comma or a closing bracket")],
)
def test_what_is_no_array_is_named(line: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        scan.elements(line, 0)


@given(
    st.lists(st.sampled_from(["params", "_meta", "a"]), min_size=1, max_size=3),
    st.lists(json_values, min_size=3),
    styles,
)
def test_what_stands_under_a_path_is_found(path: list[str], others: list[bytes], style: tuple[bytes, ...]) -> None:
    value = b"42"
    for number, name in reversed(list(enumerate(path))):
        value, _ = assemble([(b'"x"', others[number]), (literal(name), value), (b'"y"', b"{}")], style)  # type: ignore[arg-type]
    line = b" " + value
    span = scan.find(line, *(name.encode() for name in path))
    assert span is not None
    assert line[slice(*span)] == b"42"
    changed = marked(line, span)
    for name in path:
        (changed,) = (inner for key, inner in changed if key == name)
    assert changed == MARKER


def test_nothing_stands_under_a_path_that_is_not_there() -> None:
    line = b'{"params":{"a":1,"list":[{"b":1}],"text":"{\\"b\\":1}"}}'
    for path in (
        [b"result"],
        [b"params", b"b"],
        [b"params", b"a", b"b"],
        [b"params", b"list", b"b"],
        [b"params", b"text", b"b"],
    ):
        assert scan.find(line, *path) is None
    assert scan.find(b"[1]", b"a") is None
    assert scan.find(b"", b"a") is None


@given(st.lists(st.sampled_from([b'"a"', b'"\\u0061"']), min_size=2, max_size=2), objects(), styles)
def test_a_name_that_stands_twice_on_the_way_is_malformed(
    spelling: list[bytes], other: bytes, style: tuple[bytes, ...]
) -> None:
    twice, _ = assemble([(spelling[0], b'{"b":1}'), (b'"c"', other), (spelling[1], b'{"b":2}')], style)  # type: ignore[arg-type]
    for path, line in (((b"a",), twice), ((b"a", b"b"), twice), ((b"x", b"a"), b'{"x":' + twice + b"}")):
        with pytest.raises(Malformed, match="'a' stands twice"):
            scan.find(line, *path)
    assert scan.find(twice, b"c") is not None


def test_a_name_that_stands_twice_beside_the_way_does_not_matter() -> None:
    line = b'{"other":{"a":1,"a":2},"b":1,"b":2,"a":3}'
    span = scan.find(line, b"a")
    assert span is not None
    assert line[slice(*span)] == b"3"


@given(strings)
def test_a_string_is_unescaped_as_the_standard_library_does(text: bytes) -> None:
    expected = json.loads(text.decode()).encode(errors="surrogatepass")
    assert scan.unescape(text) == expected


@given(st.text())
def test_every_spelling_of_a_string_is_unescaped_to_the_same(text: str) -> None:
    units = text.encode("utf-16-be", "surrogatepass")
    all_escaped = (
        b'"' + b"".join(b"\\u%04x" % int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2)) + b'"'
    )
    assert scan.unescape(all_escaped) == text.encode(errors="surrogatepass")


def test_an_escape_that_means_nothing_stays() -> None:
    assert scan.unescape(rb'"\q\u12"') == rb"\q\u12"


@given(json_values)
def test_a_strict_copy_has_the_same_length_and_a_strict_parser_takes_it(value: bytes) -> None:
    copy = scan.strict_copy(value)
    assert len(copy) == len(value)
    msgspec.json.decode(copy, type=msgspec.Raw)
    if not re.search(rb"NaN|Infinity|\\u[dD][89a-fA-F]", value):
        assert copy == value
    assert shape(parse(copy)) == shape(parse(value))


def shape(value: object) -> object:
    """Names and nesting, without the leaves."""
    if isinstance(value, Pairs):
        return [(key, shape(inner)) for key, inner in value]
    return [shape(inner) for inner in value] if type(value) is list else None


@pytest.mark.parametrize(
    "wrong",
    [b"1NaN", b"-NaN", b"NaN1", b"NaNNaN", b"1.NaN", b"0eNaN", b"--Infinity", b"xInfinity", b"Infinityx", b"+NaN"],
)
def test_what_is_no_token_does_not_become_one(wrong: bytes) -> None:
    assert scan.strict_copy(b"[" + wrong + b"]") == b"[" + wrong + b"]"


def test_what_a_string_says_is_not_replaced() -> None:
    line = rb'["NaN \"Infinity\\", "\\ud800", -Infinity, "\ud800\udc00\u0041\n"]'
    assert scan.strict_copy(line) == rb'["NaN \"Infinity\\", "\\ud800", 111111111, "\u0041\u0041\u0041\n"]'


@pytest.mark.timeout(20)
def test_quotes_without_an_end_are_passed_once() -> None:
    hostile = b'"' + b'\\"' * 500_000
    assert scan.strict_copy(hostile) == hostile
    with pytest.raises(Malformed):
        scan.find(b'{"result":[' + hostile, b"result", b"a")


@pytest.mark.timeout(20)
def test_depth_does_not_matter() -> None:
    deep = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b',"b":1}'
    assert scan.find(deep, b"b") == (len(deep) - 2, len(deep) - 1)


@pytest.mark.parametrize("data", [b"{}", b" [1,{}] \n", b'{"}":"]","a":[[]]}', b"[" * 50_000 + b"]" * 50_000, b"[}"])
def test_what_closes_all_that_it_opens_and_nothing_more_is_closed(data: bytes) -> None:
    assert scan.is_closed(data)


@pytest.mark.parametrize(
    "data", [b"", b" ", b"1", b'"{}"', b"{", b"{}}", b"{}{}", b"[]1", b'["]', b'{"a":"}', b"[" * 9 + b"]" * 8]
)
def test_what_does_not_is_not(data: bytes) -> None:
    assert not scan.is_closed(data)
