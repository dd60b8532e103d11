"""`--era legacy|modern`: sessions of the other era are refused as the specification says. PROTOCOL: "--era"."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mux.core import events
from mux.core.identity import Sharing
from tests.core.play import Message, Play
from tests.core.sessions import SPEC

VERSION = "io.modelcontextprotocol/protocolVersion"
MODERN: Message = {"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": {"_meta": {VERSION: "2026-07-28"}}}
DISCOVER: Message = {**MODERN, "method": "server/discover"}
BARE: Message = {"jsonrpc": "2.0", "id": 7, "method": "tools/list"}


def initialize(**params: Any) -> Message:
    return {"jsonrpc": "2.0", "id": 7, "method": "initialize", "params": {"protocolVersion": "2025-11-25", **params}}


class OneEra(Play):
    def join(self, session: int, hello: Message | bytes, era: str, *, clients: str = "exact") -> None:
        sharing = Sharing(era=era, clients=clients)
        self.give(events.SessionOpened(session, b"key", SPEC, grace=30.0, sharing=sharing))
        self.host(session, hello)

    def refusal(self, session: int) -> Message:
        (told,) = self.heard(session)
        assert told["id"] == 7
        error: Message = told["error"]
        return error


# --- legacy -----------------------------------------------------------------------------------


def test_a_server_kept_to_the_legacy_era_answers_a_discover_as_legacy_servers_do_and_starts_nothing() -> None:
    play = OneEra()
    play.join(1, DISCOVER, "legacy")
    assert play.refusal(1) == {"code": -32601, "message": "Method not found"}
    assert play.start() == []
    play.host(1, initialize())
    (process,) = play.start()
    assert [message["method"] for message in play.got(process)] == ["initialize"]


@pytest.mark.parametrize("request_", [MODERN, BARE], ids=["modern", "bare"])
def test_whatever_is_not_initialize_is_refused_by_a_server_kept_to_the_legacy_era(request_: Message) -> None:
    play = OneEra()
    play.join(1, request_, "legacy")
    error = play.refusal(1)
    assert error["code"] == -32600
    assert "`initialize`" in error["message"]
    assert play.start() == []


def test_clients_that_differ_still_get_servers_of_their_own_in_the_legacy_era() -> None:
    play = OneEra()
    play.join(1, initialize(clientInfo={"name": "a"}), "legacy")
    play.join(2, initialize(clientInfo={"name": "b"}), "legacy")
    assert len(play.start()) == 2


# --- modern -----------------------------------------------------------------------------------


def test_initialize_is_refused_with_the_versions_that_a_server_kept_to_the_modern_era_serves() -> None:
    play = OneEra()
    play.join(1, initialize(), "modern")
    error = play.refusal(1)
    assert (error["code"], error["data"]) == (-32022, {"supported": ["2026-07-28"], "requested": "2025-11-25"})
    assert play.start() == []


@pytest.mark.parametrize("version", [7, None, {"a": 1}, "\udead"])
def test_a_version_that_is_no_text_is_not_repeated(version: Any) -> None:
    play = OneEra()
    play.join(1, initialize(protocolVersion=version), "modern")
    assert play.refusal(1)["data"] == {"supported": ["2026-07-28"]}


def test_an_initialize_is_refused_even_if_it_wears_the_envelope_of_a_modern_request() -> None:
    play = OneEra()
    play.join(1, initialize(_meta={VERSION: "2026-07-28"}), "modern")
    assert play.refusal(1)["code"] == -32022
    assert play.start() == []


def test_a_request_without_a_version_is_refused_as_modern_servers_do() -> None:
    play = OneEra()
    play.join(1, BARE, "modern")
    assert play.refusal(1)["code"] == -32602
    assert play.start() == []


def test_a_refused_session_may_go_on_in_the_era_that_is_served() -> None:
    play = OneEra()
    play.join(1, initialize(), "modern")
    assert play.refusal(1)["code"] == -32022
    play.host(1, DISCOVER)
    (process,) = play.start()
    assert [message["method"] for message in play.got(process)] == ["server/discover"]


def test_one_process_serves_all_that_begin_with_a_discover_or_a_request_in_the_modern_era() -> None:
    play = OneEra()
    for session, request in enumerate((DISCOVER, MODERN, DISCOVER), 1):
        play.join(session, request, "modern")
    (process,) = play.start()
    asked = [message["method"] for message in play.got(process)]
    assert sorted(asked) == ["server/discover", "server/discover", "tools/list"]


@pytest.mark.parametrize("code", [-32601, -32602, -32022])
def test_no_answer_to_a_discover_opens_another_lane_in_the_modern_era(code: int) -> None:
    play = OneEra()
    play.join(1, DISCOVER, "modern")
    (process,) = play.start()
    (asked,) = play.got(process)
    play.server({"jsonrpc": "2.0", "id": asked["id"], "error": {"code": code, "message": "m"}}, process)
    assert play.refusal(1)["code"] == code
    play.host(1, MODERN)
    assert [message["method"] for message in play.got(process)] == ["tools/list"]
    play.join(2, initialize(), "modern")
    assert play.refusal(2)["code"] == -32022
    assert play.start() == []


# --- what is equal ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sharing", "only"),
    [
        (Sharing(), ""),
        (Sharing(era="legacy"), "legacy"),
        (Sharing(era="modern"), "modern"),
        (Sharing(clients="any"), "legacy"),
        (Sharing(clients="any", era="legacy"), "legacy"),
        (Sharing(clients="any", era="modern"), "modern"),
    ],
)
def test_one_server_for_every_kind_of_client_speaks_one_era(sharing: Sharing, only: str) -> None:
    assert sharing.only == only


def test_clients_of_every_kind_may_share_in_the_modern_era_as_well() -> None:
    play = OneEra()
    play.join(1, json.dumps(MODERN).encode(), "modern", clients="any")
    (process,) = play.start()
    assert [message["method"] for message in play.got(process)] == ["tools/list"]
