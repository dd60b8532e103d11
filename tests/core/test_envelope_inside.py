"""What stands inside params and results: progress tokens, what a cancel names. MCP base protocol, "Progress"."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mux.core.envelope import (
    Notification,
    Request,
    find_in,
    find_in_result,
    find_progress,
    find_token,
    read_host,
    read_server,
)
from mux.core.scan import Malformed
from tests.core.layouts import (
    MARKER,
    Known,
    Pairs,
    answers,
    assemble,
    escaped,
    ids,
    json_values,
    literal,
    marked,
    mutated,
    notifications,
    parse,
    requests,
    small_ids,
    styles,
    values,
)

if TYPE_CHECKING:
    pass


# --- looking into params and results ----------------------------------------------------------


def reference_find(value: Any, path: tuple[str, ...]) -> list[Any]:
    """Every value under the path; more than one means that somebody's choice decides."""
    for name in path:
        found = values(value, name) if isinstance(value, Pairs) else []
        if len(found) != 1:
            return found
        value = found[0]
    return [value]


forged = st.sampled_from([b'"progressToken"', b'{"_meta":{"progressToken":1}}', b'"_meta"', b'"\\u005f"'])


@st.composite
def params_with_meta(draw: st.DrawFn) -> bytes:
    """Params as clients send them, and such as only a forger does."""
    beside = draw(st.sampled_from([small_ids, small_ids, small_ids, forged, json_values]))
    token = draw(small_ids | ids)
    members = [(b'"a"', draw(beside)), (b'"progressToken"', token), (b'"b"', draw(beside))]
    meta = assemble(members[draw(st.integers(0, 2)) :], draw(styles))[0]
    spell = draw(st.sampled_from([literal, literal, literal, escaped]))
    inside = [(b'"arguments"', draw(beside)), (spell("_meta"), meta), (b'"name"', draw(beside))]
    return assemble(inside[draw(st.integers(0, 1)) :], draw(styles))[0]


@st.composite
def params_with_token(draw: st.DrawFn) -> bytes:
    spell = draw(st.sampled_from([literal, literal, literal, escaped]))
    members = [
        (b'"a"', draw(json_values)),
        (spell("progressToken"), draw(small_ids | ids)),
        (b'"b"', draw(json_values)),
    ]
    return assemble(members[draw(st.integers(0, 2)) :], draw(styles))[0]


@settings(max_examples=300)
@given(requests(params_with_meta() | json_values))
def test_the_progress_token_is_the_one_that_every_parser_finds(known: Known) -> None:
    message = read_host(known.line)
    assert isinstance(message, Request)
    expected = reference_find(parse(known.line), ("params", "_meta", "progressToken"))
    for look in (find_token, lambda request: find_in(request, b"_meta", b"progressToken")):
        if len(expected) > 1 and (b"progressToken" in known.line or b"\\u" in known.line):
            with pytest.raises(Malformed):
                look(message)
            continue
        if len(expected) > 1:
            assert look(message) is None  # `_meta` twice, a token in neither
            continue
        span = look(message)
        assert (span is None) == (not expected)
        if span is not None:
            assert parse(known.line[slice(*span)]) == expected[0]
            assert reference_find(marked(known.line, span), ("params", "_meta", "progressToken")) == [MARKER]


@given(requests(params_with_meta()).map(lambda known: known.line) | mutated(requests(params_with_meta())))
@settings(max_examples=300)
def test_the_fast_way_to_a_token_agrees_with_the_slow_one(line: bytes) -> None:
    message = read_host(line)
    if not isinstance(message, Request | Notification):
        return

    def outcome(look: Any) -> object:
        try:
            return look(message)
        except Malformed as error:
            return str(error)

    assert outcome(find_token) == outcome(lambda m: find_in(m, b"_meta", b"progressToken"))


@given(notifications(params_with_token()).map(lambda known: known.line) | mutated(notifications(params_with_token())))
@settings(max_examples=300)
def test_the_fast_way_to_the_token_of_progress_agrees_with_the_slow_one(line: bytes) -> None:
    message = read_server(line)
    if not isinstance(message, Notification):
        return

    def outcome(look: Any) -> object:
        try:
            return look(message)
        except Malformed as error:
            return str(error)

    assert outcome(find_progress) == outcome(lambda m: find_in(m, b"progressToken"))


@pytest.mark.parametrize(
    ("params", "token"),
    [
        (b'{"progressToken":7,"progress":1}', b"7"),
        (b'{"progress":1,"progressToken" : "a b"}', b'"a b"'),
        (b'{"message":"progressToken","progressToken":7}', b"7"),
        (b'{"progressToken":7,"message":"NaN: \xc3\xa9"}', b"7"),
        (b'{"progressToken":7,"total":NaN}', b"7"),
        (b'{"\\u0070rogressToken":7}', b"7"),
        (b'{"_meta":{"progressToken":1}}', None),
        (b'{"message":"\\"progressToken\\":1"}', None),
        (b"[]", None),
    ],
)
def test_the_token_of_progress_is_found(params: bytes, token: bytes | None) -> None:
    message = read_server(b'{"jsonrpc":"2.0","method":"notifications/progress","params":' + params + b"}")
    assert isinstance(message, Notification)
    span = find_progress(message)
    assert (message.line[slice(*span)] if span else None) == token


@pytest.mark.parametrize(
    "params",
    [
        b'{"_meta":{"progressToken":1,"progressToken":2}}',
        b'{"_meta":{"progressToken":1},"_meta":{}}',
        b'{"_meta":{"progressToken":1},"\\u005fmeta":{}}',
        b'{"_meta":{"progressToken":1,"\\u0070rogressToken":2}}',
    ],
)
def test_a_token_that_parsers_would_disagree_about_is_malformed(params: bytes) -> None:
    message = read_host(b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + params + b"}")
    assert isinstance(message, Request)
    with pytest.raises(Malformed, match="stands twice"):
        find_token(message)


@pytest.mark.parametrize(
    "params",
    [
        b'{"arguments":{"_meta":{"progressToken":1,"progressToken":2},"_meta":{}},"_meta":{"progressToken":7}}',
        b'{"arguments":{"\\u005fmeta":1},"_meta":{"progressToken":7}}',
        b'{"arguments":"progressToken","_meta":{"progressToken": 7}}',
        b'{"_meta":{"progressToken":7},"arguments":["progressToken",{"progressToken":1}]}',
        b'{"_meta": {"a":"_meta", "progressToken" :7}}',
    ],
)
def test_duplicates_inside_arguments_pass(params: bytes) -> None:
    message = read_host(b' {"jsonrpc":"2.0","id":1,"method":"x","params":' + params + b"}")
    assert isinstance(message, Request)
    span = find_token(message)
    assert span is not None
    assert message.line[slice(*span)] == b"7"


@pytest.mark.parametrize(
    "params",
    [
        b"",
        b',"params":[]',
        b',"params":["progressToken"]',
        b',"params":{"progressToken":1}',
        b',"params":{"_meta":[{"progressToken":1}]}',
        b',"params":{"_meta":{}},"x":{"progressToken":1}',
        b',"params":{"_meta":{"a":{"progressToken":1}}}',
    ],
)
def test_a_token_elsewhere_is_none(params: bytes) -> None:
    message = read_host(b'{"jsonrpc":"2.0","id":1,"method":"x"' + params + b"}")
    assert isinstance(message, Request)
    assert find_token(message) is None
    assert find_in(message, b"_meta", b"progressToken") is None


def token_in(line: bytes) -> bytes:
    """The progress token of a request."""
    message = read_host(line)
    assert isinstance(message, Request)
    span = find_token(message)
    assert span is not None
    return line[slice(*span)]


@pytest.mark.parametrize("dump", [{"separators": (",", ":")}, {}])
def test_the_token_of_every_sdk_is_found(dump: dict[str, Any]) -> None:
    line = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"_meta": {"progressToken": 77}, "arguments": {}}}, **dump
    ).encode()
    assert token_in(line) == b"77"


def test_params_that_a_strict_parser_refuses_still_have_their_token() -> None:
    line = b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN,"_meta":{"progressToken":"t"}}}'
    assert token_in(line) == b'"t"'


def test_what_a_cancel_names_is_found() -> None:
    line = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"reason":"id","requestId":"a"}}'
    message = read_host(line)
    assert isinstance(message, Notification)
    span = find_in(message, b"requestId")
    assert span is not None
    assert line[slice(*span)] == b'"a"'
    assert find_in(message, b"progressToken") is None


@given(answers(), st.sampled_from([("id",), ("_meta", "a"), ("a",)]))
def test_a_member_of_a_result_is_the_one_that_every_parser_finds(known: Known, path: tuple[str, ...]) -> None:
    expected = reference_find(parse(known.line), ("result", *path))
    names = [name.encode() for name in path]
    if len(expected) > 1:
        with pytest.raises(Malformed):
            find_in_result(known.line, *names)
        return
    span = find_in_result(known.line, *names)
    assert ([] if span is None else [parse(known.line[slice(*span)])]) == expected
