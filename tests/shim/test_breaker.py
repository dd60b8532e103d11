"""How long a session leaves backends alone that die one after another."""

from __future__ import annotations

import struct

import pytest

from mux import limits
from mux.limits import (
    BACKEND_DEATHS_SECONDS,
    BACKOFF_CEILING_SECONDS,
    CRASH_LOOP_CEILING_SECONDS,
    CRASH_LOOP_FIRST_SECONDS,
    RECONNECT_CEILING_SECONDS,
)
from mux.shim.breaker import Breaker, jittered, longer


def test_the_first_death_is_met_at_once_and_a_crash_loop_with_growing_patience() -> None:
    breaker = Breaker()
    assert breaker.died(100.0) == 0.0
    assert 0.0 < breaker.died(101.0) < CRASH_LOOP_FIRST_SECONDS
    assert breaker.reason == ""
    waits = [breaker.died(102.0 + number) for number in range(8)]
    assert waits[:3] == [CRASH_LOOP_FIRST_SECONDS * 2**n for n in range(3)]
    assert waits[-1] == CRASH_LOOP_CEILING_SECONDS
    assert breaker.reason == "the backend was lost 10 times within a minute; it is tried again in 30 s"


def test_deaths_far_apart_are_no_crash_loop() -> None:
    breaker = Breaker()
    for number in range(10):
        assert breaker.died(number * BACKEND_DEATHS_SECONDS) == 0.0
        assert breaker.reason == ""
    assert limits.BACKEND_DEATHS == 3


def test_a_crash_loop_that_has_ended_gives_no_reason_any_more() -> None:
    breaker = Breaker()
    for _ in range(limits.BACKEND_DEATHS):
        breaker.died(0.0)
    assert breaker.reason
    assert breaker.died(BACKEND_DEATHS_SECONDS) == 0.0
    assert breaker.reason == ""


def test_thousands_of_deaths_wait_no_longer_than_the_ceiling() -> None:
    breaker = Breaker()
    waits = [breaker.died(1.0) for _ in range(2000)]
    assert max(waits) == waits[-1] == CRASH_LOOP_CEILING_SECONDS


def test_how_many_deaths_are_a_crash_loop_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BACKEND_DEATHS", 1)
    assert Breaker().died(0.0) == CRASH_LOOP_FIRST_SECONDS


def test_a_breaker_that_was_saved_goes_on_counting() -> None:
    before = Breaker()
    for at in (100.0, 101.5):
        before.died(at)
    breaker = Breaker.restored(before.saved())
    assert breaker.reason == ""
    assert breaker.died(102.0) == CRASH_LOOP_FIRST_SECONDS
    assert Breaker.restored(before.saved()).died(101.0 + BACKEND_DEATHS_SECONDS) < CRASH_LOOP_FIRST_SECONDS


def test_nothing_saved_is_a_new_breaker_and_half_a_death_is_none() -> None:
    assert Breaker().saved() == b""
    assert Breaker.restored(b"").died(0.0) == 0.0
    with pytest.raises(struct.error):
        Breaker.restored(b"1234567")


def test_pauses_double_from_their_first_to_their_ceiling() -> None:
    pauses = [longer(0.0)]
    while pauses[-1] < RECONNECT_CEILING_SECONDS:
        pauses.append(longer(pauses[-1]))
    assert pauses[:3] == [BACKOFF_CEILING_SECONDS * 2**n for n in range(3)]
    assert longer(pauses[-1]) == pauses[-1] == RECONNECT_CEILING_SECONDS


def test_a_jittered_pause_lies_between_half_and_the_whole_and_differs() -> None:
    found = {jittered(2.0) for _ in range(200)}
    assert all(1.0 <= pause <= 2.0 for pause in found)
    assert len(found) > 10
    assert jittered(0.0) == 0.0
