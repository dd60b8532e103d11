"""When a session is asked to sleep, and what a nap survives; with the shim's side played, and a hand on the clock.

What is said to a sleeper, and what wakes it, is in `tests/park`.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from mux import limits
from mux.backend import park
from mux.backend.connection import Peer, SessionConnection
from mux.backend.pace import Pace
from mux.backend.park import Parking
from mux.core.events import Event, SessionOpened
from mux.limits import PARK_AT_ONCE
from mux.wire import frames
from mux.wire.frames import frame
from tests.backend.far import Far, join
from tests.backend.support import PATIENCE, spec

AFTER = 0.05
PID = os.getpid()


class Owner:
    """Says nothing, and hears nothing but which sessions have ended."""

    def __init__(self) -> None:
        self.gone: set[int] = set()

    def dispatch(self, *batch: Event) -> None: ...

    def opened(self, event: SessionOpened, connection: SessionConnection, /) -> None: ...

    def unanswered(self, _session: int, /) -> int:
        return 0

    def closed(self, session: int, /) -> None:
        self.gone.add(session)


class Sessions:
    """Sessions that may sleep, each on a socket of its own, with its shim played by the test.

    asked: which were, in order. at_once: how many in each turn of the loop that asked any.
    """

    def __init__(self) -> None:
        self.owner = Owner()
        self.asked: list[int] = []
        self.at_once: list[int] = []
        self._same_turn = False
        self.parking = Parking(self._quiet)
        self.connections: list[SessionConnection] = []
        self.shims: list[Far] = []

    def _quiet(self, session: int) -> bool:
        self.asked.append(session)
        if self._same_turn:
            self.at_once[-1] += 1
        else:
            self._same_turn = True
            self.at_once.append(1)
            asyncio.get_running_loop().call_soon(self._next_turn)
        return True

    def _next_turn(self) -> None:
        self._same_turn = False

    async def add(self, after: float = AFTER) -> tuple[SessionConnection, Far]:
        number = len(self.connections) + 1
        event = SessionOpened(number, b"key", spec("/bin/cat"), 1.0)
        loop = asyncio.get_running_loop()
        made = SessionConnection(
            event, Peer(PID, b"1", 0.0), self.owner, loop, self.parking, after, Pace(loop.time).join()
        )
        shim = await join(made)
        self.connections.append(made)
        self.shims.append(shim)
        return made, shim

    async def close(self) -> None:
        for connection in self.connections:
            connection.abort()
        async with asyncio.timeout(PATIENCE):
            while len(self.owner.gone) < len(self.connections):  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0.01)
        self.parking.close()
        for shim in self.shims:
            shim.sock.close()


@pytest_asyncio.fixture
async def sessions() -> AsyncIterator[Sessions]:
    found = Sessions()
    yield found
    await found.close()


async def hears(shim: Far, expected: bytes) -> None:
    """The next bytes that the shim gets are these."""
    found = b""
    loop = asyncio.get_running_loop()
    while len(found) < len(expected):
        found += await asyncio.wait_for(loop.sock_recv(shim.sock, len(expected) - len(found)), PATIENCE)
    assert found == expected


async def handled(connection: SessionConnection, shim: Far, *said: bytes) -> None:
    """The shim says that, and it has arrived."""
    connection.stirred = False
    await shim.say(*said)
    async with asyncio.timeout(PATIENCE):
        while not connection.stirred and not connection.ended:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0)


async def test_who_speaks_now_and_then_is_not_asked_however_long_ago_it_began(sessions: Sessions) -> None:
    talks, shim = await sessions.add(1.0)
    for _ in range(12):
        await asyncio.sleep(0.1)
        await shim.say(frame(frames.READY))
    assert sessions.asked == []
    await hears(shim, frame(frames.PARK))
    assert not talks.parked, "it has not answered"


async def test_a_session_that_may_sleep_sooner_is_not_kept_awake_by_one_that_may_later(sessions: Sessions) -> None:
    await sessions.add(3600.0)
    _, soon = await sessions.add(AFTER)
    await hears(soon, frame(frames.PARK))
    assert sessions.asked == [2]


async def test_only_so_many_are_asked_at_once_and_the_others_soon_after(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(park, "PARK_AT_ONCE", 2)
    assert PARK_AT_ONCE > 2
    for _ in range(5):
        await sessions.add()
    for shim in sessions.shims:
        await hears(shim, frame(frames.PARK))
    assert sessions.asked == [1, 2, 3, 4, 5], "nobody twice, and in the order of their joining"
    assert max(sessions.at_once) <= 2


async def test_what_is_said_to_a_shim_that_thinks_about_sleep_counts_as_unread(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HOST_SLOW_BYTES", 1000)
    monkeypatch.setattr(limits, "HOST_SLOW_SECONDS", 0.1)
    connection, shim = await sessions.add()
    await hears(shim, frame(frames.PARK))
    connection.send(frames.OUT, b"x" * 2000)
    await shim.rest()
    assert connection.reason == "its host does not read: too much has waited for too long"


async def test_who_wakes_in_time_has_all_the_time_again(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HOST_SLOW_BYTES", 1000)
    monkeypatch.setattr(limits, "HOST_SLOW_SECONDS", 0.8)
    connection, shim = await sessions.add()
    await hears(shim, frame(frames.PARK))
    for _ in range(2):
        connection.send(frames.OUT, b"x" * 2000)
        connection.outbox.flush()
    await handled(connection, shim, frame(frames.AWAKE))
    await hears(shim, 2 * frame(frames.OUT, b"x" * 2000))
    await asyncio.sleep(1.0)
    assert connection.reason == ""


async def test_awake_from_one_that_was_not_asked_changes_nothing(sessions: Sessions) -> None:
    connection, shim = await sessions.add(3600.0)
    await handled(connection, shim, frame(frames.AWAKE), frame(frames.PARKED))
    assert not connection.parked
    connection.send(frames.OUT, b"on")
    await hears(shim, frame(frames.OUT, b"on"))


async def test_a_descriptor_that_cannot_be_watched_wakes_at_once(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sessions.parking._poll, "add", refuse)
    connection, shim = await sessions.add()
    await hears(shim, frame(frames.PARK))
    reader, writer = os.pipe()
    assert connection.offer_stdin(PID, reader)
    await handled(connection, shim, frame(frames.PARKED))
    await hears(shim, frames.WAKE_BYTE)
    with pytest.raises(BrokenPipeError):
        os.write(writer, b"x")
    os.close(writer)


async def test_at_the_backends_end_nothing_of_a_sleepers_host_is_kept(sessions: Sessions) -> None:
    connection, shim = await sessions.add()
    await hears(shim, frame(frames.PARK))
    reader, writer = os.pipe()
    assert connection.offer_stdin(PID, reader)
    await handled(connection, shim, frame(frames.PARKED))
    assert connection.parked
    sessions.parking.close()
    with pytest.raises(BrokenPipeError):
        os.write(writer, b"x")
    os.close(writer)
    sessions.parking = Parking(lambda _session: False)  # for the end of the test
