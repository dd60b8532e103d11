"""Who floods is held to a rate while somebody else who does not is at work, and nobody else ever is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux import limits
from mux.backend.pace import Pace, Speaker
from mux.limits import (
    FEW_REQUESTS,
    FLOOD_RATE,
    LINE_BYTES,
    MODEST_SECONDS,
    PACED_RATE,
    PACED_SECONDS,
    RATE_SECONDS,
    SESSION_IN_FLIGHT,
    SESSION_TURN_LINES,
)
from mux.wire import frames
from mux.wire.frames import LINE

if TYPE_CHECKING:
    from mux.wire.frames import Frame

TURN = SESSION_TURN_LINES
MANY = SESSION_IN_FLIGHT - TURN
"""Open requests of a flood."""
FAST = TURN / (2 * FLOOD_RATE)
"""Seconds that a turn of a flood takes that nobody holds up."""


def lines(count: int, size: int = 100) -> list[Frame]:
    return [(LINE, 0, number, b"x" * size) for number in range(count)]


class World:
    """Sessions and their clock, seconds."""

    def __init__(self) -> None:
        self.now = 1.0
        self.pace = Pace(lambda: self.now)

    def speaker(self) -> Speaker:
        return self.pace.join()

    def modest(self) -> Speaker:
        """One that has just made a call."""
        who = self.speaker()
        assert who.pause(lines(1), 0) == 0.0
        return who

    def loud(self) -> Speaker:
        """One that floods."""
        who = self.speaker()
        self.flood(who, 0.1)
        return who

    def flood(self, who: Speaker, seconds: float) -> int:
        """It speaks whenever it may. Returns how many lines were taken."""
        taken = 0
        end = self.now + seconds
        while self.now < end:
            taken += TURN
            self.now += who.pause(lines(TURN), MANY) or FAST
        return taken


@pytest.fixture
def world() -> World:
    return World()


def test_who_is_alone_is_never_held_up(world: World) -> None:
    assert world.flood(world.speaker(), 1.0) >= 2 * FLOOD_RATE


def test_a_flood_is_held_to_its_rate_while_another_session_makes_a_call_now_and_then(world: World) -> None:
    loud, quiet = world.loud(), world.modest()
    for _ in range(20):
        assert quiet.pause(lines(1), 0) == 0.0
        assert world.flood(loud, 0.1) <= 0.1 * PACED_RATE + TURN


def test_a_pause_is_one_even_if_it_ends_late(world: World) -> None:
    loud, quiet = world.loud(), world.modest()
    for _ in range(1000):
        quiet.pause(lines(1), 0)
        assert loud.pause(lines(TURN), MANY) == TURN / PACED_RATE
        world.now += TURN / PACED_RATE + 0.002


def test_it_is_as_fast_as_before_soon_after_the_other_has_said_its_last_word(world: World) -> None:
    loud, _ = world.loud(), world.modest()
    world.flood(loud, MODEST_SECONDS / 2)
    assert loud.pause(lines(TURN), MANY) > 0.0
    world.flood(loud, MODEST_SECONDS)
    assert loud.pause(lines(TURN), MANY) == 0.0


def test_a_session_that_is_gone_holds_nobody_up(world: World) -> None:
    loud, quiet = world.loud(), world.modest()
    quiet.leave()
    quiet.leave()
    assert loud.pause(lines(TURN), MANY) == 0.0


def test_a_session_that_begins_to_flood_holds_nobody_up_any_more(world: World) -> None:
    loud, other = world.loud(), world.modest()
    assert loud.pause(lines(TURN), MANY) > 0.0
    world.flood(other, 0.1)
    assert other.pause(lines(TURN), MANY) == loud.pause(lines(TURN), MANY) == 0.0


def test_who_has_stopped_flooding_is_modest_again(world: World) -> None:
    loud, quiet = world.loud(), world.modest()
    assert loud.pause(lines(TURN), MANY) > 0.0
    world.now += 0.2
    assert loud.pause(lines(1), 0) == 0.0
    world.flood(quiet, 0.1)
    assert quiet.pause(lines(TURN), MANY) > 0.0, "now the other one is modest"


def test_many_slow_calls_at_once_are_no_flood(world: World) -> None:
    slow = world.speaker()
    for _ in range(100):
        world.modest()
        for _ in range(SESSION_IN_FLIGHT // TURN):
            assert slow.pause(lines(TURN), MANY) == 0.0
        world.now += 2 * SESSION_IN_FLIGHT / FLOOD_RATE


@pytest.mark.parametrize("size", [100, 3 << 20, 64 << 20])
def test_who_makes_one_call_after_the_other_is_no_flood_however_large_they_are_and_how_fast(
    world: World, size: int
) -> None:
    other, caller = world.modest(), world.speaker()
    line = lines(1, size)
    for _ in range(100):
        other.pause(lines(1), 0)
        assert caller.pause(line, 0) == 0.0
        world.now += 0.0001
    other.leave()
    world.flood(other, 0.1)
    assert other.pause(lines(TURN), MANY) > 0.0, "the caller is at work"


@pytest.mark.parametrize(("unanswered", "floods"), [(FEW_REQUESTS - 1, False), (FEW_REQUESTS, True)])
def test_a_flood_has_many_requests_open(world: World, unanswered: int, floods: bool) -> None:
    loud, _ = world.loud(), world.modest()
    assert (loud.pause(lines(1), unanswered) > 0.0) is floods


@pytest.mark.parametrize(("count", "modest"), [(FEW_REQUESTS, True), (FEW_REQUESTS + 1, False)])
def test_who_has_several_open_is_neither(world: World, count: int, modest: bool) -> None:
    loud, other = world.loud(), world.speaker()
    assert other.pause(lines(count), 0) == 0.0
    assert (loud.pause(lines(TURN), MANY) > 0.0) is modest


def test_what_a_shim_says_by_itself_counts_for_nothing(world: World) -> None:
    loud, other = world.loud(), world.speaker()
    kinds = (frames.READY, frames.PARKED, frames.AWAKE, frames.EOF, frames.REPLAY)
    for kind in kinds:
        assert other.pause([(kind, 0, 1, b"")], 0) == 0.0
    assert loud.pause(lines(TURN), MANY) == 0.0, "nobody is at work"
    world.modest()
    replayed = [(frames.REPLAY, 0, seq, b"x" * LINE_BYTES) for seq in range(TURN)]
    assert [other.pause(replayed, MANY) for _ in range(256)] == [0.0] * 256
    assert other.pause(lines(TURN), MANY) == 0.0


def test_sessions_that_share_what_there_is_hold_up_none_of_them(world: World) -> None:
    for count in (2, 8, 32):
        crowd = [world.speaker() for _ in range(count)]
        for _ in range(500):
            for who in crowd:
                world.now += TURN / 60_000
                assert who.pause(lines(TURN), MANY) == 0.0
        for who in crowd:
            who.leave()


@pytest.mark.parametrize(("count", "floods"), [(149, False), (150, False), (151, True)])
def test_from_where_on_it_is_a_flood_can_be_chosen(
    world: World, monkeypatch: pytest.MonkeyPatch, count: int, floods: bool
) -> None:
    monkeypatch.setattr(limits, "FLOOD_RATE", 150 / RATE_SECONDS)
    other, _ = world.speaker(), world.modest()
    assert (other.pause(lines(count), 0) > 0.0) is floods


def test_a_large_line_counts_as_many(world: World) -> None:
    loud, _ = world.loud(), world.modest()
    assert loud.pause(lines(2, 3 * LINE_BYTES), MANY) == 2 * 4 / PACED_RATE
    assert loud.pause(lines(1, LINE_BYTES - 1), MANY) == 1 / PACED_RATE
    assert loud.pause(lines(1, 100 << 20), MANY) == PACED_SECONDS


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, TURN), st.integers(0, SESSION_IN_FLIGHT), st.floats(0.0, 0.001)),
        max_size=400,
    )
)
def test_whoever_speaks_however_often_nobody_waits_longer_than_its_lines_take_and_a_sole_one_never(
    words: list[tuple[int, int, int, float]],
) -> None:
    world = World()
    crowd = [world.speaker() for _ in range(4)]
    spoken: set[int] = set()
    for who, count, unanswered, then in words:
        spoken.add(who)
        pause = crowd[who].pause(lines(count), unanswered)
        assert pause in (0.0, count / PACED_RATE)
        if len(spoken) == 1 or count + unanswered <= FEW_REQUESTS:
            assert pause == 0.0
        world.now += then
