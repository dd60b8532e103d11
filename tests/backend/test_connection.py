"""A connection on a real socket: frames both ways, how it ends and why, and what one peer may cost."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from mux import limits
from mux.backend import connection as module
from mux.backend.connection import Connection
from mux.errors import WireError
from mux.limits import FRAME_BYTES, KIB, MIB, SESSION_TURN_LINES
from mux.wire import frames
from mux.wire.frames import frame
from tests.backend.far import Far, join
from tests.backend.support import PATIENCE, Frame

NONSENSE = 0x7F
"""A kind that the receiver refuses."""


class Ear(Connection):
    """heard: what the peer said, a list for each time. ends: how often it was told that all is over."""

    def __init__(self) -> None:
        super().__init__("ear", asyncio.get_running_loop())
        self.heard: list[list[Frame]] = []
        self.news = asyncio.Event()
        self.ends = 0

    def received(self, batch: Sequence[Frame], /) -> None:
        if any(kind == NONSENSE for kind, *_ in batch):
            raise WireError("it makes no sense")
        self.heard.append(list(batch))
        self.news.set()

    def lost(self) -> None:
        self.ends += 1
        self.news.set()


async def until(made: Ear, count: int) -> None:
    """Until it has heard so many frames, or has ended."""
    async with asyncio.timeout(PATIENCE):
        while sum(map(len, made.heard)) < count and not made.ends:
            made.news.clear()
            await made.news.wait()


async def ended(made: Ear) -> None:
    async with asyncio.timeout(PATIENCE):
        while not made.ends:
            made.news.clear()
            await made.news.wait()


@pytest_asyncio.fixture
async def ear() -> Ear:
    return Ear()


@pytest_asyncio.fixture
async def far(ear: Ear) -> AsyncIterator[Far]:
    """The other end of `ear`."""
    found = await join(ear)
    yield found
    ear.abort()
    await ended(ear)
    found.sock.close()


# --- what is said ---------------------------------------------------------------------------------


async def test_frames_come_whole_and_in_order_however_they_are_cut(ear: Ear, far: Far) -> None:
    for byte in frame(frames.LINE, b"one", seq=1) + frame(frames.LINE, b"", seq=2, flags=frames.OVERSIZE):
        await far.say(bytes((byte,)))
    await until(ear, 2)
    assert [found for batch in ear.heard for found in batch] == [
        (frames.LINE, 0, 1, b"one"),
        (frames.LINE, frames.OVERSIZE, 2, b""),
    ]


async def test_a_peer_that_says_much_at_once_is_heard_in_portions_to_the_last_word(ear: Ear, far: Far) -> None:
    count = 10 * SESSION_TURN_LINES + 1
    await far.say(*(frame(frames.LINE, b"x", seq=seq) for seq in range(1, count + 1)))
    await until(ear, count)
    assert [seq for batch in ear.heard for _, _, seq, _ in batch] == list(range(1, count + 1))
    assert max(map(len, ear.heard)) <= SESSION_TURN_LINES


async def test_what_is_sent_arrives_with_its_number_and_in_order(ear: Ear, far: Far) -> None:
    ear.send(frames.OUT, b"x" * (3 * MIB), 7)
    ear.send(frames.ACK, seq=8)
    ear.close()
    assert await far.rest() == [(frames.OUT, 0, 7, b"x" * (3 * MIB)), (frames.ACK, 0, 8, b"")]


@pytest.mark.parametrize("speaker", ["peer", "we"])
async def test_whoever_speaks_stirs_it(ear: Ear, far: Far, speaker: str) -> None:
    ear.stirred = False
    if speaker == "peer":
        await far.say(frame(frames.READY))
        await until(ear, 1)
    else:
        ear.send(frames.ACK)
    assert ear.stirred


# --- how it ends ----------------------------------------------------------------------------------


async def test_close_says_what_was_sent_and_nothing_that_is_sent_later(ear: Ear, far: Far) -> None:
    ear.send(frames.OUT, b"last")
    ear.close()
    ear.send(frames.OUT, b"too late")
    ear.close()
    assert ear.ended
    assert await far.rest() == [(frames.OUT, 0, 0, b"last")]
    await ended(ear)
    assert ear.ends == 1
    assert ear.reason == "", "whoever closes it knows why"


async def test_a_peer_that_does_not_read_cannot_hold_up_a_close(
    ear: Ear, far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.05)
    ear.send(frames.OUT, b"x" * (8 * MIB))
    ear.close()
    await ended(ear)
    assert ear.reason == "its host did not read"
    assert await far.rest() == [], "half a frame is none"


async def test_a_slow_host_that_is_closed_has_the_time_of_a_close_and_not_what_was_left_of_its_own(
    ear: Ear, far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HOST_SLOW_SECONDS", 0.05)
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.3)
    ear.send(frames.OUT, b"x" * (limits.HOST_SLOW_BYTES + 4 * MIB))
    ear.outbox.flush()
    ear.close()
    await ended(ear)
    assert ear.reason == "its host did not read"
    far.sock.close()


@pytest.mark.parametrize("end", ["drop", "abort"])
async def test_at_a_sudden_end_what_waits_is_lost(ear: Ear, far: Far, end: str) -> None:
    ear.send(frames.OUT, b"waits")
    ear.drop("enough") if end == "drop" else ear.abort()
    assert ear.ended
    assert await far.rest() == []
    await ended(ear)
    assert ear.ends == 1


async def test_a_drop_is_logged_by_name_and_the_first_reason_given_stays(
    ear: Ear, far: Far, caplog: pytest.LogCaptureFixture
) -> None:
    ear.because("the backend leaves")
    ear.because("nobody knows")
    with caplog.at_level("WARNING", "mux.backend"):
        ear.drop("enough")
    assert ear.reason == "the backend leaves"
    assert caplog.messages == ["connection.dropped connection=ear reason=enough"]
    assert await far.rest() == []


async def test_the_end_of_a_peer_is_its_death_and_nobody_waits_until_it_reads(
    ear: Ear, far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_SECONDS", 3600.0)
    ear.send(frames.OUT, b"x" * (8 * MIB))
    ear.outbox.flush()
    far.sock.shutdown(socket.SHUT_WR)
    await ended(ear)
    assert (ear.ends, ear.reason) == (1, "its shim has ended")


async def test_a_peer_that_dies_with_something_unread_has_ended_as_any_other(ear: Ear, far: Far) -> None:
    ear.send(frames.OUT, b"unread")
    ear.outbox.flush()
    far.sock.close()  # with something in its buffer: a reset
    await ended(ear)
    assert (ear.ends, ear.reason) == (1, "its shim has ended")


async def test_a_frame_beyond_every_limit_ends_it_before_its_payload_is_awaited(ear: Ear, far: Far) -> None:
    await far.say(frame(frames.READY), frames.HEADER.pack(frames.LINE, 0, 1, FRAME_BYTES + 1))
    await ended(ear)
    assert f"announces {FRAME_BYTES + 1} bytes" in ear.reason


async def test_a_frame_that_makes_no_sense_ends_it_with_the_receivers_words(ear: Ear, far: Far) -> None:
    await far.say(frame(frames.READY), frame(NONSENSE))
    await ended(ear)
    assert (ear.ends, ear.reason) == (1, "it makes no sense")


async def test_after_nonsense_the_rest_of_what_came_with_it_is_not_heard(ear: Ear, far: Far) -> None:
    sensible = [frame(frames.LINE, b"x", seq=seq) for seq in range(1, SESSION_TURN_LINES + 1)]
    await far.say(*sensible, frame(NONSENSE), *sensible)
    await ended(ear)
    for _ in range(5):
        await asyncio.sleep(0)
    assert [len(batch) for batch in ear.heard] == [SESSION_TURN_LINES]


async def test_from_close_on_the_peer_is_not_heard(ear: Ear, far: Far) -> None:
    await far.say(*(frame(frames.LINE, b"x", seq=seq) for seq in range(1, 3 * SESSION_TURN_LINES)))
    await until(ear, 1)
    before = len(ear.heard)
    ear.send(frames.BYE)
    ear.close()
    ear.data_received(frame(frames.LINE, b"late", seq=99))
    await far.rest()
    await ended(ear)
    assert len(ear.heard) == before


async def test_before_it_has_a_transport_it_can_end_and_says_nothing(ear: Ear) -> None:
    ear.send(frames.OUT, b"early")
    ear.close()
    ear.abort()
    assert ear.ended
    assert not ear.outbox.waiting


# --- what a peer may cost -------------------------------------------------------------------------


async def test_who_reads_on_after_a_pause_is_not_dropped_for_it(
    ear: Ear, far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HOST_SLOW_SECONDS", 0.2)
    ear.send(frames.OUT, b"x" * (limits.HOST_SLOW_BYTES + 4 * MIB))
    ear.send(frames.ACK)
    reading = asyncio.create_task(far.rest())
    await asyncio.sleep(0.4)
    assert not ear.ended
    ear.close()
    assert [kind for kind, *_ in await reading] == [frames.OUT, frames.ACK]
    assert ear.reason == ""


async def test_who_reads_nothing_for_too_long_is_dropped(ear: Ear, far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HOST_SLOW_SECONDS", 0.05)
    ear.send(frames.OUT, b"x" * (limits.HOST_SLOW_BYTES + 4 * MIB))
    await ended(ear)
    assert ear.reason == "its host does not read: too much has waited for too long"
    far.sock.close()


async def test_who_ends_while_it_is_slow_is_not_dropped_after_its_end(
    ear: Ear, far: Far, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "HOST_SLOW_SECONDS", 0.05)
    ear.send(frames.OUT, b"x" * (limits.HOST_SLOW_BYTES + 4 * MIB))
    ear.outbox.flush()
    far.sock.close()
    await ended(ear)
    await asyncio.sleep(0.2)
    assert caplog.messages == []


async def test_a_message_of_any_size_may_wait_and_many_that_are_small_may_not(
    ear: Ear, far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HOST_QUEUE_BYTES", MIB)
    ear.send(frames.OUT, b"x" * (8 * MIB))
    ear.outbox.flush()
    assert ear.reason == ""
    for _ in range(20):
        ear.send(frames.OUT, b"x" * (100 * KIB))
        ear.outbox.flush()
    assert ear.reason == "its host does not read: too much waits"
    far.sock.close()


async def test_a_large_message_that_was_read_makes_no_room_for_later_ones(
    ear: Ear, far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HOST_QUEUE_BYTES", MIB)
    ear.send(frames.OUT, b"x" * (limits.HOST_SLOW_BYTES + 4 * MIB))
    ear.outbox.flush()
    loop = asyncio.get_running_loop()
    left = limits.HOST_SLOW_BYTES + 4 * MIB + frames.HEADER_BYTES
    while left:
        left -= len(await asyncio.wait_for(loop.sock_recv(far.sock, left), PATIENCE))
    for _ in range(5):  # until the transport has noticed
        await asyncio.sleep(0)
    for _ in range(40):
        ear.send(frames.OUT, b"x" * (100 * KIB))
        ear.outbox.flush()
    assert ear.ended
