"""One `initialize` for all. PROTOCOL: "Legacy, client → server": initialize, ping, notifications/initialized."""

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
    call,
    cancel,
    closed,
    crash,
    dismiss,
    eof,
    error,
    exited,
    host,
    initialize,
    keep,
    knows,
    launch,
    legacy,
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


def waiting(*sessions: int) -> Play:
    """Sessions whose `initialize` is up: each has asked with its own number."""
    play = Play()
    for session in sessions:
        play(opened(session), welcome(session))
    play(host(A, 1, initialize(A)), launch())
    play(started(), up(initialize(U)))
    for session in sessions[1:]:
        play(host(session, 1, initialize(session)))
    return play


def test_the_first_initialize_goes_up_and_everybody_who_waits_gets_its_answer_with_their_own_id() -> None:
    play = waiting(A, B, C)
    play(
        server(result(U, SERVER)),
        *(action for session in (A, B, C) for action in (knows(session), to(session, 1, result(session, SERVER)))),
    )


def test_never_a_second_initialize_goes_up() -> None:
    play = legacy(A)
    play(opened(B), welcome(B))
    play(host(B, 1, initialize('"b"')), knows(B), to(B, 1, result('"b"', SERVER)))
    play(host(A, 3, initialize('"again"')), to(A, 3, result('"again"', SERVER)))


def test_the_kept_answer_is_given_byte_for_byte_in_any_layout() -> None:
    play = waiting(A)
    odd = f'{{"result":{{"x":1E400,"y":"\\ud800"}},"jsonrpc":"2.0","id":{U}}}'.encode()
    told = odd.replace(str(U).encode(), b"")
    play(server(odd), knows(A, answer=told), to(A, 1, odd.replace(str(U).encode(), b"1")))
    play(opened(B), welcome(B))
    play(host(B, 1, initialize('"b"')), knows(B, answer=told), to(B, 1, odd.replace(str(U).encode(), b'"b"')))


def test_a_failed_handshake_goes_to_all_who_wait_and_is_not_kept() -> None:
    play = waiting(A, B)
    play(server(error(U, -1, "no")), to(A, 1, error(A, -1, "no")), to(B, 1, error(B, -1, "no")))
    play(host(A, 2, initialize(5)), up(initialize(U + 1)))
    play(server(result(U + 1, SERVER)), knows(A, 2), to(A, 2, result(5, SERVER)))


def test_a_waiting_session_that_leaves_gets_nothing_and_the_others_their_answer() -> None:
    play = waiting(A, B)
    play(closed(A))
    play(server(result(U, SERVER)), knows(B), to(B, 1, result(B, SERVER)))


def test_the_handshake_goes_on_when_all_who_wait_have_left() -> None:
    play = waiting(A)
    play(closed(A))
    play(server(result(U, SERVER)))
    play(opened(B), welcome(B))
    play(host(B, 1, initialize(5)), knows(B), to(B, 1, result(5, SERVER)))


def test_initialized_goes_up_once_and_only_when_the_server_has_answered() -> None:
    play = waiting(A, B)
    play(host(B, 2, INITIALIZED), keep(B, 2))
    play(host(B, 3, INITIALIZED), ack(B, 3))
    got = play.run(server(result(U, SERVER)))
    assert got.count(up(INITIALIZED)) == 1
    play(host(A, 2, INITIALIZED), keep(A, 2))


def test_initialized_is_said_again_to_the_next_generation() -> None:
    play = legacy(A)
    crash(play)
    play(host(A, 3, ask(1, "tools/list")))
    play.wait(1, launch(2, 2))
    play(started(2), up(initialize(U2), 2))
    play(server(result(U2, SERVER), 2), up(INITIALIZED, 2), up(ask(U2 + 1, "tools/list"), 2))


def test_the_progress_token_of_initialize_is_ours_and_no_progress_of_it_is_delivered() -> None:
    play = Play()
    play(opened(A), welcome(A))
    play(host(A, 1, initialize(0, token='"t"')), launch())
    play(started(), up(initialize(U, token=str(U))))
    play(server(progress(U)))


def test_requests_wait_for_the_handshake_and_keep_their_order() -> None:
    play = waiting(A)
    play(host(A, 2, ask(2, "tools/list")))
    play(host(A, 3, ask(3, "prompts/list")))
    play(
        server(result(U, SERVER)),
        knows(A),
        to(A, 1, result(A, SERVER)),
        up(ask(U + 1, "tools/list")),
        up(ask(U + 2, "prompts/list")),
    )


def test_ping_is_answered_here_until_the_server_is_initialised_and_by_the_server_after() -> None:
    play = Play()
    play(opened(A), welcome(A))
    play(host(A, 1, ask('"p"', "ping")), to(A, 1, result('"p"')))
    play(host(A, 2, initialize()), launch())
    play(host(A, 3, ask(1, "ping")), to(A, 3, result(1)))
    play(started(), up(initialize(U)))
    play(server(result(U, SERVER)), knows(A, 2), to(A, 2, result(0, SERVER)))
    play(host(A, 4, ask(2, "ping")), up(ask(U + 1, "ping")))


def test_a_cancel_of_a_waiting_initialize_changes_nothing() -> None:
    play = waiting(A)
    play(host(A, 2, cancel(A)), ack(A, 2))
    play(server(result(U, SERVER)), knows(A), to(A, 1, result(A, SERVER)))


def test_a_server_that_can_not_be_started_is_told_to_everybody_who_waits() -> None:
    play = Play()
    for session in (A, B):
        play(opened(session), welcome(session))
    play(host(A, 1, initialize()), launch())
    play(host(B, 1, initialize()))
    play(host(A, 2, ask(1, "tools/list")))
    play(
        unstartable(),
        Failed(A, 1, 0, errors.UPSTREAM_UNAVAILABLE, "no such file"),
        Failed(B, 1, 0, errors.UPSTREAM_UNAVAILABLE, "no such file"),
        Failed(A, 2, 1, errors.UPSTREAM_UNAVAILABLE, "no such file"),
    )


def test_a_server_that_dies_before_its_answer_is_told_with_exit_code_and_last_words() -> None:
    play = waiting(A)
    play(exited(status=3, stderr="module not found"), Failed(A, 1, A, errors.UPSTREAM_UNAVAILABLE, "module not found"))
    play(opened(B), welcome(B))
    play(host(B, 1, initialize()))
    play.wait(1, launch(2, 2))


def test_a_server_that_is_silent_is_given_up_in_time_and_may_still_come() -> None:
    play = waiting(A)
    play.wait(limits.START_SECONDS, Failed(A, 1, A, errors.UPSTREAM_UNAVAILABLE, "still starting"))
    play(host(A, 2, initialize(9)))
    play(server(result(U, SERVER)), knows(A, 2), to(A, 2, result(9, SERVER)))
    play.wait(limits.START_SECONDS)


def test_the_answer_of_a_server_that_is_being_stopped_opens_nothing() -> None:
    play = waiting(A)
    play(closed(A))
    play.wait(30, stop())
    play(server(result(U, SERVER)))
    play(opened(B), welcome(B))
    play(host(B, 1, initialize()))
    play(exited(status=0), launch(2, 2))
    got = play.run(started(2))
    assert len(sent(got)) == 1


def test_a_new_generation_that_refuses_initialize_counts_as_a_failure_and_is_not_started_in_a_loop() -> None:
    play = legacy(A)
    play(host(A, 3, ask(1, "resources/subscribe", '{"uri":"u"}')), up(ask(U + 1, "resources/subscribe", '{"uri":"u"}')))
    play(server(result(U + 1)), keep(A, 3), to(A, 3, result(1)))
    for process in range(1, limits.BREAKER_FAILURES):
        crash(play, process)
        play.wait(1, launch(process + 1, process + 1))
        (uid,) = sent(play.run(started(process + 1)))
        play(server(error(uid, -1, "no"), process + 1), stop(process + 1))
    crash(play, limits.BREAKER_FAILURES)
    play(host(A, 4, call(1)), Failed(A, 4, 1, errors.UPSTREAM_UNAVAILABLE))


def test_the_end_of_input_waits_for_the_handshake() -> None:
    play = waiting(A)
    play(eof(A))
    play(server(result(U, SERVER)), knows(A), to(A, 1, result(A, SERVER)), dismiss(A))


@pytest.mark.parametrize("line", [b'"x"', b"7", b'{"capabilities":[]}', b'{"clientInfo":{"name":1}}', b"1e400"])
def test_an_initialize_that_we_can_not_read_is_the_servers_to_judge(line: bytes) -> None:
    play = Play()
    play(opened(A), welcome(A))
    play(host(A, 1, ask(0, "initialize", line.decode())), launch())
    play(started(), up(ask(U, "initialize", line.decode())))
