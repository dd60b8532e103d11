"""Limits as the core keeps them when a user has set them: one below, at the limit, one above."""

from __future__ import annotations

import pytest

from mux import errors, limits
from tests.core.play import Play

LIMIT = 3


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Play:
    for name in limits.CONFIGURABLE:  # put back what `configure` sets
        monkeypatch.setattr(limits, name.upper(), getattr(limits, name.upper()))
    monkeypatch.setattr(limits, "JOURNAL_BYTES", limits.JOURNAL_BYTES)
    found = Play()
    found.serve(1, 2)
    return found


def ask(play: Play, session: int, count: int) -> None:
    for number in range(count):
        play.host(session, {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": "t"}})


@pytest.mark.parametrize(("asked", "up"), [(LIMIT - 1, LIMIT - 1), (LIMIT, LIMIT), (LIMIT + 1, LIMIT)])
def test_so_many_requests_of_a_session_are_at_a_server_at_once(play: Play, asked: int, up: int) -> None:
    limits.configure({"session_in_flight": LIMIT})
    ask(play, 1, asked)
    sent = play.got()
    assert len(sent) == up
    play.server({"jsonrpc": "2.0", "id": sent[0]["id"], "result": {}})
    assert len(play.got()) == asked - up
    ask(play, 2, 1)
    assert len(play.got()) == 1, "another session has its own"


@pytest.mark.parametrize(("asked", "up"), [(LIMIT - 1, LIMIT - 1), (LIMIT, LIMIT), (LIMIT + 1, LIMIT)])
def test_so_many_requests_of_all_sessions_are_at_a_server_at_once(play: Play, asked: int, up: int) -> None:
    limits.configure({"upstream_in_flight": LIMIT})
    for number in range(asked):
        play.host(1 + number % 2, {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": "t"}})
    sent = play.got()
    assert len(sent) == up
    play.server({"jsonrpc": "2.0", "id": sent[0]["id"], "result": {}})
    assert len(play.got()) == asked - up


@pytest.mark.parametrize(("asked", "refused"), [(LIMIT - 1, 0), (LIMIT, 0), (LIMIT + 1, 1)])
def test_so_many_requests_of_a_session_are_open_and_one_more_is_refused_to_it_alone(
    play: Play, asked: int, refused: int
) -> None:
    limits.configure({"session_in_flight": 1, "session_waiting": LIMIT})
    ask(play, 1, asked)
    told = [message["error"]["code"] for message in play.heard(1)]
    assert told == [errors.OVERLOADED] * refused
    ask(play, 2, 1)
    assert play.heard(2) == []


def test_a_flooding_session_has_one_turn_for_each_of_another(play: Play) -> None:
    limits.configure({"upstream_in_flight": 1})
    ask(play, 1, 20)
    (sent,) = play.got()
    ask(play, 2, 3)
    order = []
    for _ in range(6):
        play.server({"jsonrpc": "2.0", "id": sent["id"], "result": {}})
        (sent,) = play.got()
        order.append(sent)
    for session, served in ((1, 4), (2, 3)):
        assert len(play.heard(session)) in {served, served - 1}
