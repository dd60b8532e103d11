from __future__ import annotations

from itertools import product

import pytest

from mux.core.envelope import read_host
from mux.core.methods import REPEATABLE, SAFE
from mux.core.replay import Fate, fate

REBUILT = REPEATABLE - SAFE

EFFECTS = ["tools/call", "prompts/get", "tasks/cancel", "tasks/result", "vendor/unknown"]
EVERY_WAY = list(product([False, True], [False, True]))


def request(method: str) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"method":"%b"}' % method.encode()


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("method", EFFECTS)
def test_a_request_whose_effect_is_unknown_is_never_executed_again(method: str, *, repeated: bool) -> None:
    assert fate(read_host(request(method)), answered=False, repeated=repeated) is Fate.UNKNOWN


@pytest.mark.parametrize("method", sorted(SAFE))
def test_a_safe_request_is_repeated_once_and_no_more(method: str) -> None:
    assert fate(read_host(request(method)), answered=False, repeated=False) is Fate.SERVE
    assert fate(read_host(request(method)), answered=False, repeated=True) is Fate.UNKNOWN


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("method", sorted(REBUILT))
def test_a_request_that_sets_state_is_served_until_it_has_its_answer(method: str, *, repeated: bool) -> None:
    assert fate(read_host(request(method)), answered=False, repeated=repeated) is Fate.SERVE


@pytest.mark.parametrize("repeated", [False, True])
def test_an_answered_request_is_only_rebuilt(*, repeated: bool) -> None:
    for method in [*REBUILT, *SAFE, *EFFECTS]:
        assert fate(read_host(request(method)), answered=True, repeated=repeated) is Fate.REBUILD


@pytest.mark.parametrize(("answered", "repeated"), EVERY_WAY)
def test_only_what_every_session_says_once_is_notified_again(*, answered: bool, repeated: bool) -> None:
    for method, expected in {
        "notifications/initialized": Fate.REBUILD,
        "notifications/roots/list_changed": Fate.REBUILD,
        "notifications/cancelled": Fate.FORGET,
        "notifications/progress": Fate.FORGET,
        "vendor/unknown": Fate.FORGET,
    }.items():
        line = b'{"jsonrpc":"2.0","method":"%b"}' % method.encode()
        assert fate(read_host(line), answered=answered, repeated=repeated) is expected


@pytest.mark.parametrize(("answered", "repeated"), EVERY_WAY)
def test_an_answer_to_a_question_of_a_dead_backend_is_forgotten(*, answered: bool, repeated: bool) -> None:
    line = b'{"jsonrpc":"2.0","id":1,"result":{}}'
    assert fate(read_host(line), answered=answered, repeated=repeated) is Fate.FORGET


@pytest.mark.parametrize(("answered", "repeated"), EVERY_WAY)
def test_what_is_no_message_is_refused_again(*, answered: bool, repeated: bool) -> None:
    assert fate(read_host(b"no json"), answered=answered, repeated=repeated) is Fate.SERVE
