"""Answers of a host to questions of its server that can not be passed on. PROTOCOL: "responses", "oversize line"."""

from __future__ import annotations

import pytest

from mux import errors
from mux.core.actions import Deliver
from tests.core.playbook import (
    A,
    B,
    Failed,
    Play,
    Refused,
    U,
    ack,
    ask,
    call,
    host,
    initialize,
    legacy,
    result,
    server,
    up,
)

HIDDEN = b'{"result":{"text":"' + b"x" * 100 + b'"},"id":7,"more":{"text":"' + b"x" * 100 + b'"}}'
"""As its two ends show it, an answer to who knows what."""


def asked(*numbers: int) -> tuple[Play, list[str]]:
    """A was asked so many questions; their ids."""
    play = legacy(A, capabilities='{"sampling":{}}')
    play(host(A, 3, call(1)), up(call(U + 1)))
    found = []
    for number in numbers:
        (put,) = play.run(server(ask(number, "sampling/createMessage")))
        assert isinstance(put, Deliver)
        found.append(put.data.split(b'"id":')[1].split(b",")[0].decode())
    return play, found


def test_for_an_oversize_answer_the_server_that_asked_gets_an_error() -> None:
    play, (uid,) = asked(0)
    line = result(uid, '"' + "x" * 100 + '"')
    play(host(A, 4, line, oversize=True), Refused(0, errors.MESSAGE_TOO_LARGE, "The client"), ack(A, 4))
    play(host(A, 5, line, oversize=True), ack(A, 5))


def test_for_an_oversize_answer_without_a_visible_id_it_does_too_if_only_one_question_is_open() -> None:
    play, _ = asked(0)
    told = Failed(A, 4, "null", errors.MESSAGE_TOO_LARGE)
    play(host(A, 4, HIDDEN, oversize=True), Refused(0, errors.MESSAGE_TOO_LARGE, "The client"), told)


def test_with_several_open_nobody_guesses_which_it_was() -> None:
    play, (first, _) = asked(0, 5)
    play(host(A, 4, HIDDEN, oversize=True), Failed(A, 4, "null", errors.MESSAGE_TOO_LARGE))
    play(host(A, 5, result(first)), up(result(0)), ack(A, 5))


@pytest.mark.parametrize(
    "line",
    [
        '{"jsonrpc":"2.0","id":%s,"result":{"x":oops}}',
        '{"jsonrpc":"2.0","id":%s,"result":{},"error":{}}',
        '{"jsonrpc":"2.0","id":%s,"result":{},"result":{}}',
        '{"jsonrpc":"2.0","id":%s,"result":{"text":"cut',
        '{"id":%s,"result":{}}',
        '{"result":{"x":oops},"jsonrpc":"2.0","id":%s}',
        '{"jsonrpc":"2.0","id":%s,"result":{"text":"a\rb"}}',
        '{"jsonrpc":"2.0","id":%s,"result":' + "[" * 5000 + "]" * 5000 + "}",
    ],
)
def test_for_a_malformed_answer_the_server_gets_an_error_and_its_sender_too(line: str) -> None:
    play, (uid, other) = asked(0, 5)
    refusal, told = play.run(host(A, 4, (line % uid).encode()))
    assert refusal == Refused(0, errors.INTERNAL_ERROR, "no message")
    assert isinstance(told, Deliver)
    assert b'"error"' in told.data
    play(host(A, 5, result(uid)), ack(A, 5))
    play(host(A, 6, result(other)), up(result(5)), ack(A, 6))


@pytest.mark.parametrize("line", [b'{"jsonrpc":"2.0","id":%s,"method":3}', b"[%s]", b"%s", b'"%s"', b"{%s"])
def test_a_malformed_line_that_is_no_answer_answers_nothing(line: bytes) -> None:
    play, (uid,) = asked(0)
    (told,) = play.run(host(A, 4, line.replace(b"%s", uid.encode())))
    assert isinstance(told, Deliver)
    play(host(A, 5, result(uid)), up(result(0)), ack(A, 5))


def test_another_sessions_question_is_not_answered_so() -> None:
    play, (uid,) = asked(0)
    play.join(B, initialize(0, '{"sampling":{}}'))
    (told,) = play.run(host(B, 3, b'{"jsonrpc":"2.0","id":%b,"result":oops}' % uid.encode()))
    assert isinstance(told, Deliver)
    play(host(A, 4, result(uid)), up(result(0)), ack(A, 4))
