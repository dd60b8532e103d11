"""Limits as the core keeps them when a user has set them: one below, at the limit, one above."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import cast

import pytest

from mux import errors, limits
from mux.backend.connection import Connection
from mux.wire.frames import HEADER_BYTES, OUT
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


def test_sessions_that_wait_have_one_turn_each_however_much_one_of_them_asks(play: Play) -> None:
    play.serve(3)
    limits.configure({"upstream_in_flight": 1})
    for session, count in ((1, 20), (2, 3), (3, 2)):
        for number in range(count):
            call = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": f"{session}.{number}"}}
            play.host(session, call)
    order = []
    for _ in range(10):
        (sent,) = play.got()
        order.append(sent["params"]["name"])
        play.server({"jsonrpc": "2.0", "id": sent["id"], "result": {}})
    assert order == ["1.0", "1.1", "2.0", "3.0", "1.2", "2.1", "3.1", "1.3", "2.2", "1.4"]


# --- a peer that does not read ----------------------------------------------------------------

MESSAGE = 100


class Transport:
    """A transport to a peer that reads nothing: all that is written, and `before`, waits."""

    def __init__(self, before: int = 0) -> None:
        self.waits = before
        self.high = 0
        self.aborted = False

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def write(self, data: bytes) -> None:
        self.waits += len(data)

    def get_write_buffer_size(self) -> int:
        return self.waits

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    found = asyncio.new_event_loop()
    yield found
    found.close()


def connect(loop: asyncio.AbstractEventLoop, transport: Transport) -> Connection:
    class Peer(Connection):
        def lost(self) -> None:
            pass

    connection = Peer("peer", loop)
    connection.connection_made(cast("asyncio.Transport", transport))
    return connection


@pytest.mark.parametrize("beside", [-1, 0, 1])
def test_so_much_may_wait_for_a_host_beside_the_largest_message(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, beside: int
) -> None:
    monkeypatch.setattr(limits, "HOST_QUEUE_BYTES", 10_000)
    transport = Transport(before=10_000 + beside - HEADER_BYTES)
    connection = connect(loop, transport)
    connection.send(OUT, b"x" * MESSAGE)
    loop.run_until_complete(asyncio.sleep(0))
    assert transport.aborted == connection.ended == (beside > 0)


@pytest.mark.parametrize("reads", [True, False])
def test_a_host_has_so_long_to_read_what_is_too_much(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, *, reads: bool
) -> None:
    monkeypatch.setattr(limits, "HOST_SLOW_BYTES", 1_000)
    monkeypatch.setattr(limits, "HOST_SLOW_SECONDS", 0.1)
    transport = Transport()
    connection = connect(loop, transport)
    assert transport.high == 1_000, "the loop tells when more waits, and when less does"
    connection.pause_writing()
    if reads:
        connection.resume_writing()
    loop.run_until_complete(asyncio.sleep(0.3))
    assert transport.aborted is not reads
    assert bool(connection.reason) is not reads
