"""What `mux status` shows of the core, and that it is the state as it is."""

from __future__ import annotations

import pytest

from mux import limits
from mux.core.events import LaunchSpec
from mux.core.identity import Sharing
from mux.core.snapshot import PoolSnapshot, SessionSnapshot, UpstreamSnapshot
from tests.core.playbook import (
    SPEC,
    A,
    B,
    C,
    Play,
    U,
    ask,
    call,
    exited,
    host,
    initialize,
    launch,
    legacy,
    opened,
    result,
    server,
    up,
    welcome,
)

SECRET = b"TOKEN=secret"


def test_nothing_is_an_empty_picture() -> None:
    assert Play().pool.snapshot() == PoolSnapshot(draining=False, sessions=[], upstreams=[])


def test_sessions_and_upstreams_are_shown_as_they_are() -> None:
    play = Play()
    play.now = 7.0
    play(opened(A, idle_timeout=5.0), welcome(A))
    play(opened(B, key=b"other"), welcome(B))
    play.now = 9.0
    play(host(A, 1, initialize(0, client="codex")), launch())
    assert play.pool.snapshot() == PoolSnapshot(
        draining=False,
        sessions=[
            SessionSnapshot(A, "codex", "1", "/", in_flight=0, waiting=0, since=7.0, upstream=1),
            SessionSnapshot(B, "", "", "/", in_flight=0, waiting=0, since=7.0, upstream=None),
        ],
        upstreams=[
            UpstreamSnapshot(
                upstream=1,
                process=1,
                pid=0,
                state="starting",
                generation=1,
                argv=SPEC.argv,
                cwd="/",
                sessions=1,
                in_flight=0,
                waiting=0,
                since=9.0,
                active_at=9.0,
                era="legacy",
                idle_timeout=5.0,
                turns=False,
                dropped=0,
                last_error="",
                sharing=Sharing(),
                apart="",
            )
        ],
    )


def test_work_is_counted_for_its_session_and_for_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SESSION_IN_FLIGHT", 1)
    play = legacy(A, B, C)
    play(host(A, 3, call(1)), up(call(U + 1)))
    play(host(A, 4, call(2)))
    play(host(A, 5, call(3)))
    play(host(B, 3, call(1)), up(call(U + 2)))
    found = play.pool.snapshot()
    assert [(entry.in_flight, entry.waiting) for entry in found.sessions] == [(1, 2), (1, 0), (0, 0)]
    (server_,) = found.upstreams
    assert (server_.sessions, server_.in_flight, server_.waiting) == (3, 2, 2)
    assert (server_.state, server_.pid) == ("ready", 1001)


def test_calls_that_wait_for_their_turn_are_among_those_that_wait() -> None:
    play = legacy(A, B, capabilities='{"sampling":{}}')
    for number, session in enumerate((A, B), 1):
        play(host(session, 3, call(1)), up(call(U + number)))
    play.run(server(ask(0, "sampling/createMessage", "{}")))
    play.run(server(result(U + 2)))
    play(host(B, 4, call(2)))
    (found,) = play.pool.snapshot().upstreams
    assert (found.turns, found.in_flight, found.waiting) == (True, 1, 1)


def test_why_the_last_process_died_and_what_was_dropped_are_shown() -> None:
    play = legacy(A)
    play(server(b"no message"))
    play(exited(status=3, stderr="boom"))
    (found,) = play.pool.snapshot().upstreams
    assert found.dropped == 1
    assert "boom" in found.last_error


def test_an_argument_or_directory_that_is_no_text_is_shown_all_the_same() -> None:
    play = Play()
    play(opened(A), welcome(A))
    play.pool.sessions[A].spec = LaunchSpec((b"\xff",), b"/x", b"/\xff", (SECRET,), 0, ())
    play.run(host(A, 1, initialize()))
    found = play.pool.snapshot()
    assert found.sessions[0].cwd == found.upstreams[0].cwd == "/\N{REPLACEMENT CHARACTER}"
    assert found.upstreams[0].argv == (b"\xff",)


def test_neither_environment_nor_payloads_are_in_it() -> None:
    play = legacy(A)
    play(host(A, 3, call(1, '{"a":"secret"}')), up(call(U + 1, '{"a":"secret"}')))
    play.pool.sessions[A].spec = LaunchSpec((b"s",), b"/s", b"/", (SECRET,), 0, ())
    assert "secret" not in repr(play.pool.snapshot())


def test_a_pool_that_leaves_says_so() -> None:
    play = legacy(A)
    play.pool.draining = True
    assert play.pool.snapshot().draining
