"""The bench measures what it says, and notices answers that are wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import echo
from bench.load import DEPTH, FIRST_ID, MESSAGE_BYTES, REQUEST, Lane, rate, round_trips
from mux.cli.client import Client
from mux.errors import MuxError

ROOT = Path(__file__).parents[2]

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


def test_a_whole_run_writes_numbers_and_a_table(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "latest.json").read_text(encoding="utf-8"))
    assert result["round_trip"]["shim"]["calls"] == 200
    assert [at["server_processes"] for at in result["memory"]] == [1, 1]
    assert "requests per second, 8 sessions" in (tmp_path / "latest.md").read_text(encoding="utf-8")
