"""Sessions, upstreams and the end of a backend; sessions of an earlier one. DESIGN: rendezvous, recovery, exits."""

from __future__ import annotations

import pytest

from mux import errors, limits
from mux.core.actions import Drop, Forward, GoAway, Halted, Log, Refuse
from mux.core.events import Event, Halt, Permit, Shutdown
from mux.core.methods import SAFE
from tests.core.playbook import (
    EXIT,
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
    host,
    initialize,
    keep,
    knows,
    launch,
    legacy,
    modern,
    note,
    opened,
    replay,
    replayed,
    result,
    server,
    started,
    stop,
    to,
    up,
    welcome,
)


class TestSharing:
    def test_sessions_of_one_key_and_one_initialize_share_a_server(self) -> None:
        play = legacy(A, B, C)
        assert len(play.pool.routers) == 1

    @pytest.mark.parametrize("client", ['{"roots":{}}', "{}"])
    def test_the_key_holds_capabilities_and_client_but_neither_id_nor_progress_token(self, client: str) -> None:
        play = legacy(A)
        play.join(B, initialize('"x"', token="5"))
        play(opened(C), welcome(C))
        play(host(C, 1, initialize(0, client, client="other")), launch(2, upstream=2))

    def test_two_keys_never_share(self) -> None:
        play = legacy(A)
        play(opened(B, key=OTHER_KEY), welcome(B))
        play(host(B, 1, initialize()), launch(2, upstream=2))
        play(started(2), up(initialize(U2), 2))
        play(server(result(U2, SERVER), 2), knows(B), to(B, 1, result(0, SERVER)))
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(server(result(U + 1), 2))  # the wrong server
        play(server(result(U + 1)), to(A, 3, result(1)))

    def test_a_session_before_its_first_request_starts_nothing(self) -> None:
        play = Play()
        play(opened(A), welcome(A))
        play(host(A, 1, note("x")), ack(A, 1))
        play(host(A, 2, result(1)), ack(A, 2))
        play(host(A, 3, b"junk"), Failed(A, 3, "null", errors.PARSE_ERROR))
        play(host(A, 4, b""), ack(A, 4))
        play(host(A, 5, cancel(1)), ack(A, 5))
        play(eof(A), dismiss(A))
        play(closed(A))
        assert not play.pool.routers

    def test_events_of_sessions_and_processes_that_are_gone_are_nothing(self) -> None:
        play = legacy(A)
        for event in (host(9, 1, call(1)), eof(9), closed(9), replayed(9), replay(9, 1, call(1))):
            play(event)
        for event in (started(9), server(result(1), 9), exited(9)):
            play(event)


class TestExit:
    def test_a_backend_that_nobody_joins_leaves_after_the_grace(self) -> None:
        play = Play()
        play.wait(GRACE - 1)
        play.wait(1, EXIT)

    def test_the_backend_leaves_when_its_last_server_has_ended(self) -> None:
        play = legacy(A)
        play(closed(A))
        play.wait(GRACE, stop())
        play(exited(status=0), EXIT)

    def test_a_session_cancels_the_exit(self) -> None:
        play = Play()
        play.wait(GRACE - 1)
        play(opened(A), welcome(A))
        play.wait(10 * GRACE)
        play(closed(A))
        play.wait(GRACE - 1)
        play.wait(1, EXIT)

    def test_an_exit_that_a_connection_held_up_is_asked_for_again(self) -> None:
        play = Play(grace=0.0)
        play.wait(0, EXIT)
        play.wait(limits.EXIT_AGAIN_SECONDS, EXIT)

    def test_a_planned_exit_tells_every_session_and_takes_no_more_work(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(Shutdown(), GoAway(A), GoAway(B))
        play(Shutdown())
        play(host(A, 4, call(2)))
        play(opened(C), Refuse(C, "draining", limits.DRAIN_RETRY_MS))
        play(closed(C))
        play(server(result(U + 1)), to(A, 3, result(1)), Drop(A, "planned exit"), Drop(B, "planned exit"), EXIT)
        play(closed(A))
        play(closed(B))

    def test_a_planned_exit_with_nothing_in_flight_is_immediate(self) -> None:
        play = legacy(A)
        play(Shutdown(), GoAway(A), Drop(A, "planned exit"), EXIT)
        play.wait(100)

    def test_a_planned_exit_waits_for_no_listen(self) -> None:
        play = discovered(A)
        play.run(host(A, 3, modern(1, "subscriptions/listen")))
        play(Shutdown(), GoAway(A), Drop(A, "planned exit"), EXIT)

    def test_a_planned_exit_answers_what_takes_too_long_unless_the_next_backend_can_repeat_it(self) -> None:
        play = legacy(A)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(host(A, 4, ask(2, "tools/list")), up(ask(U + 2, "tools/list")))
        play(Shutdown(), GoAway(A))
        play.wait(limits.DRAIN_SECONDS, Failed(A, 3, 1, errors.OUTCOME_UNKNOWN), Drop(A, "planned exit"), EXIT)

    def test_a_stop_waits_less_for_what_is_in_flight_and_tells_the_sessions(self) -> None:
        play = legacy(A)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(Shutdown("by hand"), GoAway(A))
        play.wait(limits.STOP_DRAIN_SECONDS, Failed(A, 3, 1, errors.OUTCOME_UNKNOWN), Halted(A, "by hand"), EXIT)

    def test_a_planned_exit_leaves_a_waiting_initialize_to_the_next_backend(self) -> None:
        play = Play()
        play(opened(A), welcome(A))
        play(host(A, 1, initialize()), launch())
        play(host(A, 2, call(1)))
        play(Shutdown(), GoAway(A))
        play.wait(
            limits.DRAIN_SECONDS,
            Failed(A, 2, 1, errors.UPSTREAM_UNAVAILABLE, "being stopped"),
            Drop(A, "planned exit"),
            EXIT,
        )

    def test_a_stop_makes_an_exit_final_that_has_begun_and_shortens_it(self) -> None:
        play = legacy(A, B)
        play(host(A, 2, call(1)), up(call(U + 1)))
        play(Shutdown(), GoAway(A), GoAway(B))
        play.wait(1)
        play(Shutdown("by hand"))
        play(Shutdown())
        play(opened(C, resumed=True), Halted(C, "by hand"))
        failed = Failed(A, 2, 1, errors.OUTCOME_UNKNOWN, "being stopped")
        play.wait(limits.STOP_DRAIN_SECONDS, failed, Halted(A, "by hand"), Halted(B, "by hand"), EXIT)


class TestHalt:
    def test_a_halted_server_is_stopped_and_its_sessions_told(self) -> None:
        play = legacy(A, B)
        play(Halt(1, "by hand"), Halted(A, "by hand"), Halted(B, "by hand"), stop())

    def test_a_session_that_comes_back_is_told_again_until_it_is_allowed_or_a_new_one_comes(self) -> None:
        for end in (Permit(), opened(C)):
            play = legacy(A)
            play(Halt(None, "by hand"), Halted(A, "by hand"), stop())
            play(closed(A))
            play(opened(B, resumed=True), Halted(B, "by hand"))
            play(closed(B))
            play.run(end)
            play(opened(4, resumed=True), welcome(4))

    @pytest.mark.parametrize("end", [Permit(), opened(C)], ids=["by the operator", "for a new session"])
    def test_one_that_is_taken_back_while_the_server_drains_is_a_restart(self, end: Event) -> None:
        play = legacy(A, B)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(Halt(1, "by hand"))
        play.run(end)
        play(host(B, 3, call(1)))
        play(server(result(U + 1)), to(A, 3, result(1)), stop())
        play(exited(status=0), launch(2, 2))
        assert {A, B} <= set(play.pool.sessions)

    def test_what_was_halted_and_has_gone_is_not_started_by_the_permission_alone(self) -> None:
        play = legacy(A)
        play(Halt(None, "by hand"), Halted(A, "by hand"), stop())
        play(Permit())

    def test_a_backend_that_was_told_to_serve_again_waits_for_those_who_may_come_back(self) -> None:
        play = Play(grace=0.0)
        play(Permit())
        play.wait(limits.RETURN_SECONDS - 1)
        play.wait(1, EXIT)


class TestReplay:
    """A session of an earlier backend; its answered lines were kept."""

    def resumed(self) -> Play:
        play = Play()
        play(opened(A, resumed=True), welcome(A))
        play(replay(A, 1, initialize(), answered=True), keep(A, 1))
        play(replay(A, 2, INITIALIZED), keep(A, 2))
        return play

    def up_again(self, play: Play, *after: object) -> None:
        play(started(), up(initialize(U)))
        got = play.run(server(result(U, SERVER)))
        assert got == [up(INITIALIZED), *after]

    def test_an_answered_initialize_rebuilds_the_session_without_a_word_and_without_a_server(self) -> None:
        play = self.resumed()
        play(replayed(A))
        play.wait(3600)
        play(host(A, 3, call(1)), launch())
        self.up_again(play, up(call(U + 1)))
        play(server(result(U + 1)), to(A, 3, result(1)))

    def test_rebuilt_sessions_of_one_key_share_a_server_again(self) -> None:
        play = self.resumed()
        play(opened(B, resumed=True), welcome(B))
        play(replay(B, 1, initialize('"b"'), answered=True), keep(B, 1))
        play(host(B, 3, call(1)), launch())
        self.up_again(play, up(call(U + 1)))

    def test_an_unanswered_initialize_is_answered_now(self) -> None:
        play = Play()
        play(opened(A, resumed=True), welcome(A))
        play(replay(A, 1, initialize()), launch())
        play(started(), up(initialize(U)))
        play(server(result(U, SERVER)), knows(A), to(A, 1, result(0, SERVER)))

    @pytest.mark.parametrize("method", sorted(SAFE))
    def test_a_safe_request_is_sent_again_at_most_once_in_the_life_of_its_session(self, method: str) -> None:
        play = self.resumed()
        if method == "ping":
            play(replay(A, 3, ask(7, method)), to(A, 3, result(7)))
        else:
            play(replay(A, 3, ask(7, method)), launch())
            self.up_again(play, up(ask(U + 1, method)))
            play(exited(), Failed(A, 3, 7, errors.OUTCOME_UNKNOWN))
        play(replay(A, 4, ask(8, method), repeated=True), Failed(A, 4, 8, errors.OUTCOME_UNKNOWN))

    @pytest.mark.parametrize("method", ["tools/call", "prompts/get", "x/y", "tasks/result", "tasks/cancel"])
    def test_any_other_request_is_answered_outcome_unknown(self, method: str) -> None:
        play = self.resumed()
        play(replay(A, 3, ask('"x"', method)), Failed(A, 3, '"x"', errors.OUTCOME_UNKNOWN))

    @pytest.mark.parametrize("line", [cancel(1), note("x"), note("notifications/progress"), result(5)])
    def test_other_notifications_and_answers_are_not_repeated(self, line: bytes) -> None:
        play = self.resumed()
        play(replay(A, 3, line), ack(A, 3))

    def test_a_change_of_roots_is_repeated_to_a_server_that_runs(self) -> None:
        changed = note("notifications/roots/list_changed")
        play = self.resumed()
        play(replay(A, 3, changed), ack(A, 3))
        play(host(A, 4, call(1)), launch())
        self.up_again(play, up(call(U + 1)))
        play(opened(B, resumed=True), welcome(B))
        play(replay(B, 1, initialize(), answered=True), keep(B, 1))
        play(replay(B, 3, changed), up(changed), ack(B, 3))

    def test_a_held_subscription_starts_the_server_and_is_restored(self) -> None:
        play = self.resumed()
        line = ask(5, "resources/subscribe", '{"uri":"u"}')
        play(replay(A, 3, line, answered=True), keep(A, 3), launch())
        self.up_again(play, up(ask(U + 1, "resources/subscribe", '{"uri":"u"}')))
        updated = note("notifications/resources/updated", '{"uri":"u"}')
        play(server(updated), to(A, 0, updated))

    def test_a_level_is_restored_when_the_server_starts(self) -> None:
        play = self.resumed()
        play(replay(A, 3, ask(5, "logging/setLevel", '{"level":"error"}'), answered=True), keep(A, 3))
        play(host(A, 4, call(1)), launch())
        self.up_again(play, up(ask(U + 1, "logging/setLevel", '{"level":"error"}')), up(call(U + 2)))

    def test_kept_lines_of_a_session_that_was_not_rebuilt_are_let_go(self) -> None:
        play = Play()
        play(opened(A, resumed=True), welcome(A))
        play(replay(A, 2, INITIALIZED), ack(A, 2))
        play(replay(A, 3, ask(5, "resources/subscribe", '{"uri":"u"}'), answered=True), ack(A, 3))

    @pytest.mark.parametrize(
        "line",
        [
            ask(5, "logging/setLevel", '{"level":"loud"}'),
            ask(5, "resources/subscribe", '{"uri":1}'),
            ask(5, "resources/subscribe", '{"uri":"a","uri":"b"}'),
            ask(5, "tools/list"),
        ],
    )
    def test_a_kept_line_that_restores_nothing_is_let_go(self, line: bytes) -> None:
        play = self.resumed()
        play(replay(A, 3, line, answered=True), ack(A, 3))

    def test_a_line_that_was_no_message_is_judged_again(self) -> None:
        play = self.resumed()
        play(replay(A, 3, b"junk"), Failed(A, 3, "null", errors.PARSE_ERROR))
        play(replay(A, 4, b" "), ack(A, 4))

    def test_replays_to_a_backend_that_is_leaving_are_not_run(self) -> None:
        play = legacy(A)
        play(Shutdown(), GoAway(A), Drop(A, "planned exit"), EXIT)
        play(replay(A, 3, ask(1, "tools/list")))


class TestLarge:
    @pytest.mark.parametrize(("size", "logged"), [(limits.MESSAGE_WARN_BYTES, 0), (limits.MESSAGE_WARN_BYTES + 1, 1)])
    def test_a_message_that_typescript_clients_may_give_up_at_is_logged_and_passes(
        self, size: int, logged: int
    ) -> None:
        assert limits.MESSAGE_WARN_BYTES == 8 * limits.MIB
        play = legacy(A)
        play.logs = True
        line = call(1).replace(b"}", b" " * (size - len(call(1))) + b"}", 1)
        done = play.run(host(A, 3, line))
        assert [action.event for action in done if isinstance(action, Log)] == ["message.large"] * logged
        assert [len(action.data) for action in done if isinstance(action, Forward)] == [size + len(b"%d" % U)]


class TestRemembering:
    def test_only_so_many_base_keys_are_remembered_and_none_that_is_in_use(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "REMEMBERED_KEYS", 3)
        play = Play()
        for number in range(1, 20):
            play(opened(number, key=b"%16d" % number), welcome(number))
            play.run(host(number, 1, initialize()))
        assert len(play.pool._lanes) == 19
        for number in range(1, 20):
            play(closed(number))
        play.wait(GRACE, *(stop(number) for number in range(1, 20)))
        for number in range(1, 20):
            play.run(exited(number, status=0))
        for number in range(20, 26):
            play(opened(number, key=b"%16d" % number), welcome(number))
            play.run(host(number, 1, b'{"jsonrpc":"2.0","id":1,"method":"server/discover"}'))
            play.run(closed(number))
        assert len(play.pool._lanes) <= 19
