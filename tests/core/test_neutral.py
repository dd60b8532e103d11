"""One upstream for every kind of client."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mux.core import events
from mux.core.identity import Sharing
from mux.core.neutral import VERSIONS, adapted, opening
from tests.core.play import Message, Play
from tests.core.sessions import SPEC

ANY = Sharing(clients="any")


def initialize(name: str, version: str, **capabilities: Any) -> Message:
    params = {"protocolVersion": version, "capabilities": capabilities, "clientInfo": {"name": name, "version": "1"}}
    return {"jsonrpc": "2.0", "id": name, "method": "initialize", "params": params}


def answer(version: str = VERSIONS[-1], **capabilities: Any) -> bytes:
    result = {"protocolVersion": version, "capabilities": capabilities, "serverInfo": {"name": "s", "version": "1"}}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode() + b"\n"


class Neutral(Play):
    def join(self, session: int, hello: Message, sharing: Sharing = ANY) -> None:
        self.give(events.SessionOpened(session, b"key", SPEC, grace=30.0, sharing=sharing))
        self.host(session, hello)

    def answer(self, process: int, **capabilities: Any) -> Message:
        """Let the server answer its `initialize`; returns that."""
        (request,) = self.got(process)
        line = json.loads(answer(**capabilities)) | {"id": request["id"]}
        self.server(line, process)
        return request


def test_every_kind_of_client_shares_one_server_that_sees_nobody_in_particular() -> None:
    play = Neutral()
    play.join(1, initialize("opencode", "2025-11-25", roots={}))
    play.join(2, initialize("codex", "2025-06-18", elicitation={}))
    (process,) = play.start()
    request = play.answer(process)
    assert request["params"] == json.loads(opening().line)["params"]
    assert request["params"]["clientInfo"]["name"] == "mcp-multiplexer"
    assert (request["params"]["protocolVersion"], request["params"]["capabilities"]) == (VERSIONS[-1], {})
    for session, name, version in ((1, "opencode", "2025-11-25"), (2, "codex", "2025-06-18")):
        (told,) = play.heard(session)
        assert (told["id"], told["result"]["protocolVersion"]) == (name, version)
    play.join(3, initialize("late", "2024-11-05"))
    assert play.start() == []
    assert play.heard(3)[0]["result"]["protocolVersion"] == "2024-11-05"


def test_a_client_of_any_kind_and_one_that_wants_to_be_known_have_different_keys() -> None:
    """The key tells them apart (mux.core.identity); here both have one, and only `any` decides how it is opened."""
    play = Neutral()
    play.join(1, initialize("known", "2025-11-25"), Sharing())
    (process,) = play.start()
    assert play.answer(process)["params"]["clientInfo"]["name"] == "known"


def test_discover_is_refused_so_that_all_speak_one_era() -> None:
    play = Neutral()
    play.join(1, {"jsonrpc": "2.0", "id": 7, "method": "server/discover", "params": {}})
    assert play.start() == []
    (told,) = play.heard(1)
    assert (told["id"], told["error"]["code"]) == (7, -32601)
    play.host(1, initialize("claude-code", "2025-11-25"))
    (process,) = play.start()
    play.answer(process)
    assert play.heard(1)[0]["result"]["protocolVersion"] == "2025-11-25"


@pytest.mark.parametrize("meta", [{}, {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}])
def test_whoever_does_not_initialise_is_told_to_and_starts_no_second_server(meta: Message) -> None:
    play = Neutral()
    play.join(1, {"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": meta})
    assert play.start() == []
    (told,) = play.heard(1)
    assert told["error"]["code"] == -32600
    assert "initialize" in told["error"]["message"]


def test_nobody_is_asked_and_no_roots_are_announced() -> None:
    play = Neutral()
    play.join(1, initialize("opencode", "2025-11-25", roots={"listChanged": True}, sampling={}))
    (process,) = play.start()
    play.answer(process)
    play.heard(1)
    play.host(1, {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})
    play.host(1, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "t"}})
    assert [message["method"] for message in play.got(process)] == ["tools/call"]
    play.server({"jsonrpc": "2.0", "id": "q", "method": "sampling/createMessage", "params": {}}, process)
    assert play.heard(1) == []
    assert "error" in play.got(process)[0]


@pytest.mark.parametrize(
    ("asked", "agreed", "told"),
    [
        ("2024-11-05", "2025-11-25", "2024-11-05"),
        ("2025-11-25", "2025-11-25", "2025-11-25"),
        ("2025-11-25", "2025-03-26", "2025-03-26"),
        ("2026-07-28", "2025-11-25", "2025-11-25"),
        ("", "2025-11-25", "2025-11-25"),
        ("2024-11-05", "unheard of", "unheard of"),
    ],
)
def test_a_session_is_answered_in_its_own_version_where_that_is_older(asked: str, agreed: str, told: str) -> None:
    assert json.loads(adapted(answer(agreed), asked))["result"]["protocolVersion"] == told


def test_what_a_version_does_not_have_is_not_offered_in_it() -> None:
    offers: dict[str, Any] = {"tools": {"listChanged": True}, "completions": {}, "tasks": {"list": {}}, 'od"d': {}}
    for version, missing in (
        ("2024-11-05", {"completions", "tasks"}),
        ("2025-03-26", {"tasks"}),
        ("2025-11-25", set()),
    ):
        line = adapted(answer(**offers), version)
        assert line.endswith(b"}\n")
        assert json.loads(line)["result"]["capabilities"] == {k: v for k, v in offers.items() if k not in missing}


@pytest.mark.parametrize(
    "line", [b"", b"{}", b'{"result":3}', b'{"result":{"protocolVersion":1,"capabilities":[]}}', b"{"]
)
def test_an_odd_answer_passes_as_it_is(line: bytes) -> None:
    assert adapted(line, "2024-11-05") == line
