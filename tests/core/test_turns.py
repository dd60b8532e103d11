"""One session's calls at a time, once a server has asked nobody in particular. PROTOCOL: "Legacy, server → client"."""

from __future__ import annotations

import pytest

from mux import errors, limits
from mux.core.methods import MAY_ASK
from tests.core.playbook import (
    GRACE,
    INITIALIZED,
    OTHER_KEY,
    SERVER,
    U2,
    A,
    B,
    C,
    Failed,
    Play,
    Q,
    Refused,
    U,
    ack,
    ask,
    call,
    cancel,
    closed,
    exited,
    gone,
    host,
    initialize,
    knows,
    launch,
    legacy,
    opened,
    result,
    server,
    started,
    stop,
    to,
    up,
    welcome,
)

ABLE = '{"sampling":{}}'
QUESTION = ask(0, "sampling/createMessage", "{}")


def asked() -> Play:
    """A, B and C share a server that has just asked A and B at once; A's call U + 1 and B's U + 2 are still there."""
    play = legacy(A, B, C, capabilities=ABLE)
    play(host(A, 3, call(1)), up(call(U + 1)))
    play(host(B, 3, call(1)), up(call(U + 2)))
    play(server(QUESTION), Refused(0, errors.INTERNAL_ERROR, "Several clients"))
    return play


def free() -> Play:
    """The same, and both have their answers."""
    play = asked()
    play(server(result(U + 1)), to(A, 3, result(1)))
    play(server(result(U + 2)), to(B, 3, result(1)))
    return play


def test_without_a_question_calls_go_up_side_by_side() -> None:
    play = legacy(A, B, capabilities=ABLE)
    play(host(A, 3, call(1)), up(call(U + 1)))
    play(host(B, 3, call(1)), up(call(U + 2)))
    assert not play.pool.snapshot().upstreams[0].turns


@pytest.mark.parametrize("method", sorted(MAY_ASK))
def test_calls_during_which_a_server_may_ask_take_turns_by_session(method: str) -> None:
    play = free()
    play(host(A, 4, ask(2, method)), up(ask(U + 3, method)))
    play(host(B, 4, ask(2, method)))
    play(host(A, 5, ask(3, "tools/list")), up(ask(U + 4, "tools/list")))
    play(server(result(U + 3)), to(A, 4, result(2)), up(ask(U + 5, method)))
    play(server(QUESTION), to(B, 0, ask(Q, "sampling/createMessage", "{}")))


def test_lists_and_other_requests_go_on_beside_them() -> None:
    play = free()
    play(host(A, 4, call(2)), up(call(U + 3)))
    for seq, method in enumerate(["tools/list", "x/y", "ping", "tasks/list"], 4):
        play(host(B, seq, ask(2, method)), up(ask(U + seq, method)))


def test_several_calls_of_one_session_go_up_together_when_it_is_their_turn() -> None:
    play = free()
    play(host(A, 4, call(2)), up(call(U + 3)))
    play(host(B, 4, call(2)))
    play(host(B, 5, call(3)))
    play(host(A, 5, call(3)))
    play(server(result(U + 3)), to(A, 4, result(2)), up(call(U + 4)), up(call(U + 5)))
    play(server(result(U + 4)), to(B, 4, result(2)))
    play(server(result(U + 5)), to(B, 5, result(3)), up(call(U + 6)))


def test_who_comes_later_does_not_overtake_who_waits() -> None:
    play = free()
    play(host(A, 4, call(2)), up(call(U + 3)))
    play(host(B, 4, call(2)))
    play(host(A, 5, call(3)))
    play(host(C, 3, call(1)))
    play(server(result(U + 3)), to(A, 4, result(2)), up(call(U + 4)))
    play(server(result(U + 4)), to(B, 4, result(2)), up(call(U + 5)))
    play(server(result(U + 5)), to(A, 5, result(3)), up(call(U + 6)))
    play(server(result(U + 6)), to(C, 3, result(1)))


def test_calls_wait_for_their_turn_no_longer_than_the_limit_and_each_for_itself() -> None:
    play = asked()
    play(host(C, 3, call(1)))
    play.wait(limits.TURN_SECONDS - 1)
    play(host(A, 4, call(2)))
    play.wait(1, up(call(U + 3)))
    play.wait(limits.TURN_SECONDS - 2)
    play.wait(1, up(call(U + 4)))


def test_a_question_that_is_ambiguous_again_is_refused_again() -> None:
    play = asked()
    play(host(C, 3, call(1)))
    play.wait(limits.TURN_SECONDS, up(call(U + 3)))
    play(server(QUESTION), Refused(0, errors.INTERNAL_ERROR))


def test_what_waits_is_shown() -> None:
    play = asked()
    play(host(C, 3, call(1)))
    (upstream,) = play.pool.snapshot().upstreams
    assert (upstream.turns, upstream.waiting, upstream.in_flight) == (True, 1, 2)


def test_a_waiting_call_can_be_cancelled_and_its_session_can_leave() -> None:
    play = asked()
    play(host(C, 3, call(1)))
    play(host(C, 4, cancel(1)), ack(C, 3), ack(C, 4))
    play(host(C, 5, call(2)))
    play(closed(C))
    play.wait(2 * limits.TURN_SECONDS)
    play(closed(B), up(gone(U + 2)))
    play(server(result(U + 1)), to(A, 3, result(1)))


def test_the_turn_passes_on_when_the_session_at_work_cancels_and_is_answered() -> None:
    play = free()
    play(host(A, 4, call(2)), up(call(U + 3)))
    play(host(B, 4, call(2)))
    play(host(A, 5, cancel(2)), up(cancel(U + 3)), ack(A, 4), ack(A, 5))
    play(server(result(U + 3)), up(call(U + 4)))


def test_a_cancelled_call_that_is_never_answered_has_the_turn_only_for_a_while() -> None:
    """Then the next one's questions are surely its own."""
    play = free()
    play(host(A, 4, call(2)), up(call(U + 3)))
    play(host(B, 4, call(2)))
    play(host(A, 5, cancel(2)), up(cancel(U + 3)), ack(A, 4), ack(A, 5))
    play.wait(limits.CANCELLED_SECONDS - 1)
    play.wait(1, up(call(U + 4)))
    play(server(QUESTION), to(B, 0, ask(Q, "sampling/createMessage", "{}")))


def test_calls_that_wait_for_the_next_generation_take_turns_there() -> None:
    play = free()
    play(host(A, 4, ask(2, "resources/read")), up(ask(U + 3, "resources/read")))
    play(exited())
    play(host(B, 4, call(2)))
    play(host(A, 5, call(3)))
    play.wait(1, launch(2, 2))
    play(started(2), up(initialize(U2, ABLE), 2))
    play(server(result(U2, SERVER), 2), up(INITIALIZED, 2), up(ask(U2 + 1, "resources/read"), 2))
    play(server(result(U2 + 1), 2), to(A, 4, result(2)), up(call(U2 + 2), 2))
    play(server(result(U2 + 2), 2), to(B, 4, result(2)), up(call(U2 + 3), 2))


def test_a_call_that_waits_for_a_place_is_ahead_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SESSION_IN_FLIGHT", 1)
    play = free()
    play(host(A, 4, ask(2, "tools/list")), up(ask(U + 3, "tools/list")))
    play(host(A, 5, call(3)))
    play(host(B, 4, call(2)))
    play(server(result(U + 3)), to(A, 4, result(2)), up(call(U + 4)))
    play(server(result(U + 4)), to(A, 5, result(3)), up(call(U + 5)))


def test_calls_fail_when_their_server_does_whoever_had_the_turn() -> None:
    play = asked()
    play(host(C, 3, call(1)))
    play.router.upstream.failures.extend([play.now] * limits.BREAKER_FAILURES)
    play(
        exited(),
        Failed(A, 3, 1, errors.OUTCOME_UNKNOWN),
        Failed(B, 3, 1, errors.OUTCOME_UNKNOWN),
        Failed(C, 3, 1, errors.UPSTREAM_UNAVAILABLE),
    )
    play(host(C, 4, call(2)), Failed(C, 4, 2, errors.UPSTREAM_UNAVAILABLE))


class TestRemembered:
    """A base key whose server asks: each new session gets an upstream of its own."""

    @pytest.mark.parametrize("client", ["host", "other"])
    def test_new_sessions_of_the_base_key_get_an_upstream_each(self, client: str) -> None:
        play = asked()
        play(opened(4), welcome(4))
        play(host(4, 1, initialize(0, ABLE, client)), launch(2, upstream=2))
        play(opened(5), welcome(5))
        play(host(5, 1, initialize(0, ABLE, client)), launch(3, upstream=3))
        play(opened(6, key=OTHER_KEY), welcome(6))
        play(host(6, 1, initialize(0, ABLE, client)), launch(4, upstream=4))
        play(opened(7, key=OTHER_KEY), welcome(7))
        play(host(7, 1, initialize(0, ABLE, client)))
        assert [one.apart != "" for one in play.pool.snapshot().upstreams] == [False, True, True, False]

    def test_it_is_remembered_when_the_upstream_is_gone(self) -> None:
        play = asked()
        for session in (A, B, C):
            play.run(closed(session))
        play.wait(GRACE, stop())
        play.run(exited(status=0))
        assert not play.pool.routers
        for number, session in enumerate((4, 5), 2):
            play(opened(session), welcome(session))
            play(host(session, 1, initialize(0, ABLE)), launch(number, upstream=number))

    def test_a_server_that_waits_for_its_grace_is_taken_over(self) -> None:
        play = asked()
        for session in (A, B, C):
            play.run(closed(session))
        play(opened(4), welcome(4))
        play(host(4, 1, initialize(0, ABLE)), knows(4), to(4, 1, result(0, SERVER)))
