from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.core import ids as module
from mux.core.ids import Ids
from mux.core.scan import Malformed
from mux.limits import CANCELLED_SECONDS, ID_BYTES, TOMBSTONE_SECONDS
from tests.core.sessions import call, session

WITH_TOKEN = b'{"_meta":{"progressToken":"t"}}'


@given(st.lists(st.sampled_from(["send", "settle", "cancel", "allocate", "wait"]), max_size=60))
def test_no_id_is_used_twice_in_a_generation(steps: list[str]) -> None:
    ids, owner, now = Ids(1 << 20), session(), 0.0
    seen: set[bytes] = set()
    live: list[bytes] = []
    for step in steps:
        if step == "send":
            request = call(owner, params=WITH_TOKEN)
            line = json.loads(ids.send(request))
            assert line["id"] == line["params"]["_meta"]["progressToken"] == int(request.uid)
            assert request.uid not in seen
            seen.add(request.uid)
            live.append(request.uid)
        elif step == "allocate":
            uid = ids.allocate()
            assert uid not in seen
            seen.add(uid)
        elif step == "wait":
            now += TOMBSTONE_SECONDS / 2
        elif live and step == "settle":
            assert ids.settle(live.pop(0), now) is not None
        elif live and step == "cancel":
            ids.cancelled(ids.flying[live.pop()], now)
    assert set(live) <= set(ids.flying)


def test_a_generation_begins_with_ids_of_its_own_and_forgets_the_last() -> None:
    ids, owner = Ids(100), session()
    first, second, done = (call(owner, b"%d" % n, params=WITH_TOKEN) for n in range(3))
    for request in (first, second, done):
        ids.send(request)
    ids.cancelled(second, 0.0)
    ids.settle(done.uid, 0.0)
    old = done.uid
    assert ids.restart(500) == [first, second]
    assert not ids.flying
    assert ids.progress(old, 0.0) is None
    assert ids.allocate() == b"500"


def test_a_request_that_is_not_safe_can_not_be_sent_twice() -> None:
    ids, owner = Ids(1), session()
    effect, safe = call(owner, method=b"tools/call"), call(owner, method=b"tools/list")
    ids.send(effect)
    ids.send(safe)
    assert effect.request is None
    assert safe.request is not None
    with pytest.raises(AssertionError):
        ids.send(effect)
    assert json.loads(ids.send(safe))["id"] == 3


@pytest.mark.parametrize("token", [b"7", b'"7"', b'"a\\"b"', b"0", b'""', b"1.5"])
def test_a_token_comes_back_as_the_session_wrote_it(token: bytes) -> None:
    ids, owner = Ids(9), session()
    request = call(owner, params=b'{"_meta":{"progressToken":%b}}' % token)
    ids.send(request)
    assert ids.progress(b"9", 0.0) == (owner, token)
    assert ids.progress(b"7", 0.0) is None


@pytest.mark.parametrize("token", [b"null", b"{}", b"[1]", b"true"])
def test_what_can_be_no_token_passes_as_it_is(token: bytes) -> None:
    ids = Ids(9)
    request = call(session(), params=b'{"_meta":{"progressToken":%b}}' % token)
    line = ids.send(request)
    assert b'"progressToken":%b}' % token in line
    assert ids.progress(b"9", 0.0) is None


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        (b'{"_meta":{"progressToken":1,"progressToken":2}}', "stands twice"),
        (b'{"_meta":{"progressToken":"' + b"x" * ID_BYTES + b'"}}', "more than"),
    ],
)
def test_an_ambiguous_or_huge_token_takes_no_id(params: bytes, reason: str) -> None:
    ids = Ids(9)
    with pytest.raises(Malformed, match=reason):
        ids.send(call(session(), params=params))
    assert not ids.flying
    assert ids.allocate() == b"9"


def test_equal_tokens_of_two_sessions_do_not_cross() -> None:
    ids, one, two = Ids(1), session(1), session(2)
    ids.send(call(one, params=b'{"_meta":{"progressToken":0}}'))
    ids.send(call(two, params=b'{"_meta":{"progressToken":0}}'))
    assert ids.progress(b"1", 0.0) == (one, b"0")
    assert ids.progress(b"2", 0.0) == (two, b"0")


def test_a_token_is_known_for_a_while_after_the_answer() -> None:
    ids, owner = Ids(1), session()
    ids.send(call(owner, params=WITH_TOKEN))
    ids.settle(b"1", 10.0)
    assert ids.progress(b"1", 10.0 + TOMBSTONE_SECONDS - 0.1) == (owner, b'"t"')
    assert ids.progress(b"1", 10.0 + TOMBSTONE_SECONDS) is None
    ids.settle(b"77", 10.0 + TOMBSTONE_SECONDS)
    assert not ids._finished
    assert not ids._order


def test_a_cancelled_request_has_no_progress_and_leaves_when_answered() -> None:
    ids, owner = Ids(1), session()
    request = call(owner, params=WITH_TOKEN, method=b"tools/list")
    ids.send(request)
    ids.cancelled(request, 0.0)
    assert request.request is None
    assert ids.flying == {b"1": request}
    assert ids.progress(b"1", 0.0) is None
    assert ids.settle(b"1", 1.0) is request
    assert not ids.flying
    assert ids.progress(b"1", 1.0) is None
    assert ids.settle(b"1", 1.0) is None


def test_a_cancelled_request_that_is_never_answered_expires_with_any_later_answer() -> None:
    ids, owner = Ids(1), session()
    lost = call(owner)
    ids.send(lost)
    ids.cancelled(lost, 0.0)
    ids.settle(b"unknown", CANCELLED_SECONDS - 0.1)
    assert lost.uid in ids.flying
    assert ids.expiry == CANCELLED_SECONDS
    assert list(ids.at_work(CANCELLED_SECONDS - 0.1)) == [lost]
    ids.settle(b"unknown", CANCELLED_SECONDS)
    assert not ids.flying


def test_a_flood_leaves_a_bounded_number_of_tombstones_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOMBSTONES", 3)
    ids, owner = Ids(0), session()
    for number in range(10):
        ids.send(call(owner, params=WITH_TOKEN))
        ids.settle(b"%d" % number, 0.0)
    assert [number for number in range(10) if ids.progress(b"%d" % number, 0.0)] == [7, 8, 9]
    for _ in range(10):
        request = call(owner)
        ids.send(request)
        ids.cancelled(request, 0.0)
    assert list(ids.flying) == [b"17", b"18", b"19"]


def test_a_session_that_is_gone_gets_no_late_progress() -> None:
    ids, one, two = Ids(1), session(1), session(2)
    for owner, uid in ((one, b"1"), (two, b"2")):
        ids.send(call(owner, params=WITH_TOKEN))
        ids.settle(uid, 0.0)
    ids.leave(one)
    assert ids.progress(b"1", 0.0) is None
    assert ids.progress(b"2", 0.0) == (two, b'"t"')
    ids.settle(b"none", TOMBSTONE_SECONDS)
    assert not ids._finished
