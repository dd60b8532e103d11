"""The round trip on generated files: random values, white space, comments, commas, duplicate keys, escapes."""

from __future__ import annotations

import json
import re
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mux.cli.install import jsonc, toml
from mux.cli.install.hosts import HOSTS, Place
from mux.cli.install.plan import Install, Plan, Uninstall, make
from mux.cli.install.syntax import SyntaxFault, quote

SHIM = "/opt/mux/bin/mux-shim"

Drawn = tuple[str, Any]
"""A piece of text, and what it means."""

GAPS = st.lists(
    st.sampled_from(
        [
            "",
            " ",
            "  ",
            "\t",
            "\n",
            "\r\n",
            "/**/",
            "/* a */",
            '/* "b": [ */',
            "// c\n",
            '// {"d": "e"}, ]\r\n',
            "/***/",
        ]
    ),
    max_size=3,
).map("".join)


@st.composite
def literals(draw: st.DrawFn, content: st.SearchStrategy[str]) -> Drawn:
    """A string, some of its characters escaped without need."""
    value = draw(content)
    pieces: list[str] = []
    for character in value:
        plain = json.dumps(character, ensure_ascii=False)[1:-1]
        forms = [plain, json.dumps(character)[1:-1], *(["\\/"] if character == "/" else [])]
        pieces.append(draw(st.sampled_from(forms)))
    return '"' + "".join(pieces) + '"', value


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
WORDS = st.one_of(
    st.sampled_from(
        ["npx", "-y", "context-mode", "C:\\x\\y.exe", "--a=b", "//", "/*", ",", "[", "ü🚀", "--", "--scope"]
    ),
    TEXT,
)
COMMANDS = st.sampled_from(["npx", "context-mode", "C:\\x\\y.exe", "/a/b", "ü🚀", "${X}/y", "sh,[]", 'q"q'])
SCALARS: st.SearchStrategy[Drawn] = st.one_of(
    st.sampled_from([("null", None), ("true", True), ("-0.5e+3", -500.0), ("0", 0), ("1" * 20, int("1" * 20))]),
    literals(TEXT),
)


@st.composite
def arrays(draw: st.DrawFn, items: st.SearchStrategy[Drawn]) -> Drawn:
    drawn = draw(st.lists(items, max_size=3))
    body = ",".join(draw(GAPS) + text + draw(GAPS) for text, _ in drawn)
    comma = draw(st.sampled_from(["", ","])) if drawn else ""
    return f"[{body}{comma}{draw(GAPS)}]", [value for _, value in drawn]


@st.composite
def objects(draw: st.DrawFn, members: list[tuple[Drawn, Drawn]]) -> Drawn:
    """An object of these members in this order; the last of equal keys counts."""
    pieces = [draw(GAPS) + key + draw(GAPS) + ":" + draw(GAPS) + text + draw(GAPS) for (key, _), (text, _) in members]
    comma = draw(st.sampled_from(["", ","])) if pieces else ""
    return f"{{{','.join(pieces)}{comma}{draw(GAPS)}}}", {key: value for (_, key), (_, value) in members}


def key(name: str) -> Drawn:
    return json.dumps(name), name


@st.composite
def others(draw: st.DrawFn) -> list[tuple[Drawn, Drawn]]:
    """Members that nobody knows."""
    values: st.SearchStrategy[Drawn] = st.recursive(SCALARS, arrays, max_leaves=4)
    return [(draw(literals(TEXT.map("x".__add__))), draw(values)) for _ in range(draw(st.integers(0, 2)))]


@st.composite
def stdio(draw: st.DrawFn) -> Drawn:
    members = [(key("command"), draw(literals(COMMANDS))) for _ in range(draw(st.integers(1, 2)))]
    members += [(key("args"), draw(arrays(literals(WORDS)))) for _ in range(draw(st.integers(0, 2)))]
    members += draw(others())
    return draw(objects(draw(st.permutations(members))))


@st.composite
def local(draw: st.DrawFn) -> Drawn:
    command = draw(literals(COMMANDS))
    rest = draw(arrays(literals(WORDS)))
    array = f"[{draw(GAPS)}{command[0]}{draw(GAPS)},{rest[0][1:]}" if rest[1] else f"[{draw(GAPS)}{command[0]}]"
    members = [(key("command"), (array, [command[1], *rest[1]])), (key("type"), ('"local"', "local")), *draw(others())]
    return draw(objects(draw(st.permutations(members))))


@st.composite
def documents(draw: st.DrawFn, table: str, server: st.SearchStrategy[Drawn]) -> Drawn:
    remote = st.just(('{"type": "http", "url": "https://x"}', {"type": "http", "url": "https://x"}))
    values = st.one_of(server, server, remote, SCALARS)
    entries = draw(st.lists(st.tuples(literals(WORDS), values), max_size=4))
    members = [(key(table), draw(objects(entries))), *draw(others())]
    text, value = draw(objects(draw(st.permutations(members))))
    return draw(st.sampled_from(["", "\ufeff"])) + draw(GAPS) + text + draw(GAPS), value


def content_of(text: str) -> Any:
    return jsonc.plain(text, jsonc.parse(text))


def host(name: str) -> Any:
    return next(host for host in HOSTS if host.name == name)


def round_trip(name: str, suffix: str, text: str) -> tuple[Plan, Plan]:
    """Share, share again, unshare, on a real file; the first and the last plan."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, f"config.{suffix}")
        place = Place(host(name), str(path), shared=False)
        install = Install(place, SHIM, forced=False, named=frozenset())
        path.write_bytes(text.encode())
        shared = make(place, install, ())
        path.write_bytes(shared.new.encode())
        assert make(place, install, ()).new == shared.new
        unshared = make(place, Uninstall(place), ())
    assert unshared.new == text
    assert unshared.changes == shared.changes
    return shared, unshared


def expect_shared(content: dict[str, Any], shared: dict[str, Any]) -> None:
    """The oracle: each server of `content` that has a command went behind the shim, all else is equal."""
    for name, server in content.items():
        if isinstance(server, dict) and "command" in server:
            command = server["command"]
            if isinstance(command, list):
                server["command"] = [SHIM, *command]
            else:
                server |= {"command": SHIM, "args": [command, *server.get("args", ())]}
        assert shared[name] == server
    assert shared == content


@given(documents("mcpServers", stdio()))
def test_a_generated_file_with_command_and_arguments_makes_the_round_trip(document: Drawn) -> None:
    text, content = document
    assert content_of(text) == content
    shared, _ = round_trip("gemini", "json", text)
    expect_shared(content["mcpServers"], content_of(shared.new)["mcpServers"])


@given(documents("mcp", local()))
def test_a_generated_file_with_a_command_list_makes_the_round_trip(document: Drawn) -> None:
    text, content = document
    shared, _ = round_trip("opencode", "jsonc", text)
    expect_shared(content["mcp"], content_of(shared.new)["mcp"])


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda values: st.lists(values) | st.dictionaries(TEXT, values),
)
JSON_TEXTS = st.tuples(PLAIN, st.sampled_from([None, 1, "\t"]), st.booleans()).map(
    lambda drawn: json.dumps({"top": drawn[0]}, indent=drawn[1], ensure_ascii=drawn[2])
)


@given(JSON_TEXTS)
def test_what_json_writes_is_read_as_json_reads_it(text: str) -> None:
    assert content_of(text) == json.loads(text)


@given(JSON_TEXTS, st.data())
def test_what_json_refuses_is_refused_with_a_place(text: str, data: st.DataObject) -> None:
    """But for comments and trailing commas, which this damage cannot make."""
    at, length = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 2))
    text = (
        text[:at]
        + data.draw(st.sampled_from(["", "{", "]", '"', ":", "\\", "0", ".", "e", "x", "\n"]))
        + text[at + length :]
    )
    assume("/" not in text)
    assume(not re.search(r",\s*[\]}]", text))
    try:
        strict = json.loads(text)
    except ValueError:
        assume(text.strip())
        with pytest.raises(SyntaxFault) as refused:
            content_of(text)
        assert (1, 1) <= (refused.value.line, refused.value.column) <= (text.count("\n") + 1, len(text) + 1)
    else:
        assume(isinstance(strict, dict))
        assert content_of(text) == strict


TOML_STRINGS = st.one_of(
    st.sampled_from(
        ['"a"', "'b\\c'", '"""d"e"""', "'''f'g'''", '"\\u00fc\\"q"', '"""\nh\\\n  i"""', '""""j"""""', '""']
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=6).map(quote),
)
TOML_GAPS = st.sampled_from(["", " ", "\n", "\r\n", "# c\n", '  # "x", [\n\t'])
BLANKS = st.sampled_from(["", " ", "\t"])


@st.composite
def toml_arrays(draw: st.DrawFn) -> str:
    items = draw(st.lists(TOML_STRINGS, max_size=3))
    comma = draw(st.sampled_from(["", ","])) if items else ""
    body = ",".join(draw(TOML_GAPS) + item + draw(TOML_GAPS) for item in items)
    return f"[{body}{comma}{draw(TOML_GAPS)}]"


@st.composite
def toml_servers(draw: st.DrawFn, number: int) -> str:
    """One server, by header, by dotted keys or inline."""
    name = draw(st.sampled_from([f"s{number}", f'"s {number}"', f"'s.{number}'"]))
    command = f"command{draw(BLANKS)}={draw(BLANKS)}" + draw(
        st.sampled_from(['"npx"', "'C:\\x'", '"""n"""', "'''m'''"])
    )
    members = [command]
    if draw(st.booleans()):
        members.append(f"args ={draw(BLANKS)}{draw(toml_arrays())}")
    unknown = ["enabled = true", 'env.A = "b"', "t = 1.5", "at = 1979-05-27 07:32:00"]
    members += draw(st.lists(st.sampled_from(unknown), unique=True))
    members = draw(st.permutations(members))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    form = draw(st.integers(0, 2))
    if form == 0:
        comment = draw(st.sampled_from(["", " # c"]))
        return f"[mcp_servers.{name}]{end}" + "".join(f"{draw(BLANKS)}{member}{comment}{end}" for member in members)
    if form == 1:
        return f"[mcp_servers]{end}" * (number == 0) + "".join(f"{name}.{member}{end}" for member in members)
    return f"[mcp_servers]{end}" * (number == 0) + f"{name} = {{ {', '.join(members)} }}{end}"


@given(st.data())
def test_a_generated_toml_file_makes_the_round_trip(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(["", "\ufeff"])) + data.draw(st.sampled_from(["", "# top\n", 'model = "m"\r\n']))
    text += "".join(data.draw(toml_servers(number)) for number in range(data.draw(st.integers(0, 3))))
    try:
        content = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError:
        with pytest.raises(SyntaxFault):
            toml.parse(text)
        return
    shared, _ = round_trip("codex", "toml", text)
    found = toml.plain(shared.new, toml.parse(shared.new))
    expect_shared(content.get("mcp_servers", {}), found.get("mcp_servers", {}))
