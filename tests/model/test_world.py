"""The core in a random world, against a short reference. The invariants are told in `base`."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mux import limits
from mux.core.actions import Forward
from tests.core.layouts import FRAGMENTS
from tests.core.playbook import A, B, U, call, host, legacy, result, server, to, up
from tests.model.empty import leftovers
from tests.model.world import World


def live(choose: Random, steps: int) -> World:
    world = World(choose)
    for _ in range(steps):
        world.step()
    world.finish()
    assert not leftovers(world.pool)
    return world


@pytest.mark.parametrize("seed", range(60))
def test_each_request_is_answered_once_and_to_its_session_and_nothing_is_left(seed: int) -> None:
    live(Random(seed), 400)


@pytest.mark.parametrize("seed", range(30))
def test_the_same_where_most_requests_have_to_wait(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SESSION_IN_FLIGHT": 2, "UPSTREAM_IN_FLIGHT": 3, "SESSION_WAITING": 6, "KEPT_LINES": 3}.items():
        monkeypatch.setattr(limits, name, value)
    live(Random(seed), 400)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(st.randoms(use_true_random=False), st.integers(5, 60))
def test_the_same_in_short_lives_that_can_be_shrunk(choose: Random, steps: int) -> None:
    live(choose, steps)


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join)))
def test_any_bytes_give_at_most_an_error_for_their_sender(line: bytes) -> None:
    play = legacy(A, B)
    for number, session in enumerate((A, B), 1):
        play(host(session, 3, call(7)), up(call(U + number)))
    for action in play.run(host(A, 4, line.replace(b"\n", b""))):
        assert isinstance(action, Forward) or getattr(action, "session", A) == A
    play(server(result(U + 2)), to(B, 3, result(7)))
