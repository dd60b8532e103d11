"""What a line is, where its id stands, and what becomes of it when it is renamed. MCP base protocol, "Messages"."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from mux.core import envelope
from mux.core.envelope import (
    Answer,
    Message,
    Notification,
    Rejected,
    Request,
    find_token,
    read_host,
    read_server,
)
from tests.core.layouts import (
    MARKER,
    NAMES,
    Known,
    Number,
    Pairs,
    answers,
    assemble,
    ids,
    literal,
    marked,
    mutated,
    notifications,
    parse,
    requests,
    values,
    with_id,
)


def plain(message: Message) -> tuple[Any, ...]:
    """A message as values that compare."""
    if isinstance(message, Request | Notification):
        params = None if message.params is UNSET else bytes(message.params)
        identity = (message.id, message.span) if isinstance(message, Request) else ()
        return (type(message), message.line, message.method, params, *identity)
    if isinstance(message, Answer):
        return (Answer, message.line, message.id, message.span, message.failed)
    return (Rejected, message.code, message.reason, message.id)


def is_id(value: object) -> bool:
    return isinstance(value, Number | str)


def verdict(line: bytes) -> str:
    """What kind of message the reference takes a host's line for."""
    try:
        line.decode()
        pairs = parse(line)
    except ValueError:
        return "rejected"
    if b"\r" in line[:-1] or not isinstance(pairs, Pairs):
        return "rejected"
    names = [name for name, _ in pairs]
    if any(names.count(name) > 1 for name in NAMES):
        return "rejected"
    if any(name.isascii() and name not in NAMES and name.lower() in NAMES for name in names):
        return "rejected"
    if values(pairs, "jsonrpc") != ["2.0"] or not all(is_id(value) for value in values(pairs, "id")):
        return "rejected"
    outcomes = len(values(pairs, "result")) + len(values(pairs, "error"))
    if "method" in names:
        if outcomes or type(values(pairs, "method")[0]) is not str:
            return "rejected"
        return "request" if "id" in names else "notification"
    return "answer" if "id" in names and outcomes == 1 else "rejected"


KINDS = {Request: "request", Notification: "notification", Answer: "answer", Rejected: "rejected"}


# --- what a line is, and where its id stands --------------------------------------------------


@settings(max_examples=300)
@given(requests())
def test_the_span_of_a_request_is_exactly_its_top_level_id(known: Known) -> None:
    message = read_host(known.line)
    assert isinstance(message, Request)
    assert message.span == known.spans["id"]
    assert message.id == known.text("id")
    assert message.method == json.loads(known.text("method"))
    assert message.params is UNSET if "params" not in known.spans else bytes(message.params) == known.text("params")  # type: ignore[arg-type]


@given(notifications())
def test_a_notification_is_told_from_a_request(known: Known) -> None:
    message = read_host(known.line)
    assert isinstance(message, Notification)
    assert message.line == known.line
    assert message.method == json.loads(known.text("method"))
    assert message.params is UNSET if "params" not in known.spans else bytes(message.params) == known.text("params")  # type: ignore[arg-type]


@settings(max_examples=300)
@given(answers())
def test_the_span_of_an_answer_is_exactly_its_top_level_id(known: Known) -> None:
    assume(not known.text("id").startswith(b"0"))
    message = read_server(known.line)
    assert isinstance(message, Answer)
    assert message.span == known.spans["id"]
    assert message.id == known.text("id")
    assert message.failed == ("error" in known.spans)


@given(answers(ids))
def test_an_answer_of_a_host_keeps_its_id_as_written(known: Known) -> None:
    message = read_host(known.line)
    assert isinstance(message, Answer)
    assert (message.id, message.span) == (known.text("id"), known.spans["id"])
    assert message.failed == ("error" in known.spans)


@settings(max_examples=300)
@given(mutated())
def test_a_host_line_is_what_the_standard_library_says_it_is(line: bytes) -> None:
    message = read_host(line)
    assert KINDS[type(message)] == verdict(line)
    if isinstance(message, Request | Answer):
        pairs = parse(line)
        assert marked(line, message.span) == with_id(pairs, MARKER)
        assert line[slice(*message.span)] == message.id


@settings(max_examples=300)
@given(mutated())
def test_the_fast_way_agrees_with_the_slow_one_on_a_host_line(line: bytes) -> None:
    message = read_host(line)
    if envelope._harmful(line) is None:
        assert plain(message) == plain(envelope._read_slowly(line))
    else:
        assert isinstance(message, Rejected)


@settings(max_examples=300)
@given(mutated(answers()) | mutated())
def test_the_fast_way_agrees_with_the_slow_one_on_a_server_line(line: bytes) -> None:
    message, slow = read_server(line), envelope._read_slowly(line)
    if isinstance(slow, Answer) and isinstance(message, Answer):
        assert (message.span, message.failed) == (slow.span, slow.failed)
    elif isinstance(message, Answer):
        assert isinstance(slow, Rejected)  # a server's own sloppiness: its answer still has a top-level id
        try:
            pairs = parse(line)
        except ValueError:
            assert envelope._python_answer(line)
            return
        assert MARKER in values(marked(line, message.span), "id")
        assert Number(message.id.decode()) in values(pairs, "id")
    else:
        assert plain(message) == plain(slow)


MEMBERS = {"jsonrpc": b'"2.0"', "id": b"7", "method": b'"x"', "params": b"{}"}


@given(
    st.permutations(list(MEMBERS)),
    st.sampled_from([None, *MEMBERS]),
    st.sampled_from([b'"id"', b'"method"', b'"params"', b'"jsonrpc"', b'"x"', b'"\\u0069d"', b'"ID"']),
    st.integers(0, 4),
    st.integers(1, 12),
    st.integers(-2, 2),
)
@settings(max_examples=300)
def test_a_line_with_the_length_of_an_honest_one_is_judged_by_its_members(
    order: list[str], missing: str | None, forged: bytes, place: int, room: int, error: int
) -> None:
    """The fast way goes by length: take a member out, put another in, and make it as long as what it replaces."""
    honest = assemble([(literal(name), b"1" * room if name == "params" else MEMBERS[name]) for name in order])[0]
    kept = [(literal(name), MEMBERS[name]) for name in order if name != missing]
    kept.insert(min(place, len(kept)), (forged, b""))
    width = max(1, len(honest) + error - len(assemble(kept)[0]))
    line = assemble([(name, value or b"1" * width) for name, value in kept])[0]
    assert plain(read_host(line)) == plain(envelope._read_slowly(line))
    assert KINDS[type(read_host(line))] == verdict(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":1234567890,"method":"x","id":2}',
        b'{"id":1,"method":"x","jsonrpc":1    }',
        b'{"id":1,"method":"x","params":{},"a":"bcdefghi"}',
        b'{"method":"x","jsonrpc":2,"id":1,"":{}}',
    ],
)
def test_a_line_without_its_version_does_not_pass_by_its_length(line: bytes) -> None:
    assert isinstance(read_host(line), Rejected)


@given(st.binary(max_size=200) | mutated())
def test_no_bytes_make_a_reader_raise(line: bytes) -> None:
    for message in (read_host(line), read_server(line)):
        assert isinstance(message, Request | Notification | Answer | Rejected)


@pytest.mark.parametrize("wrong", [b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\xc3", b"NaN", b"\\", b'"', b"\x00"])
@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"x/y","params":{"_meta":{"progressToken":1}}}',
        b'{"method":"notifications/x","jsonrpc":"2.0","params":[]}',
        b'{"result":{"a":"b"},"jsonrpc":"2.0","id":12345}',
        b'{"jsonrpc":"2.0","id":12345,"error":{"code":1}}',
    ],
)
def test_no_byte_at_any_place_makes_a_reader_raise(line: bytes, wrong: bytes) -> None:
    for at in range(len(line) + 1):
        for forged in (line[:at] + wrong + line[at:], line[:at] + wrong + line[at + 1 :]):
            read_host(forged)
            message = read_server(forged)
            if isinstance(message, Request | Notification):
                find_token(message)


# --- a server's answers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [(b"5", b"5"), (b'"5"', b"5"), (b"5.0", b"5"), (b"5.00", b"5"), (b'"a"', b'"a"'), (b"05", None), (b"5.5", b"5.5")],
)
def test_an_id_that_a_server_spells_its_own_way_is_known(written: bytes, read: bytes | None) -> None:
    for layout in (b'{"jsonrpc":"2.0","id":%b,"result":{}}', b'{ "id" : %b , "error" : {} , "jsonrpc" : "2.0" }'):
        message = read_server(layout % written)
        if read is None:
            assert isinstance(message, Rejected)
            continue
        assert isinstance(message, Answer)
        assert message.id == read
        assert message.line[slice(*message.span)] == written


@pytest.mark.parametrize(
    "line",
    [
        b'{"result":{},"method":"x","jsonrpc":"2.0","id":5}',
        b'{"method":"x","params":{},"jsonrpc":"2.0","id":5}',
        b'{"result":[{},"jsonrpc":"2.0","id":5}',
        b'{"result":"{},\\"jsonrpc\\":\\"2.0\\",\\"id\\":5}"}',
        b'{"result":{"a":{},"jsonrpc":"2.0","id":5}}',
        b'{"result":"},"jsonrpc":"2.0","id":5}',
    ],
)
def test_what_only_ends_like_an_answer_is_none(line: bytes) -> None:
    assert not isinstance(read_server(line), Answer)


@pytest.mark.parametrize("inside", [b'{"jsonrpc":"2.0","id":5,"result":{}}', b'{"result":{},"jsonrpc":"2.0","id":5}'])
@pytest.mark.parametrize(
    "line",
    [
        b'{"result":{"x":%b},"jsonrpc":"2.0","id":7}',
        b'{"result":{"x":%b,"y":{}},"id":7,"jsonrpc":"2.0"}',
        b'{"jsonrpc":"2.0","id":7,"result":%b}',
        b'{"jsonrpc":"2.0","result":%b,"id":7}',
    ],
)
def test_an_answer_inside_an_answer_is_part_of_its_payload(line: bytes, inside: bytes) -> None:
    answer = read_server(line % inside)
    assert isinstance(answer, Answer)
    assert (answer.id, answer.line[slice(*answer.span)]) == (b"7", b"7")


@pytest.mark.parametrize("id_", [b"0", b"1", b"1048577"])
def test_a_question_that_ends_like_a_typescript_answer_is_a_question(id_: bytes) -> None:
    question = read_server(b'{"method":"roots/list","params":{"result":{}},"jsonrpc":"2.0","id":%b}' % id_)
    assert isinstance(question, Request)
    assert (question.method, question.id) == ("roots/list", id_)


def test_requests_and_notifications_of_a_server_are_read() -> None:
    request = read_server(b'{"method":"roots/list","jsonrpc":"2.0","id":0}')
    assert isinstance(request, Request)
    assert request.id == b"0"
    assert isinstance(read_server(b'{"method":"notifications/message","jsonrpc":"2.0","params":{}}'), Notification)
    assert isinstance(read_server(b"Server listening on port 80"), Rejected)
