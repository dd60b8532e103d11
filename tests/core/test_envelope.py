from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from mux import errors
from mux.core import envelope, scan
from mux.core.envelope import (
    Answer,
    Message,
    Notification,
    Rejected,
    Request,
    error_line,
    find_in,
    find_in_result,
    find_progress,
    find_token,
    id_key,
    read_host,
    read_server,
    result_line,
    splice,
)
from mux.core.scan import Malformed
from mux.limits import ID_BYTES
from tests.core.layouts import (
    MARKER,
    NAMES,
    Known,
    Number,
    Pairs,
    answers,
    assemble,
    escaped,
    ids,
    json_values,
    literal,
    marked,
    messages,
    mutated,
    notifications,
    parse,
    requests,
    small_ids,
    styles,
    values,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def plain(message: Message) -> tuple[Any, ...]:
    """A message as values that compare."""
    if isinstance(message, Request | Notification):
        params = None if message.params is UNSET else bytes(message.params)
        identity = (message.id, message.span) if isinstance(message, Request) else ()
        return (type(message), message.line, message.method, params, *identity)
    if isinstance(message, Answer):
        return (Answer, message.line, message.id, message.span, message.failed)
    return (Rejected, message.code, message.reason, message.id)


def text_lines(data: bytes) -> list[str]:
    """What a server sees that reads its stdin in text mode."""
    return list(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


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


def with_id(pairs: Pairs, value: object) -> Pairs:
    return Pairs((name, value if name == "id" else other) for name, other in pairs)


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


@pytest.mark.parametrize("dump", [{"separators": (",", ":")}, {}])
def test_the_token_of_every_sdk_is_found(dump: dict[str, Any]) -> None:
    line = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"_meta": {"progressToken": 77}, "arguments": {}}}, **dump
    ).encode()
    message = read_host(line)
    assert isinstance(message, Request)
    span = find_token(message)
    assert span is not None
    assert line[slice(*span)] == b"77"


def test_params_that_a_strict_parser_refuses_still_have_their_token() -> None:
    line = b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN,"_meta":{"progressToken":"t"}}}'
    message = read_host(line)
    assert isinstance(message, Request)
    span = find_token(message)
    assert span is not None
    assert line[slice(*span)] == b'"t"'


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
