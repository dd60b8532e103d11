from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.core.session import TRANSITIONS, Call, State
from tests.core.sessions import call, session

S = State
ALLOWED = {
    (S.OPEN, S.PINNED),
    (S.OPEN, S.ENDING),
    (S.OPEN, S.GONE),
    (S.PINNED, S.ENDING),
    (S.PINNED, S.GONE),
    (S.ENDING, S.GONE),
}


@pytest.mark.parametrize(("before", "after"), list(product(State, State)), ids=lambda state: state.value)
def test_only_the_ways_in_the_table_are_open(before: State, after: State) -> None:
    one = session()
    one.state = before
    if (before, after) in ALLOWED:
        one.enter(after)
        assert one.state is after
        assert one.alive == (after is not S.GONE)
    else:
        with pytest.raises(RuntimeError, match=f"no way from {before.value} to {after.value}"):
            one.enter(after)
        assert one.state is before


def test_every_state_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(State)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.integers(0, 20)), max_size=40))
def test_equal_ids_stay_apart_and_the_newest_is_found_first(steps: list[tuple[bool, int, int]]) -> None:
    one = session()
    model: list[Call] = []
    for register, id_, which in steps:
        if register:
            new = call(one, b"%d" % id_)
            one.register(new)
            model.append(new)
        elif model:
            one.forget(model.pop(which % len(model)))
        newest = {request.key: request for request in model}
        assert one.calls == newest
        assert {id(request) for request in one.open_calls()} == {id(request) for request in model}
        for key in newest:
            same = [request for request in one.open_calls() if request.key == key]
            assert same == [request for request in reversed(model) if request.key == key]


def test_what_is_not_open_can_be_forgotten() -> None:
    one = session()
    known, stranger, forgotten = call(one, b"1"), call(one, b"1"), call(one, b"2")
    one.register(known)
    one.forget(stranger)
    one.forget(forgotten)
    assert one.open_calls() == [known]


def test_a_session_begins_with_what_its_hello_said() -> None:
    one = session(7)
    assert (one.id, one.base_key, one.grace, one.state, one.router) == (7, b"key", 30.0, S.OPEN, None)
    assert one.client == ("", "")
