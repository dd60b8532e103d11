"""What hosts hear, and the log holds, when they go on at another process than the one that they know."""

from __future__ import annotations

import pytest

from mux.core.actions import Action, Deliver, Log
from mux.core.events import Event, Restart
from tests.core.playbook import (
    INITIALIZED,
    U2,
    A,
    B,
    C,
    Play,
    U,
    ask,
    crash,
    exited,
    host,
    initialize,
    keep,
    launch,
    legacy,
    note,
    opened,
    replay,
    replayed,
    result,
    sent,
    server,
    started,
    stop,
    to,
    up,
    welcome,
)

DECLARES = '{"capabilities":{"tools":{"listChanged":true},"prompts":{"listChanged":false},"resources":{}}}'
DECLARES_OTHERS = '{"capabilities":{"tools":{},"prompts":{"listChanged":true},"resources":{"listChanged":true}}}'
TOOLS = note("notifications/tools/list_changed")
BLOB = b"digest of another backend"


def ready(play: Play, process: int, answer: str = DECLARES) -> list[Action]:
    """The process that was launched comes up; what follows its answer to `initialize`."""
    (uid,) = sent(play.run(started(process)))
    return play.run(server(result(uid, answer), process))


def heard(actions: list[Action]) -> list[tuple[int, bytes]]:
    """What hosts are told that answers nothing."""
    return [(one.session, one.data[:-1]) for one in actions if isinstance(one, Deliver) and not one.seq]


def renewed(play: Play, *ends: Event, answer: str = DECLARES) -> list[tuple[int, bytes]]:
    """What hosts are told when the first process has ended, and a request of A has started the second."""
    for end in ends:
        play.run(end)
    play.run(host(A, 3, ask(1, "tools/list")))
    play.wait(1, *(() if play.router.upstream.running else (launch(2, 2),)))
    return heard(ready(play, 2, answer))


def resumed(play: Play, session: int, blob: bytes = b"") -> list[Action]:
    """A session of an earlier backend; what it and the log are told."""
    play(opened(session, resumed=True), welcome(session))
    found = play.run(replay(session, 1, initialize(), answered=True, blob=blob))
    play.run(replay(session, 2, INITIALIZED))
    play(replayed(session))
    return found


def differences(actions: list[Action]) -> int:
    return sum(isinstance(one, Log) and one.event == "upstream.differs" for one in actions)


class TestListsChanged:
    @pytest.mark.parametrize("ends", [[exited()], [Restart(1), exited(status=0)]], ids=["crash", "restart"])
    def test_it_is_said_once_to_each_session_where_the_server_declared_it(self, ends: list[Event]) -> None:
        play = legacy(A, B, answer=DECLARES)
        assert renewed(play, *ends) == [(A, TOOLS), (B, TOOLS)]
        play(server(result(U2 + 1), 2), to(A, 3, result(1)))

    def test_what_the_new_process_declares_counts(self) -> None:
        play = legacy(A, answer=DECLARES)
        kinds = ("prompts", "resources")
        said = [(A, note(f"notifications/{kind}/list_changed")) for kind in kinds]
        assert renewed(play, exited(), answer=DECLARES_OTHERS) == said

    def test_a_server_that_declares_nothing_has_nothing_said_for_it(self) -> None:
        for ends in ([exited()], [Restart(1), exited(status=0)]):
            assert renewed(legacy(A), *ends, answer="{}") == []

    def test_each_process_is_announced_and_several_deaths_before_it_count_as_one(self) -> None:
        play = legacy(A, answer=DECLARES)
        crash(play)
        play(host(A, 3, ask(1, "tools/list")))
        play.wait(1, launch(2, 2))
        crash(play, 2)
        play.wait(1, launch(3, 3))
        assert heard(ready(play, 3)) == [(A, TOOLS)]

    def test_an_idle_server_comes_back_unseen(self) -> None:
        play = Play()
        play(opened(A, idle_timeout=50.0), welcome(A))
        play.run(host(A, 1, initialize()))
        ready(play, 1)
        play.run(host(A, 2, INITIALIZED))
        play.wait(50, stop())
        assert renewed(play, exited(status=0)) == []

    def test_an_idle_server_comes_back_unseen_whatever_it_went_through_before(self) -> None:
        play = legacy(A, answer=DECLARES)
        play.router.idle_timeout = 50.0
        assert renewed(play, exited()) == [(A, TOOLS)]
        play(server(result(U2 + 1), 2), to(A, 3, result(1)))
        play.wait(50, stop(2))
        play(exited(2, status=0))
        play(host(A, 4, ask(1, "tools/list")), launch(3, 3))
        assert heard(ready(play, 3)) == []

    def test_a_process_that_dies_before_it_has_answered_has_told_nobody_anything(self) -> None:
        play = Play()
        play(opened(A), welcome(A))
        play.run(host(A, 1, initialize()))
        play.run(exited())
        play.run(host(A, 2, initialize()))
        play.wait(1, launch(2, 2))
        assert heard(ready(play, 2)) == []

    def test_a_session_that_has_read_nothing_of_the_dead_process_is_told_nothing(self) -> None:
        play = legacy(A, answer=DECLARES)
        crash(play)
        play.join(B)
        assert renewed(play) == [(A, TOOLS)]

    def test_sessions_of_a_dead_backend_are_told_when_their_server_is_ready(self) -> None:
        play = Play()
        for session in (A, B):
            assert resumed(play, session) == [keep(session, 1)]
        play(host(A, 3, ask(1, "tools/list")), launch())
        assert heard(ready(play, 1)) == [(A, TOOLS), (B, TOOLS)]
        assert resumed(play, C) == [keep(C, 1), to(C, 0, TOOLS)]

    def test_a_session_that_comes_back_while_its_server_is_being_replaced_is_told_of_the_next_only(self) -> None:
        play = legacy(A, answer=DECLARES)
        play(host(A, 3, ask(1, "tools/call")), up(ask(U + 1, "tools/call")))
        play(Restart(1))
        assert resumed(play, B) == [keep(B, 1)]
        play(server(result(U + 1)), to(A, 3, result(1)), stop())
        play(exited(status=0))
        play(host(A, 4, ask(2, "tools/list")), launch(2, 2))
        assert heard(ready(play, 2)) == [(A, TOOLS), (B, TOOLS)]


class TestAnotherAnswer:
    """The answer to `initialize` that hosts have is not the one that the server gives now."""

    def logged(self, play: Play, *events: Event) -> int:
        play.logs = True
        found = sum(differences(play.run(event)) for event in events)
        play.logs = False
        return found

    @pytest.mark.parametrize(("answer", "found"), [(DECLARES, 0), (DECLARES_OTHERS, 1)])
    def test_that_of_the_next_process_is_compared_and_a_difference_logged_once(self, answer: str, found: int) -> None:
        play = legacy(A, B, answer=DECLARES)
        crash(play)
        play(host(A, 3, ask(1, "tools/list")))
        play.wait(1, launch(2, 2))
        assert self.logged(play, started(2), server(result(U2, answer), 2)) == found

    def test_each_process_that_differs_is_logged(self) -> None:
        play = legacy(A, answer=DECLARES)
        for process in (1, 2):
            crash(play, process)
            play.run(host(A, 2 + process, ask(process, "tools/list")))
            play.wait(1, launch(process + 1, process + 1))
            (uid,) = sent(play.run(started(process + 1)))
            assert self.logged(play, server(result(uid, DECLARES_OTHERS), process + 1)) == 1

    @pytest.mark.parametrize("late", [False, True])
    def test_a_session_brings_what_an_earlier_backend_told_it(self, *, late: bool) -> None:
        play = Play()
        assert resumed(play, A, BLOB) == [keep(A, 1, BLOB)]
        if not late:
            resumed(play, B, BLOB)
        play(host(A, 3, ask(1, "tools/list")), launch())
        assert self.logged(play, started(), server(result(U))) == 1
        if late:
            play(opened(B, resumed=True), welcome(B))
            assert self.logged(play, replay(B, 1, initialize(), answered=True, blob=BLOB)) == 0

    def test_what_the_shim_keeps_is_known_by_the_next_backend(self) -> None:
        first = legacy(A, answer=DECLARES)
        blob = first.router.sessions[A].answer
        for answer, found in ((DECLARES, 0), (DECLARES_OTHERS, 1)):
            play = Play()
            resumed(play, A, blob)
            play(host(A, 3, ask(1, "tools/list")), launch())
            assert self.logged(play, started(), server(result(U, answer))) == found

    def test_nothing_is_compared_where_nobody_knows_what_was_told(self) -> None:
        play = Play()
        resumed(play, A)
        play(host(A, 3, ask(1, "tools/list")), launch())
        assert self.logged(play, started(), server(result(U))) == 0
