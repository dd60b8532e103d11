from __future__ import annotations

from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux import limits
from mux.core.quota import Quota
from mux.core.session import Call, Session
from tests.core.sessions import call, session


@pytest.mark.parametrize(
    ("taken", "admitted"), [(0, True), (limits.SESSION_IN_FLIGHT - 1, True), (limits.SESSION_IN_FLIGHT, False)]
)
def test_a_session_has_so_many_requests_at_the_server(taken: int, *, admitted: bool) -> None:
    quota, owner = Quota(), session()
    for _ in range(taken):
        quota.take(owner)
    assert quota.take(session(2))
    assert quota.take(owner) is admitted
    assert owner.in_flight == taken + admitted


@pytest.mark.parametrize("taken", [limits.SESSION_IN_FLIGHT - 1, limits.SESSION_IN_FLIGHT])
def test_the_next_that_waits_is_counted(taken: int) -> None:
    quota, owner = Quota(), session()
    for _ in range(taken):
        quota.take(owner)
    quota.wait(call(owner))
    assert (quota.next() is not None) is (taken < limits.SESSION_IN_FLIGHT)
    assert owner.in_flight == quota.in_flight == limits.SESSION_IN_FLIGHT


@pytest.mark.parametrize(
    ("taken", "admitted"), [(limits.UPSTREAM_IN_FLIGHT - 1, True), (limits.UPSTREAM_IN_FLIGHT, False)]
)
def test_all_sessions_together_have_so_many(taken: int, *, admitted: bool) -> None:
    quota = Quota()
    owners = [session(number) for number in range(taken // 32 + 1)]
    for number in range(taken):
        quota.take(owners[number // 32])
    late = session(999)
    quota.wait(call(late))
    assert (quota.next() is not None) is admitted
    assert not quota.take(session(1000)), "one more than there may be"
    quota.release(owners[0])
    assert quota.in_flight == limits.UPSTREAM_IN_FLIGHT - 1
    assert owners[0].in_flight == 31
    assert quota.take(session(1000))


def test_who_waits_is_not_overtaken_by_the_sessions_own_next_request() -> None:
    quota, owner = Quota(), session()
    quota.wait(call(owner))
    assert not quota.take(owner)
    assert owner.in_flight == quota.in_flight == 0


def test_first_goes_before_the_sessions_others() -> None:
    quota, owner = Quota(), session()
    one, two, again = call(owner), call(owner), call(owner)
    quota.wait(one)
    quota.wait(two)
    quota.wait(again, first=True)
    assert [quota.next(), quota.next(), quota.next(), quota.next()] == [again, one, two, None]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(1, 3), st.integers(1, 8))
def test_the_sessions_take_turns_and_each_keeps_its_order(counts: list[int], per_session: int, in_all: int) -> None:
    """Each round gives every session that waits one request, whatever the others have queued; answers come at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "SESSION_IN_FLIGHT", per_session)
        patch.setattr(limits, "UPSTREAM_IN_FLIGHT", in_all)
        quota = Quota()
        owners = [session(number) for number in range(len(counts))]
        queued = {owner.id: [call(owner) for _ in range(count)] for owner, count in zip(owners, counts, strict=True)}
        for owner in owners:
            for request in queued[owner.id]:
                quota.wait(request)
        sent: list[Call] = []
        flying: deque[Call] = deque()
        while quota.ring:
            while (ready := quota.next()) is not None:
                flying.append(ready)
                sent.append(ready)
                assert ready.session.in_flight <= per_session
                assert quota.in_flight <= in_all
            done = flying.popleft()
            quota.release(done.session)
        assert Counter(request.session.id for request in sent) == Counter(
            {number: count for number, count in enumerate(counts) if count}
        )
        for owner in owners:
            assert [request for request in sent if request.session is owner] == queued[owner.id]
        if per_session >= in_all:
            order = [number for rank in range(max(counts)) for number, count in enumerate(counts) if count > rank]
            assert [request.session.id for request in sent] == order


def test_a_session_at_its_limit_does_not_hold_the_others_up() -> None:
    quota, full, free = Quota(), session(1), session(2)
    for _ in range(limits.SESSION_IN_FLIGHT):
        quota.take(full)
    held, wanted = call(full), call(free)
    quota.wait(held)
    quota.wait(wanted)
    assert quota.next() is wanted
    assert quota.next() is None
    quota.release(full)
    assert quota.next() is held


def test_a_request_that_is_withdrawn_is_not_sent() -> None:
    quota, owner = Quota(), session()
    one, two = call(owner), call(owner)
    quota.wait(one)
    quota.wait(two)
    quota.withdraw(one)
    assert list(quota.ring) == [owner]
    quota.withdraw(two)
    assert not quota.ring
    assert quota.next() is None


def test_a_session_that_is_cleared_waits_for_nothing() -> None:
    quota = Quota()
    owners: list[Session] = [session(1), session(2)]
    calls = [call(owner) for owner in owners for _ in range(2)]
    for request in calls:
        quota.wait(request)
    assert quota.clear(owners[0]) == calls[:2]
    assert quota.clear(owners[0]) == []
    assert list(quota.ring) == [owners[1]]
