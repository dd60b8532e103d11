from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.core.envelope import Request
from mux.core.session import TRANSITIONS, Call, State
from tests.core.sessions import call, request, session

S = State


def asked(id_: bytes) -> Request:
    return request(b'{"jsonrpc":"2.0","id":%b,"method":"tools/call"}' % id_)


ALLOWED = {
    (S.OPEN, S.PINNED),
    (S.OPEN, S.ENDING),
    (S.OPEN, S.GONE),
    (S.PINNED, S.ENDING),
    (S.PINNED, S.GONE),
    (S.ENDING, S.DISMISSED),
    (S.ENDING, S.GONE),
    (S.DISMISSED, S.GONE),
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
            model.append(one.accept(1, asked(b"%d" % id_)))
        elif model:
            one.forget(model.pop(which % len(model)))
        newest = {entry.key: entry for entry in model}
        assert one.calls == newest
        assert one.open == len(model)
        assert {id(entry) for entry in one.open_calls()} == {id(entry) for entry in model}
        for key in newest:
            same = [entry for entry in one.open_calls() if entry.key == key]
            assert same == [entry for entry in reversed(model) if entry.key == key]


def test_what_is_not_open_can_be_forgotten() -> None:
    one = session()
    known, stranger, forgotten = one.accept(1, asked(b"1")), call(one, b"1"), call(one, b"2")
    one.forget(stranger)
    one.forget(forgotten)
    assert one.open_calls() == [known]
    assert one.open == 1


def test_a_session_begins_with_what_its_hello_said() -> None:
    one = session(7)
    assert (one.id, one.base_key, one.grace, one.state, one.router) == (7, b"key", 30.0, S.OPEN, None)
    assert one.client == ("", "")
