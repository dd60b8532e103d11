"""The demo's client against servers that behave as some do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from mux.cli.client import Client, ServerError

Start = Callable[[str], Client]

SERVE = """
import json, sys
def say(**message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
def hear(): return json.loads(sys.stdin.readline())
"""


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts clients of a server whose code is given, and ends them."""
    clients: list[Client] = []

    def starter(code: str) -> Client:
        clients.append(Client([sys.executable, "-c", SERVE + code]))
        return clients[-1]

    yield starter
    for client in clients:
        client.end_input()
        assert client.wait(10) is not None
        client.close()


def test_a_server_that_pings_first_is_answered(start: Start) -> None:
    client = start("q = hear(); say(id=0, method='ping'); a = hear(); say(id=q['id'], result={'pong': a})")
    assert client.request("x")["pong"] == {"jsonrpc": "2.0", "id": 0, "result": {}}


def test_a_question_that_it_does_not_know_is_refused(start: Start) -> None:
    client = start("q = hear(); say(id=9, method='roots/list'); a = hear(); say(id=q['id'], result=a['error'])")
    assert client.request("x")["code"] == -32601


def test_notifications_and_stray_prints_are_passed_over(start: Start) -> None:
    client = start("q = hear(); print('ready!', 1); say(method='notifications/message'); say(id=q['id'], result={})")
    assert client.request("x") == {}


def test_all_pages_of_the_tools_are_listed(start: Start) -> None:
    client = start(
        "q = hear(); say(id=q['id'], result={'tools': [{'name': 'a'}], 'nextCursor': ''})\n"
        "q = hear(); say(id=q['id'], result={'tools': [{'name': 'b' + q['params']['cursor']}]})"
    )
    assert [tool["name"] for tool in client.tools()] == ["a", "b"]


def test_an_error_is_told_with_its_message_and_the_last_words(start: Start) -> None:
    client = start("print('out of cheese', file=sys.stderr, flush=True); say(id=hear()['id'], error={'message': 'no'})")
    with pytest.raises(ServerError, match=r"x failed: no; its last stderr lines:\n  out of cheese"):
        client.request("x")


def test_a_server_that_dies_is_told_with_its_exit_code(start: Start) -> None:
    with pytest.raises(ServerError, match="ended with exit code 3 instead of answering x"):
        start("hear(); sys.exit(3)").request("x")


def test_a_server_that_is_silent_is_given_up(start: Start) -> None:
    with pytest.raises(ServerError, match="x was not answered in time"):
        start("hear(); hear()").request("x", timeout=0.3)


def test_a_command_that_does_not_exist_is_named() -> None:
    with pytest.raises(ServerError, match="cannot start no-such-server: No such file"):
        Client(["no-such-server"])
