"""The bench measures what it says, and notices answers that are wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench import echo
from bench.__main__ import write
from bench.load import DEPTH, FIRST_ID, MESSAGE_BYTES, REQUEST, SIZES, Lane, rate, request, round_trips
from bench.measure import Amount, crowd, everything
from bench.report import CLOSING, OPENING, machine
from bench.ways import ways
from mux.cli.client import Client
from mux.errors import MuxError

Json = dict[str, Any]

SVG = "{http://www.w3.org/2000/svg}"

BROKEN = """
import json, sys
for number, line in enumerate(sys.stdin):
    answer = {"jsonrpc": "2.0", "id": json.loads(line)["id"], "result": {}}
    CHANGE
    print(json.dumps(answer), flush=True)
"""

Start = Callable[[list[str]], Lane]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts lanes to a command, and ends them."""
    clients: list[Client] = []

    def starter(argv: list[str]) -> Lane:
        clients.append(Client(argv))
        return Lane(clients[-1])

    yield starter
    for client in clients:
        client.end_input()
        assert client.wait(10) is not None
        client.close()


def test_a_request_has_the_size_that_is_told() -> None:
    assert len(REQUEST % FIRST_ID) == MESSAGE_BYTES
    assert json.loads(REQUEST % FIRST_ID)["id"] == FIRST_ID


def test_every_call_is_timed_and_every_answer_checked(start: Start) -> None:
    lane = start([sys.executable, echo.__file__])
    assert len(round_trips(lane, 50)) == 50
    assert rate([lane, start([sys.executable, echo.__file__])], 0.1) > DEPTH
    assert lane.open == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("if number == 3: answer['id'] += 1", "missing, doubled"),
        ("if number == 3: answer = {'id': answer['id'], 'error': {}}", "answered with an error"),
        ("if number == 3: sys.exit()", "the session ended"),
    ],
)
def test_a_wrong_answer_ends_the_measurement(change: str, said: str, start: Start) -> None:
    with pytest.raises(MuxError, match=said):
        round_trips(start([sys.executable, "-c", BROKEN.replace("CHANGE", change)]), 10)


def test_the_echo_server_joins_lines_that_come_in_pieces() -> None:
    request = (
        b'{"id":"\xc3\xa4\\"","method":"tools/call","params":{"name":"echo","arguments":{"text":"\xe2\x82\xac"}}}\n'
    )
    with subprocess.Popen([sys.executable, echo.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        for piece in (request[:9], request[9:60], request[60:] + request):
            server.stdin.write(piece)
            server.stdin.flush()
        server.stdin.close()
        answers = [json.loads(line) for line in server.stdout.read().splitlines()]
    assert [(answer["id"], answer["result"]["content"][0]["text"]) for answer in answers] == [('ä"', "€")] * 2


def test_a_request_of_any_size_is_answered_with_its_like(start: Start) -> None:
    lane = start([sys.executable, echo.__file__])
    for size in SIZES:
        assert len(request(size) % FIRST_ID) == size
        assert len(round_trips(lane, 2, size)) == 2


def test_calls_that_take_too_long_are_cut_short(start: Start) -> None:
    assert round_trips(start([sys.executable, echo.__file__]), 10, within=-1.0) == []


@pytest.fixture(scope="module")
def run() -> Json:
    """A whole run, as small as it can be."""
    tiny = Amount(1, (20, 10, 2, 1), 5.0, 0.05, (1, 2), 2, 1, (1, 2), 2, 0.1)
    return {"machine": machine(), **everything(ways([], proxy=False), tiny, lambda _: None)}


def test_a_run_has_each_measurement_of_each_way(run: Json) -> None:
    assert {size: at["mux-shim"]["n"] for size, at in run["round_trip"].items()} == dict(
        zip(map(str, SIZES), (20, 10, 2, 1), strict=True)
    )
    assert {count: set(at) for count, at in run["rate"].items()} == {
        key: {"direct", "two relays", "mux-shim"} for key in "12"
    }
    assert run["start"]["warm"]["direct"]["n"] == 2
    crowd = {
        (one["way"], one["sessions"], one["asleep"]): one for one in run["crowd"] if one["servers"]["processes"] < 2
    }
    assert set(crowd) == {("direct", 1, False)} | {
        ("mux-shim", count, asleep) for count in (1, 2) for asleep in (False, True)
    }
    asleep, awake = (crowd["mux-shim", 2, state] for state in (True, False))
    assert asleep["each"]["private"] < awake["each"]["private"] / 4
    assert asleep["shared"]["processes"] == awake["shared"]["processes"] == 1
    assert [one["servers"]["processes"] for one in run["crowd"] if one["sessions"] == 2].count(2) == 2, (
        "direct and apart"
    )


def test_its_files_are_tables_and_drawings(run: Json, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{OPENING}\nold\n{CLOSING}\nafter\n", encoding="utf-8")
    write(run, tmp_path, page)
    tables = (tmp_path / "latest.md").read_text(encoding="utf-8")
    assert "| calls per second, 2 sessions |" in tables
    assert page.read_text(encoding="utf-8") == f"before\n{OPENING}\n{tables}{CLOSING}\nafter\n"
    for drawing in tmp_path.glob("*.svg"):
        texts = [element.text for element in ET.parse(drawing).iter(f"{SVG}text")]
        assert {"direct", "mux-shim"} <= set(texts)
        assert "prefers-color-scheme: dark" in drawing.read_text(encoding="utf-8")
    assert len(list(tmp_path.glob("*.svg"))) == 3


def test_another_multiplexer_is_measured_as_a_prefix_and_must_be_there() -> None:
    assert [way.name for way in ways(["env -i X=1"], proxy=False)] == ["direct", "two relays", "mux-shim", "env"]
    with pytest.raises(MuxError, match="no other-mux on PATH"):
        ways(["other-mux run --"], proxy=False)
    env = ways(["env X=1"], proxy=False)[-1]
    one = crowd(env, 2, Amount(calls=(1, 1, 1, 1), idle_seconds=0.1))
    assert one["servers"]["processes"] == 2, "env becomes what it starts"
