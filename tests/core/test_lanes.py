"""Both eras of one server: pinning, probing, verdicts. PROTOCOL: "Eras on one process", "Modern": server/discover."""

from __future__ import annotations

import pytest

from mux import errors, limits
from mux.core.methods import Era
from tests.core.playbook import (
    DRAW,
    GRACE,
    INITIALIZED,
    SERVER,
    U2,
    A,
    B,
    C,
    Failed,
    Play,
    Refused,
    U,
    ack,
    ask,
    call,
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
    legacy,
    modern,
    note,
    opened,
    result,
    server,
    started,
    stop,
    to,
    up,
    welcome,
)
from tests.core.probing import DISCOVER, failed, probing


class TestPinning:
    def test_initialize_first_starts_the_legacy_lane_without_a_probe(self) -> None:
        play = legacy(A)
        assert play.router.era is Era.LEGACY

    def test_an_enveloped_request_first_starts_the_modern_lane_without_a_probe(self) -> None:
        play = Play()
        play(opened(A), welcome(A))
        play(host(A, 1, modern(1, "tools/list")), launch())
        play(started(), up(modern(U, "tools/list")))
        play(server(result(U)), to(A, 1, result(1)))
        assert play.router.era is Era.MODERN

    def test_each_lane_has_its_own_process_and_sessions_of_a_lane_share_it(self) -> None:
        play = legacy(A, B)
        play(opened(C), welcome(C))
        play(host(C, 1, modern(1, "tools/list")), launch(2, upstream=2))
        play(opened(4), welcome(4))
        play(host(4, 1, modern(1, "tools/list")))
        play(started(2), up(modern(U2, "tools/list"), 2), up(modern(U2 + 1, "tools/list"), 2))

    def test_clients_that_differ_share_the_modern_lane(self) -> None:
        play = discovered(A)
        play(opened(B), welcome(B))
        client = ',"io.modelcontextprotocol/clientInfo":{"name":"other","version":"9"}'
        play(host(B, 1, modern(1, "tools/list", meta=client)), up(modern(U + 2, "tools/list", meta=client)))
        assert play.pool.snapshot().sessions[1].client_name == "other"

    def test_a_session_stays_in_its_lane_whatever_it_says_later(self) -> None:
        play = legacy(A)
        play(host(A, 3, modern(1, "tools/list")), up(modern(U + 1, "tools/list")))
        play(host(A, 4, DISCOVER), up(ask(U + 2, "server/discover")))
        play = discovered(A)
        play(host(A, 3, initialize()), up(initialize(U + 2)))
        play(host(A, 4, ask(1, "tools/list")), up(ask(U + 3, "tools/list")))

    def test_a_modern_request_without_special_rules_passes(self) -> None:
        play = discovered(A)
        for number, method in enumerate(
            ["ping", "logging/setLevel", "resources/subscribe", "tasks/list", "tasks/get"], 2
        ):
            rest = ',"uri":"u","level":"info","taskId":"t","requestState":"\\u0041"'
            play(host(A, number + 1, modern(1, method, rest)), up(modern(U + number, method, rest)))

    def test_no_legacy_rule_holds_among_modern_sessions(self) -> None:
        """Nothing is counted, joined or owned: each request is its own, the extension for tasks included."""
        play = discovered(A, B)
        said = [
            ("resources/subscribe", ',"uri":"u"'),
            ("logging/setLevel", ',"level":"debug"'),
            ("logging/setLevel", ',"level":"error"'),
            ("tools/call", ',"name":"t","task":{}'),
            ("tasks/get", ',"taskId":"T"'),
            ("tasks/list", ""),
        ]
        uid = U + 3
        for number, (method, rest) in enumerate(said, 3):
            for session in (A, B):
                play(host(session, number, modern(1, method, rest)), up(modern(uid, method, rest)))
                answer = '{"task":{"taskId":"T"},"tasks":[{"taskId":"T"}]}'
                play(server(result(uid, answer)), to(session, number, result(1, answer)))
                uid += 1

    def test_an_input_required_answer_and_its_retry_are_two_requests(self) -> None:
        play = discovered(A)
        play(host(A, 3, modern(1, "tools/call")), up(modern(U + 2, "tools/call")))
        needs = '{"resultType":"input_required","inputRequests":{"a":{}},"requestState":"\\u0041=="}'
        play(server(result(U + 2, needs)), to(A, 3, result(1, needs)))
        again = ',"inputResponses":{"a":{}},"requestState":"\\u0041=="'
        play(host(A, 4, modern(1, "tools/call", again)), up(modern(U + 3, "tools/call", again)))


class TestBare:
    """A session that initialises nothing and says nothing of its version: a process of its own, all passes."""

    def bare(self) -> Play:
        play = Play()
        play(opened(A), welcome(A))
        play(host(A, 1, ask(1, "tools/list")), launch())
        play(started(), up(ask(U, "tools/list")))
        play(server(result(U)), to(A, 1, result(1)))
        return play

    def test_everything_passes_as_it_is(self) -> None:
        play = self.bare()
        play(host(A, 2, initialize()), up(initialize(U + 1)))
        play(host(A, 3, INITIALIZED), up(INITIALIZED), ack(A, 3))
        uri = '{"uri":"u"}'
        play(host(A, 4, ask(1, "resources/subscribe", uri)), up(ask(U + 2, "resources/subscribe", uri)))
        play(host(A, 5, ask(1, "resources/subscribe", uri)), up(ask(U + 3, "resources/subscribe", uri)))
        play(host(A, 6, ask(1, "ping")), up(ask(U + 4, "ping")))

    def test_it_is_shared_with_nobody(self) -> None:
        play = self.bare()
        play(opened(B), welcome(B))
        play(host(B, 1, ask(1, "tools/list")), launch(2, upstream=2))

    def test_a_discover_before_it_is_settled_and_leaves_no_server_behind(self) -> None:
        play = probing(A)
        play(
            host(A, 2, ask(1, "tools/list")),
            up(gone(U)),
            Failed(A, 1, '"d"', errors.METHOD_NOT_FOUND),
            launch(2, upstream=2),
        )
        play(closed(A))
        play.wait(GRACE, stop(1), stop(2))


class TestModernWhileProbing:
    """A client that knows the server is modern does not probe; the process may not know yet."""

    def both(self) -> Play:
        play = probing(A)
        play(opened(B), welcome(B))
        play(host(B, 1, modern(1, "tools/list")))
        play(host(B, 2, modern(2, "subscriptions/listen")), keep(B, 2))
        play(host(B, 3, ask(3, "ping")))
        return play

    def test_its_requests_wait_for_the_verdict(self) -> None:
        play = self.both()
        play(
            server(result(U)),
            up(modern(U + 1, "subscriptions/listen")),
            up(modern(U + 2, "tools/list")),
            up(ask(U + 3, "ping")),
            to(A, 1, result('"d"')),
        )

    def test_a_legacy_verdict_gives_it_a_process_that_nobody_initialises(self) -> None:
        play = self.both()
        play(server(failed(U)), launch(2, upstream=2), keep(B, 2), to(A, 1, failed('"d"')))
        play(
            started(2),
            up(modern(U2, "subscriptions/listen"), 2),
            up(modern(U2 + 1, "tools/list"), 2),
            up(ask(U2 + 2, "ping"), 2),
        )
        play(host(A, 2, initialize()), up(initialize(U + 1)))

    def test_a_dead_probe_becomes_its_server_and_there_is_never_a_second(self) -> None:
        play = self.both()
        play(exited())
        play(opened(C), welcome(C))
        play(host(C, 1, DISCOVER))
        play.wait(1, launch(2, 2))
        play(
            started(2),
            up(modern(U + 3 * DRAW, "subscriptions/listen"), 2),
            up(modern(U + 3 * DRAW + 1, "tools/list"), 2),
            up(ask(U + 3 * DRAW + 2, "server/discover"), 2),
            up(ask(U + 3 * DRAW + 3, "ping"), 2),
        )
        assert len(play.pool.routers) == 1


class TestHold:
    """An `initialize` while a discover is open: Claude Code sends both on one pipe."""

    def held(self, *, up_yet: bool = True) -> Play:
        play = probing(A, up_yet=up_yet)
        play(host(A, 2, initialize()))
        play(host(A, 3, INITIALIZED))
        play(host(A, 4, call(1)))
        return play

    def test_a_refusal_sends_it_down_the_same_process_with_all_that_came_after_it(self) -> None:
        play = self.held()
        play(server(failed(U)), up(initialize(U + 1)), keep(A, 3), to(A, 1, failed('"d"')))
        play(
            server(result(U + 1, SERVER)),
            knows(A, 2),
            to(A, 2, result(0, SERVER)),
            up(INITIALIZED),
            up(call(U + 2)),
        )

    def test_a_success_sends_it_to_the_legacy_lane(self) -> None:
        play = self.held()
        play(server(result(U)), launch(2, upstream=2), keep(A, 3), to(A, 1, result('"d"')))
        play(started(2), up(initialize(U2), 2))

    def test_a_silent_server_is_a_legacy_one_after_a_while_and_its_late_answer_is_dropped(self) -> None:
        play = self.held()
        play.wait(
            limits.DISCOVER_RUN_SECONDS,
            Failed(A, 1, '"d"', errors.METHOD_NOT_FOUND),
            up(initialize(U + 1)),
            keep(A, 3),
        )
        play(server(result(U)))
        play(server(result(U + 1, SERVER)), knows(A, 2), to(A, 2, result(0, SERVER)), up(INITIALIZED), up(call(U + 2)))

    def test_a_process_that_has_run_long_enough_is_not_waited_for(self) -> None:
        play = probing(A)
        play.wait(limits.DISCOVER_RUN_SECONDS)
        play(host(A, 2, initialize()))
        play.wait(0, Failed(A, 1, '"d"', errors.METHOD_NOT_FOUND), up(initialize(U + 1)))

    def test_the_wait_begins_when_the_process_runs(self) -> None:
        play = self.held(up_yet=False)
        play.wait(1)
        play(started(), up(ask(U, "server/discover")))
        play.wait(limits.DISCOVER_RUN_SECONDS - 0.5)
        play.wait(0.5, Failed(A, 1, '"d"', errors.METHOD_NOT_FOUND), up(initialize(U + 1)), keep(A, 3))

    def test_nothing_is_held_longer_than_the_limit_whatever_the_process_does(self) -> None:
        play = self.held(up_yet=False)
        play.wait(limits.HANDSHAKE_HOLD_SECONDS - 0.5)
        play.wait(0.5, Failed(A, 1, '"d"', errors.METHOD_NOT_FOUND), keep(A, 3))
        play(started(), up(initialize(U)))

    def test_several_are_held_together_and_each_gets_what_its_kind_gets(self) -> None:
        play = probing(A, B)
        play(host(A, 2, initialize()))
        play(host(B, 2, initialize(7, '{"roots":{}}')))
        play(opened(C), welcome(C))
        play(host(C, 1, initialize(8)))
        play(
            server(failed(U)),
            up(initialize(U + 2)),
            up(gone(U + 1)),
            to(B, 1, failed('"d"')),
            launch(2, upstream=2),
            to(A, 1, failed('"d"')),
        )
        play(server(failed(U + 1)))
        play(
            server(result(U + 2, SERVER)),
            knows(A, 2),
            to(A, 2, result(0, SERVER)),
            knows(C),
            to(C, 1, result(8, SERVER)),
        )

    def test_the_open_discover_of_a_session_that_is_pinned_elsewhere_is_settled(self) -> None:
        play = probing(A, B)
        play(host(B, 2, initialize(7)))
        play(
            server(result(U)),
            up(gone(U + 1)),
            Failed(B, 1, '"d"', errors.METHOD_NOT_FOUND),
            launch(2, upstream=2),
            to(A, 1, result('"d"')),
        )
        play(server(result(U + 1)))

    def test_a_second_initialize_of_a_held_session_gets_the_same_answer(self) -> None:
        play = probing(A)
        play(host(A, 2, initialize()))
        play(host(A, 3, initialize(9)))
        play(server(failed(U)), up(initialize(U + 1)), to(A, 1, failed('"d"')))
        play(
            server(result(U + 1, SERVER)),
            knows(A, 2),
            to(A, 2, result(0, SERVER)),
            to(A, 3, result(9, SERVER)),
        )

    def test_the_end_of_input_waits_for_it(self) -> None:
        play = self.held()
        play(eof(A))
        play(server(failed(U)), up(initialize(U + 1)), keep(A, 3), to(A, 1, failed('"d"')))
        play(server(result(U + 1, SERVER)), knows(A, 2), to(A, 2, result(0, SERVER)), up(INITIALIZED), up(call(U + 2)))
        play(server(result(U + 2)), to(A, 4, result(1)), dismiss(A))

    def test_the_end_of_input_of_a_session_that_never_probed_waits_for_it_too(self) -> None:
        play = probing(A)
        play(opened(B), welcome(B))
        play(host(B, 1, initialize()))
        play(eof(B))
        play(server(failed(U)), up(initialize(U + 1)), to(A, 1, failed('"d"')))
        play(server(result(U + 1, SERVER)), knows(B), to(B, 1, result(0, SERVER)), dismiss(B))

    def test_a_session_that_leaves_is_held_no_more(self) -> None:
        play = self.held()
        play.run(closed(A))
        play.wait(limits.HANDSHAKE_HOLD_SECONDS)
        play(server(failed(U)))
        play.wait(GRACE, stop())

    def test_a_held_session_may_not_say_more_than_the_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "SESSION_WAITING", 4)
        play = self.held()
        play(host(A, 5, call(2)), Failed(A, 5, 2, errors.OVERLOADED))


def test_a_server_that_is_asked_for_its_era_may_ask_for_a_ping() -> None:
    play = probing(A)
    play(server(ask(5, "ping")), up(result(5)))
    play(server(ask(6, "sampling/createMessage")), Refused(6, errors.INTERNAL_ERROR))


def test_a_log_message_during_the_discover_is_for_who_asked() -> None:
    line = note("notifications/message", '{"level":"info"}')
    probing(A)(server(line), to(A, 0, line))
