"""Who is at an upstream: what joining changes there, what goes along to another, and what leaving leaves behind."""

from __future__ import annotations

import pytest

from mux.core.actions import Action, Forward, Launch, Log
from mux.core.session import State
from tests.core.playbook import (
    GRACE,
    INITIALIZED,
    SERVER,
    A,
    B,
    C,
    Play,
    U,
    ack,
    ask,
    call,
    closed,
    dismiss,
    eof,
    error,
    host,
    initialize,
    keep,
    knows,
    launch,
    legacy,
    modern,
    note,
    opened,
    progress,
    result,
    server,
    started,
    stop,
    to,
    up,
    welcome,
)

ALONE = SERVER.replace('{"tasks":{}}', '{"experimental":{"mux":{"scope":"session"}}}')
"""The answer of a server that bears one session only."""
TOPIC = '{"uri":"file:///a"}'
METHOD_NOT_FOUND = -32601


def logged(actions: list[Action], event: str) -> list[dict[str, str | int | float]]:
    return [dict(action.fields) for action in actions if isinstance(action, Log) and action.event == event]


def lines(actions: list[Action], process: int) -> list[bytes]:
    """What goes up to a server."""
    return [action.data[:-1] for action in actions if isinstance(action, Forward) and action.process == process]


class TestJoining:
    def test_the_request_that_decides_the_upstream_pins_the_session(self) -> None:
        play = Play()
        play(opened(A), welcome(A))
        assert play.pool.sessions[A].state is State.OPEN
        play(host(A, 1, initialize()), launch())
        assert play.pool.sessions[A].state is State.PINNED
        assert play.router.sessions == {A: play.pool.sessions[A]}
        assert play.router.met == 1

    def test_a_session_that_ends_its_input_with_its_first_request_joins_all_the_same(self) -> None:
        play = Play()
        play(opened(A), welcome(A))
        play(host(A, 1, initialize()), launch())
        play(eof(A))
        play(started(), up(initialize(U)))
        play(server(result(U, SERVER)), knows(A), to(A, 1, result(0, SERVER)), dismiss(A))

    @pytest.mark.parametrize(("name", "shown"), [("opencode", "opencode"), ("x" * 65, "x" * 64)])
    def test_the_log_has_the_clients_name_as_far_as_a_name_goes(self, name: str, shown: str) -> None:
        play = Play()
        play.logs = True
        play.run(opened(A))
        (fields,) = logged(play.run(host(A, 1, initialize(client=name))), "session.joined")
        assert fields == {"session": A, "upstream": 1, "host": shown, "version": "1"}

    def test_of_its_version_too_the_log_has_a_part_only(self) -> None:
        play = Play()
        play.logs = True
        play.run(opened(A))
        line = initialize().replace(b'"version":"1"', b'"version":"%b"' % (b"7" * 65))
        (fields,) = logged(play.run(host(A, 1, line)), "session.joined")
        assert fields["version"] == "7" * 64

    def test_a_client_without_a_name_is_logged_without_one(self) -> None:
        play = Play()
        play.logs = True
        play.run(opened(A))
        (fields,) = logged(play.run(host(A, 1, ask(1, "tools/list"))), "session.joined")
        assert fields == {"session": A, "upstream": 1}

    @pytest.mark.parametrize("order", [(A, B), (B, A)])
    def test_the_longest_grace_of_all_that_were_there_counts(self, order: tuple[int, int]) -> None:
        graces = {A: GRACE, B: 5.0}
        play = legacy(C)
        play.router.grace = 0.0
        for session in order:
            play(opened(session, grace=graces[session]), welcome(session))
            play.run(host(session, 1, initialize()))
        for session in (A, B, C):
            play(closed(session))
        play.wait(GRACE - 1)
        play.wait(1, stop())


class TestHandingOver:
    """Two sessions wait for a server that turns out to bear one of them."""

    def parting(self, *said: bytes, before: bytes = b"") -> Play:
        """B says that behind its `initialize`, after A said `before`, and goes to a server that is its own."""
        play = Play()
        for session in (A, B):
            play(opened(session), welcome(session))
            play.run(host(session, 1, initialize()))
        if before:
            play.run(host(A, 2, before))
        for seq, line in enumerate(said, 2):
            play.run(host(B, seq, line))
        play(started(), up(initialize(U)))
        assert [action for action in play.run(server(result(U, ALONE))) if isinstance(action, Launch)]
        return play

    def opening(self, play: Play) -> list[bytes]:
        """What the second server is told from its start until it is open."""
        (first,) = lines(play.run(started(2)), 2)
        uid = first.split(b'"id":')[1].split(b",")[0].decode()
        return lines(play.run(server(result(uid, ALONE), 2)), 2)

    def test_what_it_has_said_goes_to_the_other_in_its_order(self) -> None:
        play = self.parting(INITIALIZED, ask(7, "tools/list"), ask(8, "prompts/list"))
        told = self.opening(play)
        methods = [line.split(b'"method":"')[1].split(b'"')[0] for line in told]
        assert methods == [b"notifications/initialized", b"tools/list", b"prompts/list"]

    def test_a_server_is_not_told_initialized_before_the_session_has_said_so(self) -> None:
        play = self.parting()
        assert self.opening(play) == []
        play(host(B, 2, INITIALIZED), keep(B, 2), up(INITIALIZED, 2))

    def test_what_it_waits_for_is_open_once_and_not_twice(self) -> None:
        play = self.parting(INITIALIZED, ask(7, "tools/list"))
        session = play.pool.sessions[B]
        assert [waiting.method for waiting in session.open_calls()] == ["initialize", "tools/list"]
        assert session.open == 2
        (_, listed) = self.opening(play)
        play(eof(B))
        uid = listed.split(b'"id":')[1].split(b",")[0].decode()
        play(server(result(uid), 2), to(B, 3, result(7)), dismiss(B))

    @pytest.mark.parametrize("behind", [b"", ask(7, "resources/subscribe", TOPIC)])
    def test_a_subscription_that_waited_keeps_its_room_once(self, behind: bytes) -> None:
        line = ask(7, "resources/subscribe", TOPIC)
        play = self.parting(INITIALIZED, line, before=behind)
        session = play.pool.sessions[B]
        assert session.kept == {3: len(line)}
        assert session.kept_bytes == len(line)

    def test_who_stays_notices_nothing(self) -> None:
        play = self.parting()
        stays = play.pool.sessions[A].router
        assert stays is not None
        assert list(stays.sessions) == [A]
        play(host(A, 2, INITIALIZED), keep(A, 2), up(INITIALIZED))
        play(host(A, 3, call(1)), up(call(U + 1)))

    def test_a_request_that_is_at_the_server_is_withdrawn_and_not_run_at_the_other(self) -> None:
        play = Play()
        for session in (A, B):
            play(opened(session), welcome(session))
        play(host(A, 1, ask(0, "server/discover")), launch())
        play(host(B, 1, ask(5, "server/discover")))
        play(started(), up(ask(U, "server/discover")), up(ask(U + 1, "server/discover")))
        play(host(B, 2, modern(6, "tools/list")))
        got = play.run(server(error(U, METHOD_NOT_FOUND, "no")))
        assert to(B, 1, error(5, METHOD_NOT_FOUND, "no")) in got, "as a legacy server answers it"
        assert [waiting.id for waiting in play.pool.sessions[B].open_calls()] == [b"6"]
        assert [line.split(b'"method":"')[1].split(b'"')[0] for line in lines(play.run(started(2)), 2)] == [
            b"tools/list"
        ]


class TestLeaving:
    def test_a_change_that_had_not_gone_up_does_not_hold_up_the_next_one_of_another_session(self) -> None:
        play = Play()
        for session in (A, B):
            play(opened(session), welcome(session))
            play.run(host(session, 1, initialize()))
        play(host(A, 2, ask(1, "resources/subscribe", TOPIC)))
        play(closed(A))
        play(host(B, 2, ask(1, "resources/subscribe", TOPIC)))
        play(started(), up(initialize(U)))
        got = play.run(server(result(U, SERVER)))
        (change,) = lines(got, 1)
        assert b'"method":"resources/subscribe"' in change

    def test_a_change_of_state_on_its_way_is_not_cancelled_and_everything_else_is(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, ask(1, "resources/subscribe", TOPIC)), up(ask(U + 1, "resources/subscribe", TOPIC)))
        play(host(A, 4, call(2)), up(call(U + 2)))
        cancelled = lines(play.run(closed(A)), 1)
        assert cancelled == [note("notifications/cancelled", f'{{"requestId":{U + 2},"reason":"client gone"}}')]

    def test_its_place_is_the_next_ones_and_its_progress_nobodys(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, call(1, token=1)), up(call(U + 1, token=U + 1)))
        play.run(closed(A))
        assert play.router.quota.in_flight == 0
        play(server(progress(U + 1)))
        play(server(result(U + 1)))
        assert list(play.router.sessions) == [B]
        play(host(B, 3, note("notifications/nothing")), up(note("notifications/nothing")), ack(B, 3))
