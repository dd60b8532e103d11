"""Ids and progress tokens: whose answer, whose progress, whose cancel. MCP base protocol, "Progress"."""

from __future__ import annotations

import pytest

from mux import errors, limits
from tests.core.playbook import (
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
    host,
    initialize,
    launch,
    legacy,
    note,
    opened,
    progress,
    result,
    server,
    started,
    to,
    up,
    welcome,
)

IDS = ["0", '"0"', "7", '"7"', '""', "-1", "1.5", "1e3", "12345678901234567890", r'"\"\\\u0000"', '"U+00e9 \u00e9"']


class TestIds:
    @pytest.mark.parametrize("id_", IDS)
    def test_a_sessions_id_comes_back_verbatim_and_never_goes_up(self, id_: str) -> None:
        play = legacy(A)
        play(host(A, 3, ask(id_, "tools/list")), up(ask(U + 1, "tools/list")))
        play(server(result(U + 1)), to(A, 3, result(id_)))

    @pytest.mark.parametrize("id_", IDS)
    def test_equal_ids_and_tokens_of_two_sessions_do_not_meet(self, id_: str) -> None:
        play = legacy(A, B)
        play(host(A, 3, call(id_, token=id_)), up(call(U + 1, token=U + 1)))
        play(host(B, 3, call(id_, token=id_)), up(call(U + 2, token=U + 2)))
        play(server(progress(U + 2)), to(B, 0, progress(id_)))
        play(server(progress(U + 1)), to(A, 0, progress(id_)))
        play(server(result(U + 2, '"b"')), to(B, 3, result(id_, '"b"')))
        play(server(result(U + 1, '"a"')), to(A, 3, result(id_, '"a"')))

    def test_ids_grow_and_are_never_used_again(self) -> None:
        play = legacy(A)
        for number in range(1, 50):
            play(host(A, number + 2, ask(0, "tools/list")), up(ask(U + number, "tools/list")))
            play(server(result(U + number)), to(A, number + 2, result(0)))

    def test_the_first_id_is_random_and_every_id_stays_below_2_to_the_53(self) -> None:
        assert limits.UPSTREAM_ID_CEILING + 2**40 < 2**53
        for number in (0, 1, limits.UPSTREAM_ID_CEILING - limits.UPSTREAM_ID_FLOOR - 1):
            ceilings: list[int] = []

            def draw(ceiling: int, number: int = number, ceilings: list[int] = ceilings) -> int:
                ceilings.append(ceiling)
                return number

            play = Play(entropy=draw)
            play(opened(A), welcome(A))
            play(host(A, 1, initialize()), launch())
            play(started(), up(initialize(limits.UPSTREAM_ID_FLOOR + number)))
            assert set(ceilings) == {limits.UPSTREAM_ID_CEILING - limits.UPSTREAM_ID_FLOOR}

    @pytest.mark.parametrize("echo", ['"{}"', "{}.0"])
    def test_an_id_echoed_as_a_string_or_a_float_is_accepted(self, echo: str) -> None:
        play = legacy(A)
        play(host(A, 3, ask(7, "tools/list")), up(ask(U + 1, "tools/list")))
        play(server(result(echo.format(U + 1))), to(A, 3, result(7)))

    @pytest.mark.parametrize("id_", ["1", "null", f"{U + 2}", f'"x{U + 1}"', f"{U + 1}.5", "999999999999999999999"])
    def test_an_answer_to_an_id_that_is_not_pending_is_dropped(self, id_: str) -> None:
        play = legacy(A)
        play(host(A, 3, ask(7, "tools/list")), up(ask(U + 1, "tools/list")))
        play(server(result(id_)))
        play(server(result(U + 1)), to(A, 3, result(7)))

    def test_a_second_answer_to_one_request_is_dropped(self) -> None:
        play = legacy(A)
        play(host(A, 3, ask(7, "tools/list")), up(ask(U + 1, "tools/list")))
        play(server(result(U + 1)), to(A, 3, result(7)))
        play(server(result(U + 1)))

    def test_an_id_reused_in_flight_gets_both_answers(self) -> None:
        play = legacy(A)
        play(host(A, 3, call(7)), up(call(U + 1)))
        play(host(A, 4, ask(7, "tools/list")), up(ask(U + 2, "tools/list")))
        play(server(result(U + 1, "1")), to(A, 3, result(7, "1")))
        play(server(result(U + 2, "2")), to(A, 4, result(7, "2")))

    def test_a_cancel_of_an_id_reused_in_flight_hits_the_newest_then_the_older(self) -> None:
        play = legacy(A)
        for number in (1, 2, 3):
            play(host(A, number + 2, call(7)), up(call(U + number)))
        play(server(result(U + 2)), to(A, 4, result(7)))  # the one between the others
        play(host(A, 6, cancel(7)), up(cancel(U + 3)), ack(A, 5), ack(A, 6))
        play(host(A, 7, cancel(7)), up(cancel(U + 1)), ack(A, 3), ack(A, 7))
        play(host(A, 8, cancel(7)), ack(A, 8))

    def test_an_id_spelt_with_escapes_is_the_same_id(self) -> None:
        play = legacy(A)
        play(host(A, 3, call('"a"')), up(call(U + 1)))
        play(host(A, 4, cancel(r'"\u0061"')), up(cancel(U + 1)), ack(A, 3), ack(A, 4))

    def test_a_number_and_the_string_that_looks_like_it_are_two_ids(self) -> None:
        play = legacy(A)
        play(host(A, 3, call('"7"')), up(call(U + 1)))
        play(host(A, 4, cancel(7)), ack(A, 4))


class TestCancel:
    def test_a_cancel_goes_up_under_our_id_with_its_reason(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, call(7)), up(call(U + 1)))
        play(host(B, 3, call(7)), up(call(U + 2)))
        line = note("notifications/cancelled", '{"requestId":7,"reason":"1e400 \\ud800"}')
        play(host(B, 4, line), up(line.replace(b":7,", b":%d," % (U + 2))), ack(B, 3), ack(B, 4))
        play(server(result(U + 1)), to(A, 3, result(7)))

    def test_the_answer_and_the_progress_of_a_cancelled_request_are_swallowed(self) -> None:
        play = legacy(A)
        play(host(A, 3, call(7, token=1)), up(call(U + 1, token=U + 1)))
        play(host(A, 4, cancel(7)), up(cancel(U + 1)), ack(A, 3), ack(A, 4))
        play(server(progress(U + 1)))
        play(server(result(U + 1)))
        play(server(progress(U + 1)))

    def test_a_cancelled_request_that_is_never_answered_is_forgotten_after_a_while(self) -> None:
        play = legacy(A)
        play(host(A, 3, call(7)), up(call(U + 1)))
        play(host(A, 4, cancel(7)), up(cancel(U + 1)), ack(A, 3), ack(A, 4))
        play.wait(limits.TOMBSTONE_SECONDS)
        play(host(A, 5, call(8)), up(call(U + 2)))
        play(server(result(U + 2)), to(A, 5, result(8)))
        assert not play.router.ids.flying

    def test_no_more_cancelled_requests_are_remembered_than_the_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mux.core.ids.TOMBSTONES", 10)
        play = legacy(A)
        for number in range(1, 100):
            play(host(A, 2 * number + 1, call(7)), up(call(U + number)))
            play.run(host(A, 2 * number + 2, cancel(7)))
        assert len(play.router.ids.flying) <= 10

    @pytest.mark.parametrize("line", [cancel(7), cancel(U + 1), cancel("null"), note("notifications/cancelled")])
    def test_a_cancel_of_what_is_unknown_finished_or_anothers_goes_nowhere(self, line: bytes) -> None:
        play = legacy(A, B)
        play(host(B, 3, call(7)), up(call(U + 1)))
        play(host(A, 3, call(7)), up(call(U + 2)))
        play(server(result(U + 2)), to(A, 3, result(7)))
        play(host(A, 4, line), ack(A, 4))
        play(server(result(U + 1)), to(B, 3, result(7)))

    @pytest.mark.parametrize("name", ["requestId", "request\\u0049d"])
    def test_a_cancel_that_names_two_requests_names_none(self, name: str) -> None:
        play = legacy(A)
        play(host(A, 3, call(7)), up(call(U + 1)))
        line = note("notifications/cancelled", f'{{"requestId":7,"{name}":8}}')
        play(host(A, 4, line), ack(A, 4))

    def test_a_cancel_of_initialize_never_goes_up(self) -> None:
        play = legacy(A)
        play(host(A, 3, cancel(0)), ack(A, 3))

    def test_a_cancel_takes_a_waiting_request_out_of_the_queue(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "SESSION_IN_FLIGHT", 1)
        play = legacy(A)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(host(A, 4, call(2)))
        play(host(A, 5, call(3)))
        play(host(A, 6, cancel(2)), ack(A, 4), ack(A, 6))
        play(server(result(U + 1)), to(A, 3, result(1)), up(call(U + 2)))
        play(server(result(U + 2)), to(A, 5, result(3)))

    def test_a_cancel_frees_the_place_of_its_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "SESSION_IN_FLIGHT", 1)
        play = legacy(A)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(host(A, 4, call(2)))
        play(host(A, 5, cancel(1)), up(cancel(U + 1)), ack(A, 3), up(call(U + 2)), ack(A, 5))


class TestProgress:
    def test_progress_comes_back_under_the_sessions_token_with_its_type(self) -> None:
        play = legacy(A)
        for number, token in enumerate(IDS, 1):
            play(host(A, number + 2, call(number, token=token)), up(call(U + number, token=U + number)))
            play(server(progress(U + number)), to(A, 0, progress(token)))
            play(server(progress(f'"{U + number}"')), to(A, 0, progress(token)))

    def test_progress_is_spliced_and_not_rewritten(self) -> None:
        play = legacy(A)
        play(host(A, 3, call(7, token='"t"')), up(call(U + 1, token=U + 1)))
        line = b'{"method":"notifications/progress", "params":{"total":1E400,"progressToken": %b ,"progress":1.0}}'
        line = line.replace(b"{", b'{"jsonrpc":"2.0",', 1)
        play(server(line % b"%d" % (U + 1)), to(A, 0, line % b'"t"'))

    def test_late_progress_reaches_its_session_for_a_while(self) -> None:
        play = legacy(A)
        play(host(A, 3, call(7, token=0)), up(call(U + 1, token=U + 1)))
        play(server(result(U + 1)), to(A, 3, result(7)))
        play.wait(limits.TOMBSTONE_SECONDS - 1)
        play(server(progress(U + 1)), to(A, 0, progress(0)))
        play.wait(1)
        play(server(progress(U + 1)))

    def test_late_progress_does_not_reach_a_session_that_is_gone(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, call(7, token=0)), up(call(U + 1, token=U + 1)))
        play(server(result(U + 1)), to(A, 3, result(7)))
        play(closed(A))
        play(server(progress(U + 1)))

    @pytest.mark.parametrize("token", ["0", f"{U + 9}", '"x"', "null", "[]"])
    def test_progress_with_a_token_that_we_do_not_know_is_dropped(self, token: str) -> None:
        play = legacy(A)
        play(host(A, 3, call(7, token=0)), up(call(U + 1, token=U + 1)))
        play(server(progress(token)))
        assert play.router.dropped == 1

    @pytest.mark.parametrize("params", ["{}", '{"progress":1}', '{"progressToken":1,"progressToken":2}', ""])
    def test_progress_that_names_no_token_is_dropped_whoever_is_at_work(self, params: str) -> None:
        play = legacy(A, B)
        play(server(note("notifications/progress", params)))
        assert play.router.dropped == 1

    def test_progress_for_a_request_without_a_token_is_dropped(self) -> None:
        play = legacy(A)
        play(host(A, 3, call(7)), up(call(U + 1)))
        play(server(progress(U + 1)))

    @pytest.mark.parametrize("token", ["null", "{}", "[1]", "true"])
    def test_a_token_that_is_none_passes_as_it_is(self, token: str) -> None:
        play = legacy(A)
        play(host(A, 3, call(7, token=token)), up(call(U + 1, token=token)))

    def test_a_token_that_stands_twice_is_refused_and_not_forwarded(self) -> None:
        play = legacy(A)
        line = ask(7, "tools/call", '{"_meta":{"progressToken":1,"progressToken":2}}')
        play(host(A, 3, line), Failed(A, 3, 7, errors.INVALID_REQUEST, "ambiguous"))
        line = ask(7, "tools/call", '{"_meta":{"progressToken":1},"_meta":{"progressToken":2}}')
        play(host(A, 4, line), Failed(A, 4, 7, errors.INVALID_REQUEST, "ambiguous"))

    def test_a_token_longer_than_the_limit_is_refused(self) -> None:
        play = legacy(A)
        long = '"' + "x" * limits.ID_BYTES + '"'
        play(host(A, 3, call(7, token=long)), Failed(A, 3, 7, errors.INVALID_REQUEST, "bytes"))
        assert not play.router.quota.in_flight

    def test_no_more_finished_tokens_are_remembered_than_the_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mux.core.ids.TOMBSTONES", 10)
        play = legacy(A)
        for number in range(1, 30):
            play(host(A, number + 2, call(7, token=number)), up(call(U + number, token=U + number)))
            play(server(result(U + number)), to(A, number + 2, result(7)))
        play(server(progress(U + 15)))
        play(server(progress(U + 25)), to(A, 0, progress(25)))
