from __future__ import annotations

from itertools import product

import pytest

from mux import limits
from mux.core.upstream import RUNNING, TRANSITIONS, State, Upstream

S = State
ALLOWED = {
    (S.STOPPED, S.STARTING),
    (S.STARTING, S.OPENING),
    (S.STARTING, S.STOPPING),
    (S.STARTING, S.BACKOFF),
    (S.STARTING, S.FAILED),
    (S.OPENING, S.READY),
    (S.OPENING, S.STOPPING),
    (S.OPENING, S.BACKOFF),
    (S.OPENING, S.FAILED),
    (S.READY, S.DRAINING),
    (S.DRAINING, S.STOPPING),
    (S.DRAINING, S.BACKOFF),
    (S.DRAINING, S.FAILED),
    (S.READY, S.STOPPING),
    (S.READY, S.BACKOFF),
    (S.READY, S.FAILED),
    (S.STOPPING, S.STOPPED),
    (S.BACKOFF, S.STOPPED),
    (S.FAILED, S.STOPPED),
}


def in_state(state: State) -> Upstream:
    upstream = Upstream()
    upstream.state = state
    return upstream


def running() -> Upstream:
    upstream = Upstream()
    upstream.start(1, 0.0)
    return upstream


@pytest.mark.parametrize(("before", "after"), list(product(State, State)), ids=lambda state: state.value)
def test_only_the_ways_in_the_table_are_open(before: State, after: State) -> None:
    upstream = in_state(before)
    if (before, after) in ALLOWED:
        upstream.enter(after, 5.0)
        assert (upstream.state, upstream.since) == (after, 5.0)
    else:
        with pytest.raises(RuntimeError, match=f"no way from {before.value} to {after.value}"):
            upstream.enter(after, 5.0)
        assert upstream.state is before


def test_every_state_is_reached_and_left() -> None:
    assert set(TRANSITIONS) == set(State)
    assert set().union(*TRANSITIONS.values()) == set(State)
    assert all(TRANSITIONS.values())


@pytest.mark.parametrize("state", State, ids=lambda state: state.value)
def test_it_runs_while_there_is_a_process_that_is_not_on_its_way_out(state: State) -> None:
    assert in_state(state).running == (state in RUNNING) == (state in {S.STARTING, S.OPENING, S.READY, S.DRAINING})
    assert in_state(state).open == (state in {S.READY, S.DRAINING})


def test_each_start_is_a_generation() -> None:
    upstream = Upstream()
    for generation in (1, 2):
        upstream.start(10 * generation, 0.0)
        upstream.pid = 99
        assert (upstream.generation, upstream.process) == (generation, 10 * generation)
        upstream.enter(S.STOPPING, 1.0)
        upstream.stopped(2.0)
        assert upstream.state is S.STOPPED
        assert upstream.process == 0
    upstream.start(30, 3.0)
    assert upstream.pid == 0


def test_the_pause_doubles_and_the_last_failure_in_the_window_opens_the_breaker() -> None:
    upstream, now = Upstream(), 100.0
    for number in range(limits.BREAKER_FAILURES):
        upstream.start(number + 1, now)
        upstream.fail(f"reason {number}", now)
        assert upstream.last_error == f"reason {number}"
        assert upstream.process == 0
        if number < limits.BREAKER_FAILURES - 1:
            assert upstream.state is S.BACKOFF
            assert upstream.due == now + limits.RESTART_FIRST_SECONDS * 2**number
        now = upstream.due
        upstream.stopped(now) if upstream.state is S.BACKOFF else None
    assert upstream.state is S.FAILED
    assert upstream.due == upstream.since + limits.BREAKER_COOL_OFF_SECONDS


def test_a_failure_after_the_cool_off_opens_the_breaker_again_while_the_window_lasts() -> None:
    upstream, now = Upstream(), 0.0
    for number in range(limits.BREAKER_FAILURES):
        upstream.start(number + 1, now)
        upstream.fail("", now)
        upstream.stopped(upstream.due)
        now = upstream.due
    upstream.start(9, now)
    upstream.fail("", limits.BREAKER_WINDOW_SECONDS - 1)
    assert upstream.state is S.FAILED


def test_failures_that_are_too_old_do_not_count() -> None:
    upstream = Upstream()
    for number in range(3 * limits.BREAKER_FAILURES):
        now = number * limits.BREAKER_WINDOW_SECONDS
        upstream.start(number + 1, now)
        upstream.fail("", now)
        assert upstream.state is S.BACKOFF
        assert upstream.due == now + limits.RESTART_FIRST_SECONDS
        upstream.stopped(upstream.due)
    assert len(upstream.failures) <= limits.BREAKER_FAILURES
