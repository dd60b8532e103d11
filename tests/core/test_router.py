"""Requests of many sessions on one server: payloads, limits, and those that leave. PROTOCOL: "Both eras"."""

from __future__ import annotations

import pytest

from mux import errors, limits
from tests.core.playbook import (
    A,
    B,
    C,
    Failed,
    U,
    ack,
    ask,
    call,
    cancel,
    closed,
    dismiss,
    eof,
    error,
    gone,
    host,
    legacy,
    note,
    progress,
    result,
    server,
    to,
    up,
)

# what "payload bytes stay" is about: each survives no decoding and encoding
BYTES = [
    "1e400",
    "-1E400",
    "1.0",
    "1.10",
    "-0",
    "12345678901234567890123456789",
    "NaN",
    "[Infinity,-Infinity]",
    '"\\ud800"',
    '"\\u0041\\/\\u2028"',
    '"\u2028\u00e9\U0001f600"',
    '{"b":1,"a":2,"b":3}',
    '{ "z" : [ 1 ,2 ] , "y":{} }',
    '"' + "x" * 100_000 + '"',
    "[" * 400 + "]" * 400,
]


@pytest.mark.parametrize("value", BYTES, ids=lambda value: str(value)[:20].encode("unicode_escape").decode())
class TestPayload:
    def test_params_reach_the_server_byte_for_byte(self, value: str) -> None:
        play = legacy(A)
        play(host(A, 3, call(7, value)), up(call(U + 1, value)))

    def test_a_result_reaches_the_host_byte_for_byte(self, value: str) -> None:
        play = legacy(A)
        play(host(A, 3, call(7)), up(call(U + 1)))
        play(server(result(U + 1, value)), to(A, 3, result(7, value)))

    def test_an_error_reaches_the_host_byte_for_byte(self, value: str) -> None:
        play = legacy(A)
        play(host(A, 3, call(7)), up(call(U + 1)))
        tail = f',"error":{{"code":-1,"message":"no","data":{value}}}}}'.encode()
        play(
            server(b'{"jsonrpc":"2.0","id":%d' % (U + 1) + tail),
            to(A, 3, b'{"jsonrpc":"2.0","id":7' + tail),
        )

    def test_a_typescript_answer_reaches_the_host_byte_for_byte(self, value: str) -> None:
        play = legacy(A)
        play(host(A, 3, call(7)), up(call(U + 1)))
        head = f'{{"result":{{"x":{value}}},"jsonrpc":"2.0","id":'.encode()
        play(server(head + b"%d}" % (U + 1)), to(A, 3, head + b"7}"))


class TestMalformed:
    @pytest.mark.parametrize(
        ("line", "code"),
        [
            (b"nonsense", errors.PARSE_ERROR),
            (b'{"jsonrpc":"2.0","id":1,"method":"x"', errors.PARSE_ERROR),
            (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', errors.PARSE_ERROR),
            (b"[]", errors.INVALID_REQUEST),
            (b"7", errors.INVALID_REQUEST),
            (b'{"jsonrpc":"2.0","id":null,"method":"x"}', errors.INVALID_REQUEST),
            (b'{"jsonrpc":"2.0","id":{},"method":"x"}', errors.INVALID_REQUEST),
            (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}', errors.INVALID_REQUEST),
            (b'{"jsonrpc":"2.0","id":1,"method":"x","\\u006dethod":"y"}', errors.INVALID_REQUEST),
        ],
    )
    def test_a_line_that_is_no_message_is_an_error_for_its_sender_alone(self, line: bytes, code: int) -> None:
        play = legacy(A, B)
        play(host(A, 3, line), Failed(A, 3, "null", code))
        play(host(A, 4, ask(1, "tools/list")), up(ask(U + 1, "tools/list")))

    def test_an_empty_line_is_nothing(self) -> None:
        play = legacy(A)
        play(host(A, 3, b" \t\r"), ack(A, 3))

    def test_a_servers_line_that_is_no_message_reaches_nobody(self) -> None:
        play = legacy(A)
        for line in (b"log: listening", b"[]", b"7", b'{"jsonrpc":"2.0"}', b"\xff", b""):
            play(server(line))
        assert play.router.dropped == 5

    def test_an_unknown_method_and_an_unknown_notification_pass(self) -> None:
        play = legacy(A)
        play(host(A, 3, ask(7, "x/y", "[1.0]")), up(ask(U + 1, "x/y", "[1.0]")))
        play(host(A, 4, note("notifications/x", "[1.0]")), up(note("notifications/x", "[1.0]")), ack(A, 4))
        play(
            host(A, 5, note("notifications/roots/list_changed")),
            up(note("notifications/roots/list_changed")),
            ack(A, 5),
        )
        play(server(error(U + 1, -32601, "no")), to(A, 3, error(7, -32601, "no")))

    @pytest.mark.parametrize("line", [progress(1), result(5), error(5, -1, "x"), note("notifications/tasks/status")])
    def test_an_answer_or_progress_that_nobody_asked_for_goes_nowhere(self, line: bytes) -> None:
        play = legacy(A)
        play(host(A, 3, line), ack(A, 3))


class TestLists:
    @pytest.mark.parametrize("kind", ["tools", "prompts", "resources", "resources/templates"])
    def test_a_list_is_asked_of_the_server_each_time_and_by_each_session(self, kind: str) -> None:
        """A list may vary, and a cursor means what its server says: nothing is answered from what was seen before."""
        play = legacy(A, B)
        for number, (session, cursor) in enumerate(((A, '"1"'), (A, '"2"'), (B, '"1"'), (B, '"2"')), 1):
            line = [ask(id_, f"{kind}/list", f'{{"cursor":{cursor}}}') for id_ in (7, U + number)]
            play(host(session, 3 + number, line[0]), up(line[1]))
            play(server(result(U + number, f"[{number}]")), to(session, 3 + number, result(7, f"[{number}]")))


class TestOversize:
    EDGES = b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":"aaaa' + b"x" * 20 + b"x" * 70 + b'"}}'

    def test_an_oversize_request_is_answered_by_id_and_the_session_lives_on(self) -> None:
        play = legacy(A)
        play(host(A, 3, self.EDGES, oversize=True), Failed(A, 3, 7, errors.MESSAGE_TOO_LARGE, "The client"))
        play(host(A, 4, ask(7, "tools/list")), up(ask(U + 1, "tools/list")))

    def test_an_oversize_line_without_an_id_is_an_error_with_id_null(self) -> None:
        play = legacy(A)
        play(host(A, 3, b"x" * 100, oversize=True), Failed(A, 3, "null", errors.MESSAGE_TOO_LARGE))

    def test_an_oversize_answer_becomes_an_error_for_the_one_who_asked(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, call(7)), up(call(U + 1)))
        play(host(B, 3, call(7)), up(call(U + 2)))
        line = result(U + 2, '"' + "x" * 100 + '"')
        play(server(line, oversize=True), Failed(B, 3, 7, errors.MESSAGE_TOO_LARGE, "The server"))
        play(server(line))
        play(server(result(U + 1)), to(A, 3, result(7)))

    def test_an_oversize_line_of_a_server_that_answers_nothing_is_dropped(self) -> None:
        play = legacy(A)
        play(server(b"x" * 100, oversize=True))
        play(server(note("x", '"' + "x" * 100 + '"'), oversize=True))


class TestQuota:
    def test_requests_over_the_limit_of_a_session_wait_their_turn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "SESSION_IN_FLIGHT", 2)
        play = legacy(A, B)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(host(A, 4, call(2)), up(call(U + 2)))
        play(host(A, 5, call(3)))
        play(host(B, 3, call(1)), up(call(U + 3)))
        assert [play.pool.unanswered(session) for session in (A, B, C)] == [3, 1, 0]
        play(server(result(U + 2)), to(A, 4, result(2)), up(call(U + 4)))
        play(server(result(U + 4)), to(A, 5, result(3)))
        assert play.pool.unanswered(A) == 1

    def test_requests_over_the_limit_of_a_server_go_up_round_robin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "UPSTREAM_IN_FLIGHT", 1)
        play = legacy(A, B, C)
        play(host(C, 3, call(0)), up(call(U + 1)))
        for session in (A, B):
            for number in (1, 2):
                play(host(session, number + 2, call(number, f'"{session}"')))
        for uid, (number, session) in enumerate([(1, A), (1, B), (2, A), (2, B)], U + 2):
            got = play.run(server(result(uid - 1)))
            assert got[1:] == [up(call(uid, f'"{session}"'))], number

    def test_answers_cancels_and_notifications_never_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "UPSTREAM_IN_FLIGHT", 1)
        play = legacy(A)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(host(A, 4, call(2)))
        play(host(A, 5, note("x")), up(note("x")), ack(A, 5))
        play(host(A, 6, cancel(1)), up(cancel(U + 1)), ack(A, 3), up(call(U + 2)), ack(A, 6))

    def test_more_requests_than_the_limit_are_answered_overloaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "SESSION_WAITING", 3)
        play = legacy(A)
        for number in (1, 2, 3):
            play(host(A, number + 2, call(number)), up(call(U + number)))
        play(host(A, 6, call(4)), Failed(A, 6, 4, errors.OVERLOADED))
        play(host(A, 7, ask(5, "resources/subscribe", '{"uri":"u"}')), Failed(A, 7, 5, errors.OVERLOADED))
        play(host(A, 8, note("x")), up(note("x")), ack(A, 8))
        play(server(result(U + 1)), to(A, 3, result(1)))
        play(host(A, 9, call(4)), up(call(U + 4)))


class TestLeaving:
    def test_the_requests_of_a_session_that_is_gone_are_cancelled_and_their_answers_dropped(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(host(A, 4, call(1)), up(call(U + 2)))
        play(host(B, 3, call(1)), up(call(U + 3)))
        play(closed(A), up(gone(U + 2)), up(gone(U + 1)))
        play(server(result(U + 1)))
        play(server(error(U + 2, -1, "cancelled")))
        play(server(result(U + 3)), to(B, 3, result(1)))

    def test_a_call_that_returned_a_task_is_not_cancelled(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, ask(1, "tools/call", '{"task":{}}')), up(ask(U + 1, "tools/call", '{"task":{}}')))
        task = '{"task":{"taskId":"t"}}'
        play(server(result(U + 1, task)), to(A, 3, result(1, task)))
        play(closed(A))

    def test_what_waited_of_a_session_that_is_gone_never_goes_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "UPSTREAM_IN_FLIGHT", 1)
        play = legacy(A, B)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(host(A, 4, call(2)))
        play(host(B, 3, call(1)))
        play(closed(A), up(gone(U + 1)), up(call(U + 2)))
        play(server(result(U + 2)), to(B, 3, result(1)))

    def test_a_request_that_sets_state_is_not_cancelled_when_its_session_goes(self) -> None:
        play = legacy(A, B)
        line = '{"uri":"u"}'
        play(host(A, 3, ask(1, "resources/subscribe", line)), up(ask(U + 1, "resources/subscribe", line)))
        play(closed(A))

    def test_the_end_of_input_waits_for_what_is_open_and_then_dismisses(self) -> None:
        play = legacy(A)
        play(host(A, 3, call(1)), up(call(U + 1)))
        play(host(A, 4, call(2)), up(call(U + 2)))
        play(eof(A))
        play(server(result(U + 1)), to(A, 3, result(1)))
        play(server(result(U + 2)), to(A, 4, result(2)), dismiss(A))
        play(eof(A))

    def test_the_end_of_input_with_nothing_open_dismisses_at_once_and_only_once(self) -> None:
        play = legacy(A)
        play(eof(A), dismiss(A))
        play(eof(A))
        play(closed(A))
        play(closed(A))
        play(eof(A))
        play(host(A, 3, call(1)))
