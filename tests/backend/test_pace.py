"""Who floods is held to a rate while somebody else who does not is at work, and nobody else ever is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux import limits
from mux.backend.pace import Pace, Speaker
from mux.limits import (
    FLOOD_RATE,
    LINE_BYTES,
    MODEST_RATE,
    MODEST_SECONDS,
    PACED_RATE,
    PACED_SECONDS,
    RATE_SECONDS,
    SESSION_IN_FLIGHT,
    SESSION_TURN_LINES,
)
from mux.wire.frames import LINE

if TYPE_CHECKING:
    from mux.wire.frames import Frame

TURN = SESSION_TURN_LINES
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

    def flood(self, who: Speaker, seconds: float) -> int:
        """It speaks whenever it may. Returns how many lines were taken."""
        taken = 0
        end = self.now + seconds
        while self.now < end:
            taken += TURN
            self.now += who.pause(lines(TURN)) or FAST
        return taken


@pytest.fixture
def world() -> World:
    return World()


def test_who_is_alone_is_never_held_up(world: World) -> None:
    assert world.flood(world.speaker(), 1.0) >= 2 * FLOOD_RATE


def test_a_flood_is_held_to_its_rate_while_another_session_makes_a_call_now_and_then(world: World) -> None:
    loud, quiet = world.speaker(), world.speaker()
    world.flood(loud, 0.1)
    for _ in range(20):
        assert quiet.pause(lines(1)) == 0.0
        assert world.flood(loud, 0.1) <= 0.1 * PACED_RATE + TURN


def test_a_pause_is_one_even_if_it_ends_late(world: World) -> None:
    loud, quiet = world.speaker(), world.speaker()
    world.flood(loud, 0.1)
    for _ in range(1000):
        quiet.pause(lines(1))
        assert loud.pause(lines(TURN)) == TURN / PACED_RATE
        world.now += TURN / PACED_RATE + 0.002


def test_it_is_as_fast_as_before_soon_after_the_other_has_said_its_last_word(world: World) -> None:
    loud, quiet = world.speaker(), world.speaker()
    world.flood(loud, 0.1)
    quiet.pause(lines(1))
    world.flood(loud, MODEST_SECONDS / 2)
    assert loud.pause(lines(TURN)) > 0.0
    world.flood(loud, MODEST_SECONDS)
    assert loud.pause(lines(TURN)) == 0.0


def test_a_session_that_is_gone_holds_nobody_up(world: World) -> None:
    loud, quiet = world.speaker(), world.speaker()
    world.flood(loud, 0.1)
    quiet.pause(lines(1))
    quiet.leave()
    quiet.leave()
    assert loud.pause(lines(TURN)) == 0.0


def test_a_session_that_begins_to_flood_holds_nobody_up_any_more(world: World) -> None:
    loud, other = world.speaker(), world.speaker()
    world.flood(loud, 0.1)
    other.pause(lines(1))
    assert loud.pause(lines(TURN)) > 0.0
    world.flood(other, 0.1)
    assert other.pause(lines(TURN)) == loud.pause(lines(TURN)) == 0.0


def test_who_has_stopped_flooding_is_modest_again(world: World) -> None:
    loud, quiet = world.speaker(), world.speaker()
    world.flood(loud, 0.1)
    quiet.pause(lines(1))
    assert loud.pause(lines(TURN)) > 0.0
    world.now += 0.2
    assert loud.pause(lines(TURN)) == 0.0
    world.flood(quiet, 0.1)
    assert quiet.pause(lines(TURN)) > 0.0, "now the other one is modest"


def test_sessions_that_share_what_there_is_hold_up_none_of_them(world: World) -> None:
    """As many as they are: their rates differ by less than that of a flood and of a modest one."""
    for count in (2, 8, 32):
        crowd = [world.speaker() for _ in range(count)]
        for _ in range(500):
            for who in crowd:
                world.now += TURN / 60_000
                assert who.pause(lines(TURN)) == 0.0
        for who in crowd:
            who.leave()


def test_as_many_at_once_as_may_be_in_flight_are_no_flood(world: World) -> None:
    both = world.speaker(), world.speaker()
    for _ in range(100):
        world.now += SESSION_IN_FLIGHT / MODEST_RATE
        for who in both:
            assert [who.pause(lines(TURN)) for _ in range(SESSION_IN_FLIGHT // TURN)] == [0.0] * (
                SESSION_IN_FLIGHT // TURN
            )


@pytest.mark.parametrize(("count", "floods"), [(149, False), (150, False), (151, True)])
def test_from_where_on_it_is_a_flood_can_be_chosen(
    world: World, monkeypatch: pytest.MonkeyPatch, count: int, floods: bool
) -> None:
    monkeypatch.setattr(limits, "FLOOD_RATE", 150 / RATE_SECONDS)
    loud, quiet = world.speaker(), world.speaker()
    quiet.pause(lines(1))
    assert (loud.pause(lines(count)) > 0.0) is floods


def test_a_large_line_counts_as_many(world: World) -> None:
    loud, quiet = world.speaker(), world.speaker()
    world.flood(loud, 0.1)
    quiet.pause(lines(1))
    assert loud.pause(lines(2, 3 * LINE_BYTES)) == 2 * 4 / PACED_RATE
    assert loud.pause(lines(1, LINE_BYTES - 1)) == 1 / PACED_RATE
    assert loud.pause(lines(1, 100 << 20)) == PACED_SECONDS


def test_one_line_after_a_silence_is_no_flood_however_long_and_the_next_one_at_once_is(world: World) -> None:
    talker, quiet = world.speaker(), world.speaker()
    for _ in range(3):
        quiet.pause(lines(1))
        assert talker.pause(lines(1, 64 << 20)) == 0.0
        world.now += 0.05
        assert talker.pause(lines(1, 3 << 20)) > 0.0
        world.now += 1.0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, TURN), st.floats(0.0, 0.001)), max_size=400))
def test_whoever_speaks_however_often_nobody_waits_longer_than_its_lines_take_and_a_sole_one_never(
    words: list[tuple[int, int, float]],
) -> None:
    world = World()
    crowd = [world.speaker() for _ in range(4)]
    spoken: set[int] = set()
    for who, count, then in words:
        spoken.add(who)
        pause = crowd[who].pause(lines(count))
        assert pause in (0.0, count / PACED_RATE)
        if len(spoken) == 1:
            assert pause == 0.0
        world.now += then
