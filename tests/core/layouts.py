"""JSON-RPC lines in many layouts, made from pieces: where a value stands is known, not read.

And a reference that reads any line with the standard library, by another way than the code under test: bytes as
latin-1, so that offsets hold and invalid UTF-8 passes; every pair of an object kept; numbers as they are written.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from hypothesis import strategies as st

Span = tuple[int, int]
Members = list[tuple[bytes, bytes]]

NAMES = ("jsonrpc", "id", "method", "params", "result", "error")


# --- reference --------------------------------------------------------------------------------


class Number(NamedTuple):
    """A number, as it is written."""

    text: str


class Constant(NamedTuple):
    """NaN, Infinity or -Infinity, which are no JSON but are sent."""

    text: str


class Pairs(list[tuple[str, Any]]):
    """An object with all its members, in their order."""


def parse(data: bytes) -> Any:
    """The value of `data`; raises ValueError if it is no JSON, even by the standard library's wide measure."""
    return json.loads(
        data.decode("latin-1"),
        object_pairs_hook=Pairs,
        parse_int=Number,
        parse_float=Number,
        parse_constant=Constant,
    )


def values(pairs: Pairs, name: str) -> list[Any]:
    """All values under `name`."""
    return [value for key, value in pairs if key == name]


MARKER = "put in by the test"


def marked(line: bytes, span: Span) -> Any:
    """What the line says when the span is replaced by MARKER: shows what stood there, whoever found it."""
    return parse(line[: span[0]] + b'"' + MARKER.encode() + b'"' + line[span[1] :])


# --- layouts ----------------------------------------------------------------------------------


class Style(NamedTuple):
    """White space of an object: before its first name, around each later one, and around its values."""

    first: bytes = b""
    before_name: bytes = b""
    after_name: bytes = b""
    before_value: bytes = b""
    after_value: bytes = b""


COMPACT = Style()
DUMPS = Style(before_name=b" ", before_value=b" ")

space = st.sampled_from([b"", b" ", b"\t", b"  ", b" \t "])
styles = st.sampled_from([COMPACT, COMPACT, DUMPS]) | st.builds(Style, space, space, space, space, space)


def assemble(members: Members, style: Style = COMPACT) -> tuple[bytes, list[Span]]:
    """An object of these (name literal, value), and where each value stands."""
    text = b"{" + style.first
    spans: list[Span] = []
    for number, (name, value) in enumerate(members):
        text += (b"," + style.before_name if number else b"") + name + style.after_name + b":" + style.before_value
        spans.append((len(text), len(text) + len(value)))
        text += value + style.after_value
    return text + b"}", spans


# --- values -----------------------------------------------------------------------------------


def literal(text: str) -> bytes:
    """A string literal."""
    return json.dumps(text).encode()


def escaped(name: str) -> bytes:
    """A string literal of nothing but \\uXXXX."""
    return b'"' + b"".join(b"\\u%04X" % ord(letter) for letter in name) + b'"'


LOOKS_LIKE_AN_END = [
    ',"jsonrpc":"2.0","id":5}',
    '},"jsonrpc":"2.0","id":1048576}',
    '{"jsonrpc":"2.0","id":1048576,"result":{}}',
    '"id":5',
    '\\","id":5}',
    "}}]",
    "\\",
    '"',
    "\u2028\u0085",
    "😀",
]
numbers = st.integers().map(b"%d".__mod__) | st.sampled_from(
    [b"-0", b"1.5", b"1e3", b"2E-7", b"1e400", b"-1.0", b"9" * 300, b"0.1"]
)
strings = (
    st.text(max_size=8).map(literal)
    | st.text(max_size=8).map(lambda text: json.dumps(text, ensure_ascii=False).encode(errors="replace"))
    | st.sampled_from(LOOKS_LIKE_AN_END).map(literal)
    | st.sampled_from([b'"\\ud800"', b'"\\uDC00\\uD800"', b'"\\ud83d\\ude00"', b'"\\/\\b\\f\\u0000"', b'"NaN"'])
)
scalars = numbers | strings | st.sampled_from([b"null", b"true", b"false", b"NaN", b"-Infinity", b"Infinity"])
inner_names = st.sampled_from(["id", "jsonrpc", "method", "_meta", "progressToken", "requestId", "a", "", "é"]).map(
    literal
)


@st.composite
def _arrays(draw: st.DrawFn, items: st.SearchStrategy[bytes]) -> bytes:
    gap = draw(space)
    return b"[" + gap + (gap + b"," + gap).join(draw(st.lists(items, max_size=3))) + gap + b"]"


@st.composite
def objects(draw: st.DrawFn, items: st.SearchStrategy[bytes] = scalars) -> bytes:
    """An object; names may stand in it twice."""
    return assemble(draw(st.lists(st.tuples(inner_names, items), max_size=3)), draw(styles))[0]


json_values = st.recursive(scalars, lambda items: _arrays(items) | objects(items), max_leaves=8)
ids = numbers | strings
small_ids = st.integers(0, 2**53).map(b"%d".__mod__)


# --- messages ---------------------------------------------------------------------------------


class Known(NamedTuple):
    """A line and where its members stand, by their unescaped names."""

    line: bytes
    spans: dict[str, Span]

    def text(self, name: str) -> bytes:
        """The value of a member as it stands in the line."""
        return self.line[slice(*self.spans[name])]


@st.composite
def lines(
    draw: st.DrawFn,
    *parts: tuple[str, st.SearchStrategy[bytes]],
    optional: tuple[tuple[str, st.SearchStrategy[bytes]], ...] = (),
) -> Known:
    """A line of these members in any order, layout and spelling of names, perhaps with members of no meaning."""
    chosen = [*parts, *(part for part in optional if draw(st.booleans()))]
    if draw(st.integers(0, 3)) == 0:
        chosen.append(("extra", json_values))
    if draw(st.booleans()):
        chosen = draw(st.permutations(chosen))
    spell = escaped if draw(st.integers(0, 7)) == 0 else literal
    members = [(spell(name), draw(value)) for name, value in chosen]
    line, spans = assemble(members, draw(styles))
    lead = draw(st.sampled_from([b"", b"", b"", b" ", b"\t"]))
    tail = draw(st.sampled_from([b"", b"", b"", b" ", b"\r", b"\t "]))
    moved = {name: (start + len(lead), end + len(lead)) for (name, _), (start, end) in zip(chosen, spans, strict=True)}
    return Known(lead + line + tail, moved)


version = ("jsonrpc", st.just(b'"2.0"'))
methods = st.sampled_from(["tools/call", "tools/list", "ping", "x", "é", "a\\b", "notifications/cancelled"]).map(
    literal
)


def requests(params: st.SearchStrategy[bytes] = json_values) -> st.SearchStrategy[Known]:
    """Requests."""
    return lines(version, ("id", ids | small_ids), ("method", methods), optional=(("params", params),))


def notifications(params: st.SearchStrategy[bytes] = json_values) -> st.SearchStrategy[Known]:
    """Notifications."""
    return lines(version, ("method", methods), optional=(("params", params),))


def answers(id_: st.SearchStrategy[bytes] = small_ids) -> st.SearchStrategy[Known]:
    """Results and errors, in the SDKs' orders and any other."""
    result, error, identity = ("result", json_values), ("error", json_values), ("id", id_)
    return st.one_of(
        lines(version, identity, result),
        lines(version, identity, error),
        lines(result, version, identity),
        lines(error, identity, version),
    )


messages = st.one_of(requests(), notifications(), answers(ids), answers())

FRAGMENTS = [
    b'"id":5,',
    b',"id":7',
    b'"\\u0069d":6,',
    b',"jsonrpc":"2.0","id":5}',
    b'"method":"x",',
    b'"jsonrpc":"2.0",',
    b'"result":{},',
    b'"ID":5,',
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b",",
    b":",
    b" ",
    b"\r",
    b"1",
    b"-",
    b"NaN",
    b"null",
    b"\xff",
    b"\x00",
    b"\xc3\xa9",
]


@st.composite
def mutated(draw: st.DrawFn, source: st.SearchStrategy[Known] = messages) -> bytes:
    """A message after some cuts, doublings and insertions at places that matter."""
    line = draw(source).line
    for _ in range(draw(st.integers(1, 4))):
        at, to = sorted((draw(st.integers(0, len(line))), draw(st.integers(0, len(line)))))
        match draw(st.integers(0, 3)):
            case 0:
                line = line[:at] + line[to:]
            case 1:
                line = line[:to] + line[at:]
            case _:
                line = line[:at] + draw(st.sampled_from(FRAGMENTS)) + line[at:]
    return line


def with_id(pairs: Pairs, value: object) -> Pairs:
    """An object with another id."""
    return Pairs((name, value if name == "id" else other) for name, other in pairs)
