"""Notifications of a host: what concerns the server reaches it once, under its ids. Cancels: `test_router`."""

from __future__ import annotations

import pytest

from mux import limits
from tests.core.playbook import (
    INITIALIZED,
    RELATED,
    SERVER,
    A,
    B,
    Play,
    U,
    ack,
    ask,
    host,
    initialize,
    keep,
    knows,
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


def starting() -> Play:
    """A has started a server that runs and has not answered yet."""
    play = Play()
    play(opened(A), welcome(A))
    play(host(A, 1, initialize()), launch())
    play(started(), up(initialize(U)))
    return play


def test_initialized_is_kept_once_for_each_session() -> None:
    play = legacy(A, B)
    for session in (A, B):
        play(host(session, 3, INITIALIZED), ack(session, 3))


def test_an_unknown_notification_reaches_a_server_that_is_there_as_it_is() -> None:
    play = legacy(A)
    line = note("x/y", '{"a":1E400}')
    play(host(A, 3, line), up(line), ack(A, 3))


def test_what_comes_before_the_server_has_answered_waits_for_it_in_order() -> None:
    play = starting()
    for seq in (2, 3):
        play(host(A, seq, note("x", f'{{"n":{seq}}}')), ack(A, seq))
    got = play.run(server(result(U, SERVER)))
    assert [action for action in got if action in {up(note("x", '{"n":2}')), up(note("x", '{"n":3}'))}] == [
        up(note("x", '{"n":2}')),
        up(note("x", '{"n":3}')),
    ]


def test_no_more_than_the_limit_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    line = note("x")
    monkeypatch.setattr(limits, "EARLY_BYTES", len(line) + 1)
    play = starting()
    for seq in (2, 3):
        play(host(A, seq, line), ack(A, seq))
    assert play.router.dropped == 1
    assert play.run(server(result(U, SERVER))).count(up(line)) == 1


@pytest.mark.parametrize("method", ["cancelled", "progress"])
def test_what_names_a_thing_twice_names_nothing(method: str) -> None:
    play = legacy(A)
    name = "requestId" if method == "cancelled" else "progressToken"
    play(host(A, 3, note(f"notifications/{method}", f'{{"{name}":1,"{name}":2}}')), ack(A, 3))
    assert play.router.dropped == 1


def test_progress_on_what_nobody_asked_of_this_session_goes_nowhere() -> None:
    play = legacy(A)
    play(host(A, 3, progress(U)), ack(A, 3))
    play(host(A, 4, note("notifications/progress")), ack(A, 4))


def test_the_status_of_a_task_that_the_session_does_not_have_goes_nowhere() -> None:
    play = legacy(A)
    play(host(A, 3, note("notifications/tasks/status", '{"taskId":"t","status":"working"}')), ack(A, 3))
    play(host(A, 4, note("notifications/tasks/status", f'{{"_meta":{{"{RELATED}":{{"taskId":"t"}}}}}}')), ack(A, 4))


def test_a_cancel_without_a_request_is_nothing() -> None:
    play = legacy(A)
    play(host(A, 3, ask(1, "x")), up(ask(U + 1, "x")))
    play(host(A, 4, note("notifications/cancelled", '{"reason":"why"}')), ack(A, 4))
    play(server(result(U + 1)), to(A, 3, result(1)))


def test_initialized_of_each_session_is_kept_by_its_shim_and_goes_up_once() -> None:
    play = starting()
    play(server(result(U, SERVER)), knows(A), to(A, 1, result(0, SERVER)))
    play(host(A, 2, INITIALIZED), keep(A, 2), up(INITIALIZED))
    play.join(B)
