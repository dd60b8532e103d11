"""A server that nobody would miss is stopped, and its next request starts it again, unseen. DESIGN: upstream life."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mux import limits
from mux.core import lifecycle
from mux.core.events import ProcessTree
from tests.core.playbook import (
    INITIALIZED,
    SERVER,
    U2,
    A,
    B,
    Play,
    Q,
    U,
    ack,
    ask,
    call,
    cancel,
    discovered,
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
    result,
    server,
    started,
    stop,
    to,
    up,
    welcome,
)

TIMEOUT = 5.0
"""Seconds; shorter than a cancelled call keeps its turn."""
URI = '{"uri":"file:///a"}'


def hurried(play: Play) -> Play:
    """The same, and its server is stopped after TIMEOUT idle seconds."""
    play.router.idle_timeout = TIMEOUT
    lifecycle.rest_at(play.router, play.now)
    return play


def test_a_modern_server_without_work_is_stopped_and_started_again_by_the_next_request() -> None:
    play = discovered(A)
    play.wait(limits.IDLE_SECONDS, stop())
    play(exited(status=0))
    play(host(A, 3, modern(1, "tools/list")), launch(2, 2))
    play(started(2), up(modern(U2, "tools/list"), 2))


def test_a_server_that_was_only_discovered_has_its_whole_time() -> None:
    play = Play()
    play(opened(A), welcome(A))
    play.wait(10 * limits.IDLE_SECONDS)  # a machine's clock is far from 0
    play(host(A, 1, ask(0, "server/discover")), launch())
    play(started(), up(ask(U, "server/discover")))
    play(server(result(U)), to(A, 1, result(0)))
    play.wait(limits.IDLE_SECONDS - 1)
    play.wait(1, stop())


def test_a_legacy_server_is_stopped_only_if_asked_for() -> None:
    legacy(A).wait(24 * 3600)
    play = Play()
    play(opened(A, idle_timeout=50.0), welcome(A))
    play(host(A, 1, initialize()), launch())
    play(started(), up(initialize(U)))
    play(server(result(U, SERVER)), knows(A), to(A, 1, result(0, SERVER)))
    play.wait(49)
    play(host(A, 2, note("x")), up(note("x")), ack(A, 2))
    play.wait(49)
    play.wait(1, stop())


def test_a_modern_server_can_be_kept() -> None:
    play = Play()
    play(opened(A, idle_timeout=0.0), welcome(A))
    play(host(A, 1, modern(1, "tools/list")), launch())
    play(started(), up(modern(U, "tools/list")))
    play(server(result(U)), to(A, 1, result(1)))
    play.wait(24 * 3600)


@pytest.mark.parametrize("busy", ["call", "listen"])
def test_a_server_at_work_is_not_idle(busy: str) -> None:
    play = discovered(A)
    method = "tools/call" if busy == "call" else "subscriptions/listen"
    play.run(host(A, 3, modern(1, method)))
    play.wait(4 * limits.IDLE_SECONDS)
    play.run(host(A, 4, cancel(1)))
    play.wait(limits.IDLE_SECONDS + limits.IDLE_AGAIN_SECONDS, stop())


def test_a_server_without_open_state_or_task_is_idle() -> None:
    hurried(legacy(A)).wait(TIMEOUT, stop())
    hurried(discovered(A)).wait(TIMEOUT, stop())


def test_a_server_whose_task_somebody_owns_is_not_idle() -> None:
    play = hurried(legacy(A))
    play.run(host(A, 3, ask(1, "tools/call", '{"task":{}}')))
    play.run(server(result(U + 1, '{"task":{"taskId":"t"}}')))
    play.wait(limits.OPEN_STATE_SECONDS * 2)


def test_a_server_that_holds_a_clients_open_state_is_not_idle() -> None:
    play = hurried(discovered(A))
    play.run(host(A, 3, modern(1, "tools/call")))
    play.run(server(result(U + 2, '{"resultType":"input_required"}')))
    play.wait(limits.OPEN_STATE_SECONDS - 1)
    play.wait(limits.IDLE_AGAIN_SECONDS + 1, stop())


def subscribed(play: Play) -> Callable[[], object]:
    play.run(host(A, 3, ask(1, "resources/subscribe", URI)))
    play.run(server(result(U + 1)))

    def end() -> None:
        play.run(host(A, 4, ask(2, "resources/unsubscribe", URI)))
        play.run(server(result(U + 2)))

    return end


def asked(play: Play) -> Callable[[], object]:
    """Outside of any call: with one session ever there is no doubt whom it concerns."""
    play(server(ask(7, "elicitation/create")), to(A, 0, ask(Q, "elicitation/create")))
    return lambda: play(host(A, 3, result(Q)), up(result(7)), ack(A, 3))


def detached(play: Play) -> Callable[[], object]:
    play(ProcessTree(1, True))
    return lambda: play(ProcessTree(1, False))


@pytest.mark.parametrize("begin", [subscribed, asked, detached])
def test_what_only_a_running_server_can_do_keeps_it_from_being_idle(
    begin: Callable[[Play], Callable[[], object]],
) -> None:
    play = hurried(legacy(A))
    end = begin(play)
    play.wait(24 * 3600)
    end()
    play.wait(TIMEOUT + limits.IDLE_AGAIN_SECONDS, stop())


def test_a_call_that_waits_for_its_turn_keeps_a_server_from_being_idle_though_none_is_at_work() -> None:
    play = hurried(legacy(A, B))
    play.router.turns.needed = True
    play(host(A, 3, call(1)), up(call(U + 1)))
    play(host(B, 3, call(1)))
    play(host(A, 4, cancel(1)), up(cancel(U + 1)), ack(A, 3), ack(A, 4))
    play.wait(limits.CANCELLED_SECONDS, up(call(U + 2)))


def test_a_legacy_server_comes_back_as_its_sessions_knew_it_and_they_hear_nothing_of_it() -> None:
    """It left by our will: its lists are what they were."""
    declares = '{"capabilities":{"tools":{"listChanged":true}}}'
    level = '{"level":"debug"}'
    play = hurried(legacy(A, answer=declares))
    play(host(A, 3, ask(1, "logging/setLevel", level)), up(ask(U + 1, "logging/setLevel", level)))
    play(server(result(U + 1)), keep(A, 3), to(A, 3, result(1)))
    play.wait(TIMEOUT, stop())
    play(exited(status=0))
    play(host(A, 4, ask(2, "tools/list")), launch(2, 2))
    play(started(2), up(initialize(U2), 2))
    restored = up(ask(U2 + 1, "logging/setLevel", level), 2)
    play(server(result(U2, declares), 2), up(INITIALIZED, 2), restored, up(ask(U2 + 2, "tools/list"), 2))
    play(server(result(U2 + 1), 2))
    play(server(result(U2 + 2), 2), to(A, 4, result(2)))
