"""Lines as they arrive: what is long is logged, what is too long is answered for. All else: `test_router`."""

from __future__ import annotations

from mux import errors, limits
from mux.core.actions import Log
from tests.core.playbook import A, Refused, U, ask, call, host, legacy, result, server, to, up

LONG = '"' + "x" * limits.MESSAGE_WARN_BYTES + '"'


def test_a_long_answer_is_logged_by_its_size_alone_and_passes() -> None:
    play = legacy(A)
    play(host(A, 3, call(1)), up(call(U + 1)))
    play.logs = True
    line = result(U + 1, LONG)
    play(
        server(line),
        Log("warning", "message.large", {"upstream": 1, "bytes": len(line)}),
        to(A, 3, result(1, LONG)),
    )


def test_a_long_line_of_a_host_is_logged_by_its_size_alone_and_passes() -> None:
    play = legacy(A)
    play.logs = True
    line = call(1, LONG)
    play(
        host(A, 3, line),
        Log("warning", "message.large", {"session": A, "bytes": len(line)}),
        up(call(U + 1, LONG)),
    )


def test_a_servers_question_above_the_limit_is_answered_with_an_error_and_asked_of_nobody() -> None:
    play = legacy(A, capabilities='{"sampling":{}}')
    play(host(A, 3, call(1)), up(call(U + 1)))
    edges = ask(7, "sampling/createMessage", '{"messages":["' + "x" * 200 + '"]}')
    play(server(edges, oversize=True), Refused(7, errors.MESSAGE_TOO_LARGE))


def test_lines_of_sessions_and_servers_that_are_gone_are_nothing() -> None:
    play = legacy(A)
    play(host(9, 1, call(1)))
    play(server(result(U), process=9))
