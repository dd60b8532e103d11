"""`logging/setLevel` of many sessions. PROTOCOL: "Legacy, client → server": logging/setLevel; notifications/message."""

from __future__ import annotations

import pytest

from mux import errors
from mux.core.levels import NAMES
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
    closed,
    crash,
    error,
    host,
    initialize,
    keep,
    launch,
    legacy,
    note,
    result,
    server,
    started,
    to,
    up,
)


def level(id_: int, name: str) -> bytes:
    return ask(id_, "logging/setLevel", f'{{"level":"{name}"}}')


def log(name: str) -> bytes:
    return note("notifications/message", f'{{"level":"{name}","data":1.0}}')


def set_level(play: Play, session: int, seq: int, uid: int, name: str, needed: str | None = None) -> None:
    play(host(session, seq, level(9, name)), up(level(uid, needed or name)))
    got = play.run(server(result(uid)))
    assert keep(session, seq) in got
    assert got[-1] == to(session, seq, result(9)) or to(session, seq, result(9)) in got


def heard(play: Play, name: str, *sessions: int) -> None:
    play(server(log(name)), *(to(session, 0, log(name)) for session in sessions))


def test_the_most_verbose_level_that_any_session_set_goes_up() -> None:
    play = legacy(A, B)
    set_level(play, A, 3, U + 1, "warning")
    set_level(play, B, 3, U + 2, "error", needed="warning")
    set_level(play, B, 4, U + 3, "debug")


def test_each_call_is_forwarded_so_that_the_server_judges_it() -> None:
    play = legacy(A)
    for seq, params in enumerate(['{"level":"loud"}', '{"level":1}', "{}", '"x"', '{"level":"info","x":1E400}'], 3):
        play(host(A, seq, ask(1, "logging/setLevel", params)), up(ask(U + seq - 2, "logging/setLevel", params)))
    play(server(error(U + 1, -32602, "bad level")), to(A, 3, error(1, -32602, "bad level")))
    assert not play.router.levels.of


def test_only_the_level_is_exchanged_in_what_goes_up() -> None:
    play = legacy(A, B)
    set_level(play, A, 3, U + 1, "debug")
    odd = '{ "x":1E400, "level" : "err\\u006fr" , "_meta":{"progressToken":"t"}}'
    play(
        host(B, 3, ask(7, "logging/setLevel", odd)), up(ask(U + 2, "logging/setLevel", odd.replace('"t"', str(U + 2))))
    )
    plain = '{ "x":1E400, "level" : "error" , "_meta":{"progressToken":"t"}}'
    raised = plain.replace("error", "debug").replace('"t"', str(U + 3))
    play(host(B, 4, ask(7, "logging/setLevel", plain)), up(ask(U + 3, "logging/setLevel", raised)))


def test_a_level_that_stands_twice_is_refused() -> None:
    play = legacy(A)
    line = ask(1, "logging/setLevel", '{"level":"debug","level":"error"}')
    play(host(A, 3, line), Failed(A, 3, 1, errors.INVALID_REQUEST, "ambiguous"))


@pytest.mark.parametrize("rank", range(8))
def test_each_session_hears_what_its_own_level_lets_through(rank: int) -> None:
    names = [name.decode() for name in NAMES]
    play = legacy(A, B)
    set_level(play, A, 3, U + 1, names[rank])
    set_level(play, B, 3, U + 2, "debug")
    for other, name in enumerate(names):
        heard(play, name, *([A, B] if other >= rank else [B]))


def test_a_session_that_set_none_hears_info_and_above_once_another_has() -> None:
    play = legacy(A, B)
    heard(play, "debug", A, B)
    set_level(play, A, 3, U + 1, "debug")
    heard(play, "debug", A)
    heard(play, "info", A, B)


def test_a_refused_level_changes_nothing() -> None:
    play = legacy(A, B)
    play(host(A, 3, level(1, "error")), up(level(U + 1, "error")))
    play(server(error(U + 1, -1, "no")), to(A, 3, error(1, -1, "no")))
    heard(play, "debug", A, B)


def test_a_level_lasts_until_its_session_leaves_and_is_then_evaluated_anew() -> None:
    play = legacy(A, B, C)
    set_level(play, A, 3, U + 1, "debug")
    set_level(play, B, 3, U + 2, "error", needed="debug")
    play(closed(C))
    play(closed(A), up(ask(U + 3, "logging/setLevel", '{"level":"error"}')))
    play(server(result(U + 3)))
    heard(play, "warning")
    play(closed(B))


def test_a_session_that_leaves_with_a_level_others_need_too_changes_nothing() -> None:
    play = legacy(A, B)
    set_level(play, A, 3, U + 1, "debug")
    set_level(play, B, 3, U + 2, "debug")
    play(closed(A))


def test_two_changes_at_once_end_at_the_level_that_both_need() -> None:
    play = legacy(A, B)
    play(host(A, 3, level(1, "debug")), up(level(U + 1, "debug")))
    play(host(B, 3, level(1, "error")), up(level(U + 2, "error")))
    play(server(result(U + 1)), keep(A, 3), to(A, 3, result(1)))
    corrected = up(ask(U + 3, "logging/setLevel", '{"level":"debug"}'))
    play(server(result(U + 2)), keep(B, 3), corrected, to(B, 3, result(1)))


def test_a_level_agreed_after_its_session_left_is_taken_back() -> None:
    play = legacy(A, B)
    set_level(play, B, 3, U + 1, "error")
    play(host(A, 3, level(1, "debug")), up(level(U + 2, "debug")))
    play(closed(A))
    play(server(result(U + 2)), up(ask(U + 3, "logging/setLevel", '{"level":"error"}')))


def test_the_shim_keeps_one_line_for_the_level() -> None:
    play = legacy(A)
    play(host(A, 3, level(1, "debug")), up(level(U + 1, "debug")))
    play(server(result(U + 1)), keep(A, 3), to(A, 3, result(1)))
    play(host(A, 4, level(1, "info")), up(level(U + 2, "info")))
    play(server(result(U + 2)), ack(A, 3), keep(A, 4), to(A, 4, result(1)))


def test_a_new_generation_gets_the_level_before_anything_else() -> None:
    play = legacy(A)
    set_level(play, A, 3, U + 1, "debug")
    crash(play)
    play(host(A, 4, call(1)))
    play.wait(1, launch(2, 2))
    play(started(2), up(initialize(U2), 2))
    play(
        server(result(U2, SERVER), 2),
        up(INITIALIZED, 2),
        up(ask(U2 + 1, "logging/setLevel", '{"level":"debug"}'), 2),
        up(call(U2 + 2), 2),
    )


def test_a_level_in_flight_at_a_crash_is_set_in_the_next_generation() -> None:
    play = legacy(A)
    play(host(A, 3, level(1, "debug")), up(level(U + 1, "debug")))
    crash(play)
    play.wait(1, launch(2, 2))
    play(started(2), up(initialize(U2), 2))
    play(server(result(U2, SERVER), 2), up(INITIALIZED, 2), up(level(U2 + 1, "debug"), 2))
    play(server(result(U2 + 1), 2), keep(A, 3), to(A, 3, result(1)))
