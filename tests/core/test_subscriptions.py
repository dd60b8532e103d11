"""`resources/subscribe` of many sessions, counted per URI. PROTOCOL: resources/subscribe, unsubscribe, updated."""

from __future__ import annotations

import pytest

from mux import errors, limits
from tests.core.playbook import (
    INITIALIZED,
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
    cancel,
    closed,
    crash,
    error,
    exited,
    host,
    initialize,
    keep,
    launch,
    legacy,
    note,
    result,
    server,
    started,
    to,
    up,
)


def sub(id_: int, uri: str = "u") -> bytes:
    return ask(id_, "resources/subscribe", f'{{"uri":"{uri}"}}')


def unsub(id_: int, uri: str = "u") -> bytes:
    return ask(id_, "resources/unsubscribe", f'{{"uri":"{uri}"}}')


def updated(uri: str = "u") -> bytes:
    return note("notifications/resources/updated", f'{{"uri":"{uri}"}}')


def held(*sessions: int, uri: str = "u") -> Play:
    """A, B, C share a server; those named hold the URI by their line 3; the next id is U + 2."""
    play = legacy(A, B, C)
    first, *others = sessions
    play(host(first, 3, sub(1, uri)), up(sub(U + 1, uri)))
    play(server(result(U + 1)), keep(first, 3), to(first, 3, result(1)))
    for session in others:
        play(host(session, 3, sub(1, uri)), keep(session, 3), to(session, 3, result(1)))
    return play


class TestCounting:
    def test_only_the_first_subscription_and_the_last_cancellation_go_up(self) -> None:
        play = held(A, B)
        play(host(A, 4, unsub(2)), ack(A, 3), to(A, 4, result(2)))
        play(host(B, 4, unsub(2)), up(unsub(U + 2)))
        play(server(result(U + 2)), ack(B, 3), to(B, 4, result(2)))
        play(host(C, 3, sub(1)), up(sub(U + 3)))

    def test_uris_are_counted_apart(self) -> None:
        play = held(A)
        play(host(B, 3, sub(1, "v")), up(sub(U + 2, "v")))

    def test_a_uri_spelt_with_escapes_is_the_same_uri(self) -> None:
        play = held(A)
        play(host(B, 3, sub(1, "\\u0075")), keep(B, 3), to(B, 3, result(1)))

    def test_a_second_subscription_of_one_session_counts_once_and_its_newest_line_is_kept(self) -> None:
        play = held(A)
        play(host(A, 4, sub(2)), ack(A, 3), keep(A, 4), to(A, 4, result(2)))
        play(host(A, 5, unsub(3)), up(unsub(U + 2)))
        play(server(result(U + 2)), ack(A, 4), to(A, 5, result(3)))

    def test_an_unsubscription_of_what_nobody_holds_is_the_servers_to_judge(self) -> None:
        play = legacy(A)
        play(host(A, 3, unsub(1)), up(unsub(U + 1)))
        play(server(error(U + 1, -1, "no")), to(A, 3, error(1, -1, "no")))
        assert not play.router.subscriptions.topics

    def test_an_unsubscription_of_what_others_hold_leaves_them_alone(self) -> None:
        play = held(A)
        play(host(B, 3, unsub(1)), to(B, 3, result(1)))
        play(server(updated()), to(A, 0, updated()))

    def test_a_refused_subscription_counts_nothing(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, sub(1)), up(sub(U + 1)))
        play(server(error(U + 1, -1, "no")), to(A, 3, error(1, -1, "no")))
        play(server(updated()))
        play(host(B, 3, sub(1)), up(sub(U + 2)))

    def test_a_refused_unsubscription_changes_nothing(self) -> None:
        play = held(A)
        play(host(A, 4, unsub(2)), up(unsub(U + 2)))
        play(server(error(U + 2, -1, "no")), to(A, 4, error(2, -1, "no")))
        play(server(updated()), to(A, 0, updated()))

    @pytest.mark.parametrize("params", ['{"uri":7}', "{}", "[]"])
    def test_a_request_without_a_uri_is_the_servers_to_judge(self, params: str) -> None:
        play = legacy(A)
        play(host(A, 3, ask(1, "resources/subscribe", params)), up(ask(U + 1, "resources/subscribe", params)))
        play(server(result(U + 1)), to(A, 3, result(1)))

    def test_a_uri_that_stands_twice_is_refused(self) -> None:
        play = legacy(A)
        line = ask(1, "resources/subscribe", '{"uri":"a","uri":"b"}')
        play(host(A, 3, line), Failed(A, 3, 1, errors.INVALID_REQUEST, "ambiguous"))

    def test_a_progress_token_that_stands_twice_is_refused_and_blocks_nobody(self) -> None:
        play = legacy(A, B)
        line = ask(1, "resources/subscribe", '{"uri":"u","_meta":{"progressToken":1,"progressToken":2}}')
        play(host(A, 3, line), Failed(A, 3, 1, errors.INVALID_REQUEST, "ambiguous"))
        play(host(B, 3, sub(1)), up(sub(U + 1)))


class TestSerialised:
    def test_a_second_subscription_waits_for_the_first_to_be_agreed(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, sub(1)), up(sub(U + 1)))
        play(host(B, 3, sub(1)))
        play(
            server(result(U + 1)),
            keep(A, 3),
            to(A, 3, result(1)),
            keep(B, 3),
            to(B, 3, result(1)),
        )

    def test_a_second_subscription_goes_up_when_the_first_was_refused(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, sub(1)), up(sub(U + 1)))
        play(host(B, 3, sub(1)))
        play(server(error(U + 1, -1, "no")), to(A, 3, error(1, -1, "no")), up(sub(U + 2)))
        play(server(result(U + 2)), keep(B, 3), to(B, 3, result(1)))

    def test_a_subscription_during_the_last_cancellation_goes_up_after_it(self) -> None:
        play = held(A)
        play(host(A, 4, unsub(2)), up(unsub(U + 2)))
        play(host(B, 3, sub(1)))
        play(server(result(U + 2)), ack(A, 3), to(A, 4, result(2)), up(sub(U + 3)))
        play(server(result(U + 3)), keep(B, 3), to(B, 3, result(1)))

    def test_changes_of_one_session_in_a_row_are_all_made_in_order(self) -> None:
        play = legacy(A)
        play(host(A, 3, sub(1)), up(sub(U + 1)))
        play(host(A, 4, unsub(2)))
        play(host(A, 5, sub(3)))
        play(server(result(U + 1)), keep(A, 3), to(A, 3, result(1)), up(unsub(U + 2)))
        play(server(result(U + 2)), ack(A, 3), to(A, 4, result(2)), up(sub(U + 3)))
        play(server(result(U + 3)), keep(A, 5), to(A, 5, result(3)))

    def test_a_cancel_of_a_change_changes_nothing(self) -> None:
        play = legacy(A)
        play(host(A, 3, sub(1)), up(sub(U + 1)))
        play(host(A, 4, cancel(1)), ack(A, 4))
        play(server(result(U + 1)), keep(A, 3), to(A, 3, result(1)))

    def test_thousands_of_waiting_changes_end_with_their_server(self) -> None:
        play = legacy(A)
        for seq in range(3, 3003):
            play.run(host(A, seq, sub(seq) if seq % 2 else unsub(seq)))
        play.router.upstream.failures.extend([play.now] * limits.BREAKER_FAILURES)
        answered = [action.seq for action in play.run(exited())]  # type: ignore[union-attr]
        assert sorted(answered) == list(range(3, 3003))
        assert not play.pool.sessions[A].open


class TestLeaving:
    def test_a_session_that_leaves_drops_its_subscription_and_the_last_one_tells_the_server(self) -> None:
        play = held(A, B)
        play(closed(A))
        play(closed(B), up(unsub(U + 2)))
        play(server(result(U + 2)))
        assert not play.router.subscriptions.topics

    def test_a_subscription_agreed_after_its_session_left_is_taken_back(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, sub(1)), up(sub(U + 1)))
        play(closed(A))
        play(server(result(U + 1)), up(unsub(U + 2)))
        play(host(B, 3, sub(1)))
        play(server(result(U + 2)), up(sub(U + 3)))

    def test_a_subscription_agreed_after_its_session_left_serves_the_next_one(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, sub(1)), up(sub(U + 1)))
        play(host(B, 3, sub(1)))
        play(closed(A))
        play(server(result(U + 1)), up(unsub(U + 2)))
        play(server(result(U + 2)), up(sub(U + 3)))
        play(server(result(U + 3)), keep(B, 3), to(B, 3, result(1)))

    def test_a_session_that_leaves_during_its_last_cancellation_blocks_nobody(self) -> None:
        play = held(A)
        play(host(A, 4, unsub(2)), up(unsub(U + 2)))
        play(closed(A))
        play(host(B, 3, sub(1)))
        play(server(result(U + 2)), up(sub(U + 3)))

    def test_a_session_that_leaves_during_the_restoration_is_taken_back(self) -> None:
        play = held(A)
        crash(play)
        play.wait(1, launch(2, 2))
        play(started(2), up(initialize(U2), 2))
        play(server(result(U2, SERVER), 2), up(INITIALIZED, 2), up(sub(U2 + 1), 2))
        play(closed(A))
        play(server(result(U2 + 1), 2), up(unsub(U2 + 2), 2))
        play(server(result(U2 + 2), 2))
        assert not play.router.subscriptions.topics

    def test_what_waited_of_a_session_that_left_is_passed_over(self) -> None:
        play = legacy(A, B, C)
        play(host(A, 3, sub(1)), up(sub(U + 1)))
        play(host(B, 3, sub(1)))
        play(host(C, 3, sub(1)))
        play(closed(B))
        play(server(result(U + 1)), keep(A, 3), to(A, 3, result(1)), keep(C, 3), to(C, 3, result(1)))

    def test_a_change_that_is_never_answered_is_given_up_after_its_session_left(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, sub(1)), up(sub(U + 1)))
        play(closed(A))
        play(host(B, 3, sub(1)))
        play.wait(limits.TOMBSTONE_SECONDS)
        play(host(B, 4, ask(2, "tools/list")), up(ask(U + 2, "tools/list")))
        play(server(result(U + 2)), to(B, 4, result(2)), up(sub(U + 3)))


class TestCrash:
    def test_a_held_uri_starts_the_next_generation_and_is_restored_once(self) -> None:
        play = held(A, B)
        play(exited())
        play.wait(1, launch(2, 2))
        play(started(2), up(initialize(U2), 2))
        play(server(result(U2, SERVER), 2), up(INITIALIZED, 2), up(sub(U2 + 1), 2))
        play(server(updated(), 2), to(A, 0, updated()), to(B, 0, updated()))

    def test_a_subscription_in_flight_is_made_again(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, sub(1)), up(sub(U + 1)))
        play(host(B, 3, sub(1)))
        play(exited())
        play.wait(1, launch(2, 2))
        play(started(2), up(initialize(U2), 2))
        play(server(result(U2, SERVER), 2), up(INITIALIZED, 2), up(sub(U2 + 1), 2))
        play(server(result(U2 + 1), 2), keep(A, 3), to(A, 3, result(1)), keep(B, 3), to(B, 3, result(1)))

    def test_a_cancellation_repeated_to_a_generation_that_refuses_it_restores_the_subscription(self) -> None:
        play = held(A)
        play(host(A, 4, unsub(2)), up(unsub(U + 2)))
        play(exited())
        play.wait(1, launch(2, 2))
        play(started(2), up(initialize(U2), 2))
        play(server(result(U2, SERVER), 2), up(INITIALIZED, 2), up(unsub(U2 + 1), 2))
        play(server(error(U2 + 1, -1, "none"), 2), up(sub(U2 + 2), 2), to(A, 4, error(2, -1, "none")))

    def test_a_subscription_whose_session_left_is_forgotten_with_its_server(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, sub(1)), up(sub(U + 1)))
        play(closed(A))
        play(exited())
        play.wait(60)
        play(host(B, 3, sub(1)), launch(2, 2))

    def test_a_failed_restoration_is_not_tried_in_a_loop(self) -> None:
        play = held(A)
        crash(play)
        play.wait(1, launch(2, 2))
        play(started(2), up(initialize(U2), 2))
        play(server(result(U2, SERVER), 2), up(INITIALIZED, 2), up(sub(U2 + 1), 2))
        play(server(error(U2 + 1, -1, "no"), 2))


class TestUpdated:
    def test_only_subscribers_of_that_uri_hear_of_it(self) -> None:
        play = held(A, B)
        play(host(C, 3, sub(1, "v")), up(sub(U + 2, "v")))
        play(server(result(U + 2)), keep(C, 3), to(C, 3, result(1)))
        play(server(updated()), to(A, 0, updated()), to(B, 0, updated()))
        play(server(updated("v")), to(C, 0, updated("v")))

    def test_a_part_of_a_held_uri_goes_to_its_longest_prefix(self) -> None:
        play = held(A, uri="file:///a/")
        play(host(B, 3, sub(1, "file:///a/b/")), up(sub(U + 2, "file:///a/b/")))
        play(server(result(U + 2)), keep(B, 3), to(B, 3, result(1)))
        play(server(updated("file:///a/b/c")), to(B, 0, updated("file:///a/b/c")))
        play(server(updated("file:///a/x")), to(A, 0, updated("file:///a/x")))
        play(server(updated("file:///b")))

    def test_a_uri_spelt_with_escapes_is_recognised(self) -> None:
        play = held(A)
        play(server(updated("\\u0075")), to(A, 0, updated("\\u0075")))

    @pytest.mark.parametrize("params", ["", "{}", '{"uri":7}', '{"uri":"u","uri":"v"}'])
    def test_an_update_of_nothing_is_dropped(self, params: str) -> None:
        play = held(A)
        play(server(note("notifications/resources/updated", params)))
        assert play.router.dropped == 1


class TestKept:
    def test_beyond_the_kept_lines_a_subscription_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "KEPT_LINES", 2)
        play = legacy(A, B)
        play(host(A, 3, sub(1, "a")), up(sub(U + 1, "a")))
        play(host(A, 4, sub(2, "b")), up(sub(U + 2, "b")))
        play(host(A, 5, sub(3, "c")), Failed(A, 5, 3, errors.OVERLOADED, "subscriptions"))
        play(host(B, 3, sub(1, "c")), up(sub(U + 3, "c")))
        play(server(error(U + 1, -1, "no")), to(A, 3, error(1, -1, "no")))
        play(host(A, 6, sub(4, "d")), up(sub(U + 4, "d")))

    def test_beyond_the_kept_bytes_a_subscription_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "KEPT_BYTES", 2 * len(sub(1)))
        play = legacy(A)
        play(host(A, 3, sub(1, "a")), up(sub(U + 1, "a")))
        play(host(A, 4, sub(2, "b")), up(sub(U + 2, "b")))
        play(host(A, 5, sub(3, "c")), Failed(A, 5, 3, errors.OVERLOADED))
        play(server(result(U + 1)), keep(A, 3), to(A, 3, result(1)))
        play(host(A, 6, unsub(4, "a")), up(unsub(U + 3, "a")))
        play(server(result(U + 3)), ack(A, 3), to(A, 6, result(4)))
        play(host(A, 7, sub(5, "c")), up(sub(U + 4, "c")))
