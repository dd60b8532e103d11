"""A session's connection: its shim's frames become events, and whatever ends it, it is closed once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from mux import limits
from mux.backend.connection import Peer, SessionConnection
from mux.backend.pace import Pace
from mux.backend.park import Parking
from mux.core.events import Event, SessionEof, SessionLine, SessionOpened, SessionReady, SessionReplay
from mux.limits import OVERSIZE_EDGE_BYTES
from mux.wire import frames
from mux.wire.frames import frame
from tests.backend.far import Far, join
from tests.backend.support import PATIENCE, spec


class Owner:
    """Takes what a session says. told: when it was opened and closed. open: requests of it that have no answer."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.told: list[str] = []
        self.open = 0
        self.news = asyncio.Event()

    def dispatch(self, *batch: Event) -> None:
        assert batch, "nothing is no event"
        self.events += batch
        self.news.set()

    def opened(self, event: SessionOpened, connection: SessionConnection, /) -> None:
        assert connection.session == event.session
        self.told.append(f"opened {event.session}")

    def unanswered(self, session: int, /) -> int:
        assert session == 1
        return self.open

    def closed(self, session: int, /) -> None:
        self.told.append(f"closed {session}")
        self.news.set()

    async def until(self, count: int) -> list[Event]:
        """The first events, once there are so many."""
        async with asyncio.timeout(PATIENCE):
            while len(self.events) < count:
                self.news.clear()
                await self.news.wait()
        return self.events[:count]

    async def end(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while "closed 1" not in self.told:
                self.news.clear()
                await self.news.wait()


class Session:
    """A session that may not sleep, and its shim's end."""

    def __init__(self, **opened: Any) -> None:
        self.owner = Owner()
        self.parking = Parking(lambda _session: False)
        event = SessionOpened(1, b"key", spec("/bin/cat"), 1.0, **opened)
        client = Peer(os.getpid(), b"1", time.monotonic())
        loop = asyncio.get_running_loop()
        self.pace = Pace(loop.time)
        self.connection = SessionConnection(event, client, self.owner, loop, self.parking, 0, self.pace.join())
        self.far: Far

    async def close(self) -> None:
        self.connection.abort()
        await self.owner.end()
        self.parking.close()
        self.far.sock.close()


@pytest_asyncio.fixture
async def session() -> AsyncIterator[Session]:
    made = Session()
    made.far = await join(made.connection)
    yield made
    await made.close()


async def test_a_session_is_opened_with_its_connection_and_closed_once_with_it(session: Session) -> None:
    assert session.owner.told == ["opened 1"]
    session.far.sock.close()
    await session.owner.end()
    session.connection.abort()
    session.connection.close()
    assert session.owner.told == ["opened 1", "closed 1"]


async def test_what_a_shim_says_becomes_events_in_its_order(session: Session) -> None:
    await session.far.say(
        frame(frames.REPLAY, frames.replay_payload(b"blob", b"again"), seq=1, flags=frames.ANSWERED),
        frame(frames.REPLAY, frames.replay_payload(b"", b"once"), seq=2, flags=frames.REPEATED | frames.OVERSIZE),
        frame(frames.READY),
        frame(frames.LINE, b"{}", seq=3),
        frame(frames.LINE, b"edges", seq=4, flags=frames.OVERSIZE),
        frame(frames.EOF),
    )
    assert await session.owner.until(6) == [
        SessionReplay(1, 1, b"again", answered=True, repeated=False, blob=b"blob", oversize=False),
        SessionReplay(1, 2, b"once", answered=False, repeated=True, blob=b"", oversize=True),
        SessionReady(1),
        SessionLine(1, 3, b"{}", False),
        SessionLine(1, 4, b"edges", True),
        SessionEof(1),
    ]
    assert session.connection.reason == "its host closed its end"


@pytest.mark.parametrize("over", [0, 1])
async def test_a_line_above_our_limit_is_taken_by_its_ends_though_its_shim_let_it_pass(
    session: Session, monkeypatch: pytest.MonkeyPatch, over: int
) -> None:
    monkeypatch.setattr(limits, "MESSAGE_BYTES", 4 * OVERSIZE_EDGE_BYTES)
    line = b"a" * OVERSIZE_EDGE_BYTES + b"-" * (2 * OVERSIZE_EDGE_BYTES + over) + b"z" * OVERSIZE_EDGE_BYTES
    await session.far.say(frame(frames.LINE, line, seq=1))
    (event,) = await session.owner.until(1)
    cut = line.replace(b"-", b"")
    assert event == SessionLine(1, 1, cut if over else line, bool(over))


async def test_a_replay_that_is_cut_short_ends_its_session(session: Session) -> None:
    await session.far.say(frame(frames.REPLAY, b"\xff\0\0\0", seq=2), frame(frames.READY))
    await session.owner.end()
    assert session.connection.reason == "REPLAY is cut short"
    assert session.owner.events == []


async def test_a_dropped_session_is_logged_with_its_process(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "mux.backend"):
        session.connection.drop("enough")
    assert caplog.messages == [f"session.dropped session=1 pid={os.getpid()} reason=enough"]
    await session.owner.end()
    assert session.connection.reason == "enough"


async def test_a_session_that_is_held_to_a_rate_is_logged_once(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    session.pace.join().pause([(frames.LINE, 0, 1, b"another one makes a call")], 0)
    session.owner.open = limits.FEW_REQUESTS
    flood = b"x" * int(limits.FLOOD_RATE * limits.RATE_SECONDS + 1) * limits.LINE_BYTES
    with caplog.at_level("WARNING", "mux.backend"):
        for seq in (1, 2, 3):
            await session.far.say(frame(frames.LINE, flood, seq=seq))
        await session.owner.until(3)
    (told,) = caplog.messages
    assert told.startswith(f"session.paced session=1 pid={os.getpid()} reason=")


async def test_frames_that_a_shim_has_no_reason_to_send_are_passed_over(session: Session) -> None:
    odd = (frames.PARKED, frames.AWAKE, frames.HELLO, frames.WELCOME, 0x7F)
    await session.far.say(*(frame(kind, b"?") for kind in odd), frames.WAKE_BYTE, frame(frames.READY))
    assert await session.owner.until(1) == [SessionReady(1)]
    assert not session.connection.parked


async def test_go_away_is_said_once_with_the_last_line_taken_and_those_that_come_later_are_not_run(
    session: Session,
) -> None:
    await session.far.say(
        frame(frames.LINE, b"a", seq=4), frame(frames.REPLAY, frames.replay_payload(b"", b"b"), seq=5)
    )
    taken = await session.owner.until(2)
    session.connection.go_away(2500)
    session.connection.go_away(1)
    await session.far.say(
        frame(frames.LINE, b"c", seq=6),
        frame(frames.REPLAY, frames.replay_payload(b"", b"d"), seq=7),
        frame(frames.READY),
        frame(frames.EOF),
    )
    assert await session.owner.until(4) == [*taken, SessionReady(1), SessionEof(1)]
    session.connection.close()
    ((kind, _, _, payload),) = await session.far.rest()
    assert (kind, frames.parse_goaway(payload)) == (frames.GOAWAY, (5, 2500))


async def test_a_session_that_may_not_sleep_gives_nothing_to_watch(session: Session) -> None:
    assert not session.connection.offer_stdin(os.getpid(), session.far.sock.fileno())
    session.connection.nudge()
    assert not session.connection.parked


async def test_nobody_is_nudged_whose_connection_is_gone(session: Session) -> None:
    session.far.sock.close()
    await session.owner.end()
    session.connection.nudge()
    assert session.connection.ended


@pytest.mark.parametrize("shared", [True, False])
async def test_a_session_that_does_not_share_is_alone(*, shared: bool) -> None:
    made = Session(shared=shared)
    made.far = await join(made.connection)
    assert made.connection.alone is not shared
    await made.close()
