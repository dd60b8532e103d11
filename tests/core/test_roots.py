"""Roots: a server is told those of all its sessions, whoever fails to name any. MCP "Roots"."""

from __future__ import annotations

from typing import Any

import pytest

from mux import limits
from tests.core.play import Message
from tests.core.questioning import ask, result, shared


def roots(*uris: str) -> list[dict[str, Any]]:
    return [{"uri": uri, "name": uri.upper()} for uri in uris]


def test_roots_are_the_union_of_all_sessions_by_uri() -> None:
    play = shared(1, 2)
    play.server(ask("roots/list"))
    (first,), (second,) = play.heard(1), play.heard(2)
    play.host(1, result(first["id"], roots=roots("a", "b")))
    assert play.got() == []
    play.host(2, result(second["id"], roots=roots("b", "c")))
    assert play.got() == [result(77, roots=roots("a", "b", "c"))]


def test_a_change_of_roots_is_told_to_the_server() -> None:
    play = shared(1, 2)
    changed = {"jsonrpc": "2.0", "method": "notifications/roots/list_changed", "params": {"x": 1}}
    play.host(2, changed)
    assert play.got() == [changed]


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"code": -1, "message": "no"}},
        {"result": {}},
        {"result": {"roots": "none"}},
        {"result": {"roots": [{"name": "without uri"}]}},
    ],
)
def test_who_fails_to_name_roots_is_skipped(answer: Message) -> None:
    play = shared(1, 2)
    play.server(ask("roots/list"))
    (first,), (second,) = play.heard(1), play.heard(2)
    play.host(1, {"jsonrpc": "2.0", "id": first["id"], **answer})
    play.host(2, result(second["id"], roots=roots("c")))
    assert play.got() == [result(77, roots=roots("c"))]


def test_who_does_not_name_its_roots_in_time_is_not_waited_for() -> None:
    play = shared(1, 2)
    play.server(ask("roots/list"))
    (first,), (second,) = play.heard(1), play.heard(2)
    play.host(1, result(first["id"], roots=roots("a")))
    play.wait(limits.SURVEY_SECONDS)
    assert play.got() == [result(77, roots=roots("a"))]
    play.host(2, result(second["id"], roots=roots("b")))
    assert play.got() == []


def test_who_leaves_is_not_waited_for() -> None:
    play = shared(1, 2)
    play.server(ask("roots/list"))
    (first,) = play.heard(1)
    play.host(1, result(first["id"], roots=roots("a")))
    play.close(2)
    assert play.got() == [result(77, roots=roots("a"))]


def test_without_anybody_who_declared_roots_there_are_none() -> None:
    play = shared(1, 2, capabilities={"sampling": {}})
    play.server(ask("roots/list"))
    assert play.got() == [result(77, roots=[])]
    assert play.heard(1) == play.heard(2) == []
