"""A server under its sessions: crash, back-off, breaker, grace, idleness, planned restart. DESIGN: upstream life."""

from __future__ import annotations

import pytest

from mux import errors, limits
from mux.core.events import Restart
from mux.core.methods import REPEATABLE, SAFE, SETS_STATE
from tests.core.playbook import (
    EXIT,
    GRACE,
    INITIALIZED,
    SERVER,
    U2,
    A,
    B,
    Failed,
    Play,
    U,
    ack,
    ask,
    call,
    cancel,
    closed,
    crash,
    discovered,
    exited,
    host,
    initialize,
    knows,
    launch,
    legacy,
    modern,
    note,
    opened,
    progress,
    result,
    sent,
    server,
    started,
    stop,
    to,
    unstartable,
    up,
    welcome,
)


def revive(play: Play, *after: object, process: int = 2, uid: int = U2) -> None:
    """The next generation comes up; `after` is what it hears once it has answered `initialize`."""
    play(started(process), up(initialize(uid), process))
    got = play.run(server(result(uid, SERVER), process))
    assert got == [up(INITIALIZED, process), *after]


class TestCrash:
    @pytest.mark.parametrize("method", sorted(SAFE))
    def test_a_safe_request_is_sent_to_the_next_generation_once(self, method: str) -> None:
        play = legacy(A)
        play(host(A, 3, ask(7, method)), up(ask(U + 1, method)))
        play(exited())
        play.wait(1, launch(2, 2))
        revive(play, up(ask(U2 + 1, method), 2))
        play(server(result(U2 + 1), 2), to(A, 3, result(7)))

    @pytest.mark.parametrize("method", sorted(SAFE))
    def test_a_safe_request_that_kills_two_generations_is_not_sent_to_a_third(self, method: str) -> None:
        play = legacy(A)
        play(host(A, 3, ask(7, method)), up(ask(U + 1, method)))
        play(exited())
        play.wait(1, launch(2, 2))
        revive(play, up(ask(U2 + 1, method), 2))
        play(exited(2), Failed(A, 3, 7, errors.OUTCOME_UNKNOWN))
        play.wait(60)

    @pytest.mark.parametrize("method", ["tools/call", "prompts/get", "x/y", "tasks/get", "tasks/list"])
    def test_a_request_whose_outcome_is_unknown_is_answered_so_and_never_run_again(self, method: str) -> None:
        play = legacy(A)
        play(host(A, 3, ask(7, method)), up(ask(U + 1, method)))
        play(exited(status=-9, stderr="killed"), Failed(A, 3, 7, errors.OUTCOME_UNKNOWN, "signal 9"))
        play.wait(60)

    def test_what_waited_goes_to_the_next_generation_in_its_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "SESSION_IN_FLIGHT", 2)
        play = legacy(A)
        play(host(A, 3, ask(1, "tools/list")), up(ask(U + 1, "tools/list")))
        play(host(A, 4, ask(2, "prompts/list")), up(ask(U + 2, "prompts/list")))
        play(host(A, 5, call(3)))
        play(exited())
        play.wait(1, launch(2, 2))
        revive(play, up(ask(U2 + 1, "tools/list"), 2), up(ask(U2 + 2, "prompts/list"), 2))
        play(server(result(U2 + 1), 2), to(A, 3, result(1)), up(call(U2 + 3), 2))

    def test_a_cancelled_request_is_neither_answered_nor_sent_again(self) -> None:
        play = legacy(A)
        play(host(A, 3, ask(1, "tools/list")), up(ask(U + 1, "tools/list")))
        play(host(A, 4, cancel(1)), up(cancel(U + 1)), ack(A, 3), ack(A, 4))
        play(exited())
        play.wait(60)

    def test_the_hosts_of_a_dead_server_are_answered_and_others_notice_nothing(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(host(B, 3, ask(1, "tools/list")), up(ask(U + 2, "tools/list")))
        play(exited(), Failed(A, 3, 1, errors.OUTCOME_UNKNOWN))
        play(host(A, 4, call(2)))
        play.wait(1, launch(2, 2))
        revive(play, up(ask(U2 + 1, "tools/list"), 2), up(call(U2 + 2), 2))

    def test_answers_and_progress_of_a_dead_generation_match_nothing(self) -> None:
        play = legacy(A)
        play(host(A, 3, call(1, token=1)), up(call(U + 1, token=U + 1)))
        play(server(result(U + 1)), to(A, 3, result(1)))
        play(host(A, 4, call(1, token=1)), up(call(U + 2, token=U + 2)))
        crash(play)
        play(host(A, 5, ask(2, "tools/list")))
        play.wait(1, launch(2, 2))
        play(server(result(U + 2)))
        play(started(2), up(initialize(U2), 2))
        for uid in (U + 1, U + 2):
            play(server(progress(uid), 2))
            play(server(result(uid), 2))

    def test_nothing_is_started_again_while_nobody_needs_it(self) -> None:
        play = legacy(A)
        crash(play)
        play.wait(3600)

    def test_notifications_while_no_server_runs_are_dropped(self) -> None:
        play = legacy(A)
        crash(play)
        play(host(A, 3, note("x")), ack(A, 3))
        assert play.router.dropped == 1

    def test_notifications_for_a_starting_server_wait_up_to_a_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "EARLY_BYTES", 2 * len(note("n4") + b"\n"))
        play = legacy(A)
        crash(play)
        play(host(A, 3, ask(1, "tools/list")))
        play.wait(1, launch(2, 2))
        for seq in range(4, 10):
            play(host(A, seq, note(f"n{seq}")), ack(A, seq))
        revive(play, up(note("n4"), 2), up(note("n5"), 2), up(ask(U2 + 1, "tools/list"), 2))
        assert play.router.dropped == 4
        assert not play.router.early_bytes


class TestBackOff:
    def test_restarts_come_on_demand_with_doubling_pauses(self) -> None:
        play = discovered(A)
        crash(play)
        play(host(A, 3, modern(1, "tools/list")))
        pause = limits.RESTART_FIRST_SECONDS
        for process in range(2, limits.BREAKER_FAILURES):
            play.wait(pause - 0.01)
            play.wait(0.02, launch(process, process))
            play(exited(process))
            pause *= 2

    def test_five_failures_in_a_minute_open_the_breaker_and_calls_fail_fast_with_the_reason(self) -> None:
        play = legacy(A, B)
        for process in range(1, limits.BREAKER_FAILURES):
            crash(play, process)
            play(host(A, 2 + process, ask(process, "ping")), to(A, 2 + process, result(process)))
            play(host(B, 2 + process, call(process)))
            play.wait(1, launch(process + 1, process + 1))
            (uid,) = sent(play.run(started(process + 1)))
            play.run(server(result(uid, SERVER), process + 1))
        crash(play, limits.BREAKER_FAILURES)
        play(host(A, 9, call(9)), Failed(A, 9, 9, errors.UPSTREAM_UNAVAILABLE, "boom"))
        play(host(A, 10, ask(9, "tools/list")), Failed(A, 10, 9, errors.UPSTREAM_UNAVAILABLE, "boom"))
        play(opened(3), welcome(3))
        play(host(3, 1, initialize()), knows(3), to(3, 1, result(0, SERVER)))
        play.wait(limits.BREAKER_COOL_OFF_SECONDS)
        play(host(A, 11, call(11)), launch(limits.BREAKER_FAILURES + 1, limits.BREAKER_FAILURES + 1))

    def test_a_server_that_never_starts_fails_each_initialize_with_its_cause(self) -> None:
        play = Play()
        play(opened(A), welcome(A))
        for process in range(1, limits.BREAKER_FAILURES + 1):
            got = play.run(host(A, process, initialize()))
            if not got:
                play.wait(1, launch(process, process))
            play(unstartable(process), Failed(A, process, 0, errors.UPSTREAM_UNAVAILABLE, "no such file"))
        play(host(A, 9, initialize()), Failed(A, 9, 0, errors.UPSTREAM_UNAVAILABLE, "no such file"))

    def test_old_failures_do_not_count(self) -> None:
        play = legacy(A)
        for process in range(1, 3 * limits.BREAKER_FAILURES):
            crash(play, process)
            play.wait(limits.BREAKER_WINDOW_SECONDS / 2)
            play(host(A, 2 + process, ask(1, "tools/list")), launch(process + 1, process + 1))
            (uid,) = sent(play.run(started(process + 1)))
            (up_id,) = sent(play.run(server(result(uid, SERVER), process + 1)))
            play(server(result(up_id), process + 1), to(A, 2 + process, result(1)))


class TestGrace:
    def test_the_server_stops_when_the_grace_after_its_last_session_is_over(self) -> None:
        play = legacy(A, B)
        play(closed(A))
        play.wait(2 * GRACE)
        play(closed(B))
        play.wait(GRACE - 1)
        play.wait(1, stop())
        play(exited(status=0), EXIT)

    def test_a_session_that_comes_within_the_grace_finds_the_server_running(self) -> None:
        play = legacy(A)
        play(closed(A))
        play.wait(GRACE - 1)
        play.join(B)
        play.wait(2 * GRACE)

    def test_a_session_that_comes_while_the_server_stops_gets_the_next_generation(self) -> None:
        play = legacy(A)
        play(closed(A))
        play.wait(GRACE, stop())
        play(opened(B), welcome(B))
        play(host(B, 1, initialize(5)), knows(B), to(B, 1, result(5, SERVER)))
        play(host(B, 2, ask(1, "tools/list")))
        play(exited(status=0), launch(2, 2))
        revive(play, up(ask(U2 + 1, "tools/list"), 2))

    def test_open_state_of_a_client_keeps_the_server_longer(self) -> None:
        for answer in ('{"resultType":"input_required"}', '{"task":{"taskId":"t"}}'):
            play = discovered(A)
            play(host(A, 3, modern(1, "tools/call")), up(modern(U + 2, "tools/call")))
            play(server(result(U + 2, answer)), to(A, 3, result(1, answer)))
            play(closed(A))
            play.wait(limits.OPEN_STATE_SECONDS - 1)
            play.wait(1, stop())

    def test_each_session_may_ask_for_a_longer_grace(self) -> None:
        play = Play()
        play(opened(A, grace=100), welcome(A))
        play(host(A, 1, initialize()), launch())
        play(closed(A))
        play.wait(99)
        play.wait(1, stop())


class TestRestart:
    def test_a_planned_restart_answers_what_is_in_flight_and_holds_the_rest_for_the_next_generation(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(Restart(1))
        play(host(B, 3, call(1)))
        play(server(result(U + 1)), to(A, 3, result(1)), stop())
        play(exited(status=0), launch(2, 2))
        revive(play, up(call(U2 + 1), 2))

    def test_a_planned_restart_waits_no_longer_than_its_limit(self) -> None:
        play = legacy(A)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(Restart(1))
        play.wait(limits.DRAIN_SECONDS, stop())
        play(exited(status=0), Failed(A, 3, 1, errors.OUTCOME_UNKNOWN))

    @pytest.mark.parametrize("last", ["cancel", "leave"])
    def test_a_planned_restart_ends_when_nobody_waits_any_more(self, last: str) -> None:
        play = legacy(A, B)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(Restart(1))
        got = play.run(host(A, 4, cancel(1)) if last == "cancel" else closed(A))
        assert stop() in got

    def test_a_crash_during_a_planned_restart_is_a_crash(self) -> None:
        play = legacy(A)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(Restart(1))
        play(exited(), Failed(A, 3, 1, errors.OUTCOME_UNKNOWN))
        play.wait(limits.DRAIN_SECONDS)


def test_every_request_that_sets_state_can_be_repeated() -> None:
    assert SETS_STATE < REPEATABLE
