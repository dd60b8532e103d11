"""What era a server turns out to be of, and what that means for those who asked. PROTOCOL: "server/discover"."""

from __future__ import annotations

import pytest

from mux import errors, limits
from mux.core.methods import Era
from tests.core.playbook import (
    GRACE,
    SERVER,
    U2,
    A,
    B,
    C,
    Failed,
    Play,
    U,
    ack,
    ask,
    call,
    cancel,
    closed,
    discovered,
    dismiss,
    eof,
    exited,
    gone,
    host,
    initialize,
    keep,
    knows,
    launch,
    modern,
    opened,
    replay,
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
from tests.core.probing import DISCOVER, LEGACY, failed, is_legacy, probing


class TestVerdict:
    def test_the_first_discover_goes_to_a_fresh_process_and_the_next_ones_with_it(self) -> None:
        probing(A, B)

    def test_discovers_wait_while_the_process_starts(self) -> None:
        play = probing(A, B, up_yet=False)
        play(started(), up(ask(U, "server/discover")), up(ask(U + 1, "server/discover")))

    def test_a_result_makes_it_the_modern_lane(self) -> None:
        play = probing(A, B)
        play(server(result(U, '{"x":1E400}')), to(A, 1, result('"d"', '{"x":1E400}')))
        play(server(result(U + 1)), to(B, 1, result('"d"')))
        play(host(A, 2, modern(1, "tools/list")), up(modern(U + 2, "tools/list")))
        play(opened(C), welcome(C))
        play(host(C, 1, DISCOVER), up(ask(U + 3, "server/discover")))

    @pytest.mark.parametrize("code", [-32020, -32021, -32022])
    @pytest.mark.parametrize(
        "supported", ["", ',"data":{"supported":["2025-11-25","2026-07-28"]}', ',"data":{"supported":7}']
    )
    def test_a_modern_refusal_makes_it_the_modern_lane(self, code: int, supported: str) -> None:
        play = probing(A)
        body = f'{{"code":{code},"message":"m"{supported}}}'
        play(server(failed(U, body)), to(A, 1, failed('"d"', body)))
        assert play.router.era is Era.MODERN
        play(host(A, 2, modern(1, "tools/list")), up(modern(U + 1, "tools/list")))

    @pytest.mark.parametrize(
        "body",
        [
            LEGACY,
            '{"code":-32602,"message":"m"}',
            '{"code":-32019,"message":"m"}',
            '{"code":-32023,"message":"m"}',
            '{"code":-32022,"message":"m","data":{"supported":["2025-11-25"]}}',
            '{"code":-32022,"message":"m","data":{"supported":[]}}',
            '{"code":-32022,"code":-32022,"message":"m"}',
            '{"message":"m"}',
            '"no"',
        ],
    )
    def test_any_other_error_makes_the_same_process_the_legacy_lane(self, body: str) -> None:
        play = probing(A)
        play(server(failed(U, body)), to(A, 1, failed('"d"', body)))
        play(host(A, 2, initialize()), up(initialize(U + 1)))
        play(server(result(U + 1, SERVER)), knows(A, 2), to(A, 2, result(0, SERVER)))
        play(host(A, 3, call(1)), up(call(U + 2)))

    def test_later_discovers_are_answered_here_with_the_recorded_error(self) -> None:
        play = is_legacy(A)
        play(opened(B), welcome(B))
        play(host(B, 1, ask(5, "server/discover")), to(B, 1, failed(5)))
        play(host(B, 2, initialize()), up(initialize(U + 1)))

    def test_a_legacy_verdict_serves_each_kind_of_client_its_own_process_the_first_the_probed_one(self) -> None:
        play = is_legacy(A, B)
        play(host(A, 2, initialize()), up(initialize(U + 2)))
        play(host(B, 2, initialize(0, '{"roots":{}}')), launch(2, upstream=2))

    def test_the_verdict_is_forgotten_with_the_last_upstream(self) -> None:
        play = is_legacy(A)
        play(closed(A))
        play.wait(GRACE, stop())
        play.run(exited(status=0))
        play(opened(B), welcome(B))
        play(host(B, 1, DISCOVER), launch(2, upstream=2))

    def test_a_probed_process_that_nobody_wanted_stops_after_the_grace(self) -> None:
        play = probing(A)
        play(closed(A), up(gone(U)))
        play.wait(GRACE - 1)
        play.wait(1, stop())

    def test_the_process_survives_a_client_that_only_probes_and_the_next_one_finds_it(self) -> None:
        play = is_legacy(A)
        play(closed(A))
        play.wait(GRACE - 1)
        play(opened(B), welcome(B))
        play(host(B, 1, initialize()), up(initialize(U + 1)))
        play.wait(limits.START_SECONDS - 1)
        play(server(result(U + 1, SERVER)), knows(B), to(B, 1, result(0, SERVER)))
        play.wait(10 * GRACE)

    def test_a_probed_legacy_server_that_never_answers_initialize_is_given_up_in_time(self) -> None:
        play = is_legacy(A)
        play.wait(2 * limits.START_SECONDS)
        play(host(A, 2, initialize()), up(initialize(U + 1)))
        play.wait(limits.START_SECONDS, Failed(A, 2, 0, errors.UPSTREAM_UNAVAILABLE, "still starting"))

    def test_a_verdict_that_comes_while_the_process_is_stopped_is_none(self) -> None:
        play = probing(A)
        play.run(closed(A))
        play.wait(GRACE, stop())
        play(server(result(U)))
        play(server(failed(U)))
        play(opened(B), welcome(B))
        play(host(B, 1, DISCOVER))
        play(exited(status=0), launch(2, 2))
        play(started(2), up(ask(U2, "server/discover"), 2))
        play(server(result(U2), 2), to(B, 1, result('"d"')))

    def test_a_cancelled_discover_still_brings_the_verdict(self) -> None:
        play = probing(A)
        play(host(A, 2, cancel('"d"')), up(cancel(U)), ack(A, 1), ack(A, 2))
        play(server(failed(U)))
        play(host(A, 3, initialize()), up(initialize(U + 1)))

    def test_an_oversize_answer_to_a_discover_is_an_error_like_any(self) -> None:
        play = probing(A)
        line = result(U, '"' + "x" * 100 + '"')
        play(server(line, oversize=True), Failed(A, 1, '"d"', errors.MESSAGE_TOO_LARGE))

    def test_a_known_modern_server_is_started_again_without_a_new_probe(self) -> None:
        play = discovered(A)
        play.wait(limits.IDLE_SECONDS, stop())
        play(exited(status=0))
        play(opened(B), welcome(B))
        play(host(B, 1, DISCOVER), launch(2, 2))
        play(started(2), up(ask(U2, "server/discover"), 2))


class TestDeadProbe:
    def test_the_initialize_that_follows_is_answered_with_the_cause(self) -> None:
        play = probing(A)
        play(exited(stderr="no module"))
        play(host(A, 2, initialize()), Failed(A, 1, '"d"', errors.METHOD_NOT_FOUND), launch(2, upstream=2))
        play(exited(2, stderr="no module"), Failed(A, 2, 0, errors.UPSTREAM_UNAVAILABLE, "no module"))

    def test_with_no_initialize_the_discover_is_answered_with_the_cause_after_a_while(self) -> None:
        play = probing(A, up_yet=False)
        play(unstartable())
        play.wait(limits.DISCOVER_FAILED_SECONDS - 1)
        play(opened(B), welcome(B))
        play(host(B, 1, DISCOVER), launch(2, upstream=2))
        play(unstartable(2))
        play.wait(1, Failed(A, 1, '"d"', errors.UPSTREAM_UNAVAILABLE, "no such file"))
        play.wait(limits.DISCOVER_FAILED_SECONDS - 2)
        play.wait(1, Failed(B, 1, '"d"', errors.UPSTREAM_UNAVAILABLE, "no such file"))

    def test_a_verdict_for_another_session_does_not_make_it_wait_longer(self) -> None:
        play = probing(A, up_yet=False)
        play(unstartable())
        play(opened(B), welcome(B))
        play(host(B, 1, DISCOVER), launch(2, upstream=2))
        (uid,) = sent(play.run(started(2)))
        play(host(B, 2, initialize()))
        play(server(failed(uid), 2), up(initialize(uid + 1), 2), to(B, 1, failed('"d"')))
        play.wait(limits.DISCOVER_FAILED_SECONDS, Failed(A, 1, '"d"', errors.UPSTREAM_UNAVAILABLE, "no such file"))

    def test_a_held_initialize_starts_the_legacy_lane_at_once(self) -> None:
        play = probing(A)
        play(host(A, 2, initialize()))
        play(exited(), Failed(A, 1, '"d"', errors.METHOD_NOT_FOUND), launch(2, upstream=2))

    def test_the_end_of_input_waits_for_the_answer(self) -> None:
        play = probing(A)
        play(exited())
        play(eof(A))
        play.wait(limits.DISCOVER_FAILED_SECONDS, Failed(A, 1, '"d"', errors.UPSTREAM_UNAVAILABLE), dismiss(A))

    def test_a_session_that_leaves_gets_none(self) -> None:
        play = probing(A)
        play(exited())
        play(closed(A))
        play.wait(limits.DISCOVER_FAILED_SECONDS)

    def test_the_next_discover_asks_a_fresh_process(self) -> None:
        play = probing(A)
        play(exited())
        play(opened(B), welcome(B))
        play(host(B, 1, DISCOVER), launch(2, upstream=2))


class TestFailingModernServer:
    """A discover is never answered with a passing error: clients take any for "legacy" and may store that."""

    def failing(self) -> Play:
        play = discovered(A)
        play.router.upstream.failures.extend([play.now] * limits.BREAKER_FAILURES)
        play(exited())
        return play

    def test_a_discover_waits_for_the_initialize_that_may_follow(self) -> None:
        play = self.failing()
        play(opened(B), welcome(B))
        play(host(B, 1, DISCOVER))
        play(host(B, 2, initialize()), Failed(B, 1, '"d"', errors.METHOD_NOT_FOUND), launch(2, upstream=2))

    def test_with_none_it_is_answered_with_the_cause_after_a_while(self) -> None:
        play = self.failing()
        play(opened(B), welcome(B))
        play(host(B, 1, DISCOVER))
        play.wait(limits.DISCOVER_FAILED_SECONDS, Failed(B, 1, '"d"', errors.UPSTREAM_UNAVAILABLE, "boom"))

    def test_one_that_is_cancelled_meanwhile_is_not_answered(self) -> None:
        play = self.failing()
        play(opened(B), welcome(B))
        play(host(B, 1, DISCOVER))
        play(host(B, 2, cancel('"d"')), ack(B, 1), ack(B, 2))
        play.wait(limits.DISCOVER_FAILED_SECONDS)

    def test_one_that_waited_for_the_server_waits_on(self) -> None:
        play = discovered(A)
        play(exited())
        play(opened(B), welcome(B))
        play(host(B, 1, DISCOVER))
        play.wait(1, launch(2, 2))
        play.router.upstream.failures.extend([play.now] * limits.BREAKER_FAILURES)
        play(exited(2))
        play.wait(limits.DISCOVER_FAILED_SECONDS, Failed(B, 1, '"d"', errors.UPSTREAM_UNAVAILABLE, "boom"))

    def test_requests_of_pinned_sessions_fail_fast(self) -> None:
        play = self.failing()
        play(host(A, 3, modern(1, "tools/list")), Failed(A, 3, 1, errors.UPSTREAM_UNAVAILABLE, "boom"))


class TestNextBackend:
    def test_an_unanswered_discover_is_asked_again(self) -> None:
        play = Play()
        play(opened(A, resumed=True), welcome(A))
        play(replay(A, 1, DISCOVER), launch())
        play(started(), up(ask(U, "server/discover")))
        play(server(result(U)), to(A, 1, result('"d"')))

    def test_a_modern_session_goes_on_with_its_next_request(self) -> None:
        play = Play()
        play(opened(A, resumed=True), welcome(A))
        play(host(A, 5, modern(1, "tools/call")), launch())

    def test_a_legacy_session_goes_on_without_a_probe(self) -> None:
        play = Play()
        play(opened(A, resumed=True), welcome(A))
        play(replay(A, 1, initialize(), answered=True), keep(A, 1))
        play(host(A, 5, call(1)), launch())
        play(started(), up(initialize(U)))
