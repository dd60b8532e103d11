"""Questions of a server, as dialogues. PROTOCOL: "Legacy, server → client"."""

from __future__ import annotations

import pytest

from mux import errors, limits
from tests.core.playbook import (
    DRAW,
    RELATED,
    SERVER,
    A,
    B,
    Play,
    Q,
    Refused,
    U,
    ack,
    ask,
    call,
    cancel,
    closed,
    crash,
    host,
    initialize,
    launch,
    legacy,
    opened,
    result,
    server,
    started,
    to,
    up,
    welcome,
)

ABLE = '{"sampling":{},"roots":{}}'


@pytest.mark.parametrize("id_", ["0", '"0"', "1.5", '"\\u0041"', "12345678901234567890"])
def test_a_question_and_its_answer_pass_byte_for_byte_under_other_ids(id_: str) -> None:
    play = legacy(A, capabilities=ABLE)
    play(host(A, 3, call(1)), up(call(U + 1)))
    body = '{"messages":[1E400,"\\ud800"] , "b":1,"a":2,"b":3}'
    play(
        server(ask(id_, "sampling/createMessage", body)),
        to(A, 0, ask(Q, "sampling/createMessage", body)),
    )
    play(host(A, 4, result(Q, body)), up(result(id_, body)), ack(A, 4))


def test_a_custom_request_goes_to_the_one_at_work_whatever_it_declared() -> None:
    play = legacy(A, B)
    play(host(B, 3, call(1)), up(call(U + 1)))
    play(server(ask(0, "vendor/ask")), to(B, 0, ask(Q, "vendor/ask")))


def test_the_task_of_a_session_that_is_gone_is_asked_of_nobody_else() -> None:
    play = legacy(A, B, capabilities=ABLE)
    play.run(host(A, 3, ask(1, "tools/call", '{"task":{}}')))
    play.run(server(result(U + 1, '{"task":{"taskId":"t"}}')))
    play(closed(A))
    play(host(B, 3, call(1)), up(call(U + 2)))
    related = f'{{"_meta":{{"{RELATED}":{{"taskId":"t"}}}}}}'
    play(server(ask(0, "sampling/createMessage", related)), Refused(0, errors.INTERNAL_ERROR, "gone"))


def test_an_answer_of_a_session_that_was_not_asked_goes_nowhere() -> None:
    play = legacy(A, B, capabilities=ABLE)
    play(host(A, 3, call(1)), up(call(U + 1)))
    play.run(server(ask(0, "sampling/createMessage")))
    play(host(B, 3, result(Q)), ack(B, 3))
    play(host(A, 4, result(0)), ack(A, 4))
    play(host(A, 5, result(Q)), up(result(0)), ack(A, 5))


def test_an_answer_to_a_dead_servers_question_does_not_reach_the_next() -> None:
    play = legacy(A, capabilities=ABLE)
    play(host(A, 3, call(1)), up(call(U + 1)))
    play.run(server(ask(0, "sampling/createMessage")))
    assert crash(play)[0] == to(A, 0, cancel(Q))
    play(host(A, 4, call(1)))
    play.wait(1, launch(2, 2))
    play.run(started(2))
    play(host(A, 5, result(Q)), ack(A, 5))


def test_questions_are_numbered_from_a_random_start_that_no_generation_shares() -> None:
    play = legacy(A, capabilities=ABLE)
    starts = {play.router.questions.ask(play.pool.sessions[A], b"1", "x").id}
    other = Play(entropy=lambda ceiling: ceiling - 1)
    other(opened(A), welcome(A))
    other.run(host(A, 1, initialize()))
    starts.add(other.router.questions.ask(other.pool.sessions[A], b"1", "x").id)
    assert starts == {b"%d" % Q, b"%d" % (limits.UPSTREAM_ID_CEILING - 1)}


def test_a_server_may_ping_before_it_has_answered_initialize() -> None:
    play = Play()
    play(opened(A), welcome(A))
    play(host(A, 1, initialize()), launch())
    play(started(), up(initialize(U)))
    play(server(ask('"x"', "ping")), up(result('"x"')))


def test_a_request_of_a_server_that_is_too_large_is_refused_to_it() -> None:
    play = legacy(A, capabilities=ABLE)
    line = ask(7, "sampling/createMessage", '{"a":"' + "x" * 100 + '"}')
    play(server(line, oversize=True), Refused(7, errors.MESSAGE_TOO_LARGE, "The server"))


ROOTS = ask(5, "roots/list")


def roots(id_: int, *uris: str) -> bytes:
    return result(id_, '{"roots":[' + ",".join(f'{{"uri":"{uri}"}}' for uri in uris) + "]}")


def surveyed() -> Play:
    """A and B have been asked for their roots."""
    play = legacy(A, B, capabilities=ABLE)
    asked = [to(session, 0, ask(Q + number, "roots/list")) for number, session in enumerate((A, B))]
    play(server(ROOTS), *asked)
    return play


def test_roots_are_asked_of_the_one_session_at_work_and_pass_as_they_are() -> None:
    play = legacy(A, B, capabilities=ABLE)
    play(host(B, 3, call(1)), up(call(U + 1)))
    play(server(ROOTS), to(B, 0, ask(Q, "roots/list")))
    odd = '{"roots":[{"uri":"b"},{"uri":"b"}],"x":1.0}'
    play(host(B, 4, result(Q, odd)), up(result(5, odd)), ack(B, 4))


def test_several_at_work_and_a_session_that_is_gone_at_work_both_mean_all() -> None:
    play = legacy(A, B, capabilities=ABLE)
    for number, session in enumerate((A, B), 1):
        play(host(session, 3, call(1)), up(call(U + number)))
    assert len(play.run(server(ROOTS))) == 2
    assert not play.router.turns.needed
    play = legacy(A, B, capabilities=ABLE)
    play(host(A, 3, call(1)), up(call(U + 1)))
    play.run(closed(A))
    play(server(ROOTS), to(B, 0, ask(Q, "roots/list")))


def test_a_survey_of_roots_dies_with_its_server() -> None:
    play = surveyed()
    crash(play)
    play(host(A, 3, call(1)))
    play.wait(1, launch(2, 2))
    play.run(started(2))
    play.run(server(result(U + 4 * DRAW, SERVER), 2))
    play.wait(limits.SURVEY_SECONDS)
    play(host(A, 4, roots(Q, "a")), ack(A, 4))


def test_a_survey_that_is_withdrawn_is_withdrawn_from_all_and_never_answered() -> None:
    play = surveyed()
    play(host(A, 3, roots(Q, "a")), ack(A, 3))
    play(server(cancel(5)), to(B, 0, cancel(Q + 1)))
    play.wait(limits.SURVEY_SECONDS)
    play(host(B, 3, roots(Q + 1, "b")), ack(B, 3))


def test_an_answer_after_the_survey_is_over_goes_nowhere() -> None:
    play = surveyed()
    play(host(A, 3, roots(Q, "a", "c")), ack(A, 3))
    play.wait(limits.SURVEY_SECONDS, up(roots(5, "a", "c")))
    play(host(B, 3, roots(Q + 1, "b")), ack(B, 3))
