"""The operator ends what nobody has used since a time. mux/wire/PROTOCOL, 5, "prune"."""

from __future__ import annotations

from mux import limits
from mux.core.events import Permit, Release
from mux.core.snapshot import Unused
from tests.core.playbook import (
    EXIT,
    OTHER_KEY,
    SERVER,
    U2,
    A,
    B,
    C,
    Play,
    U,
    call,
    closed,
    discovered,
    exited,
    host,
    initialize,
    launch,
    legacy,
    modern,
    opened,
    result,
    server,
    started,
    stop,
    up,
    welcome,
)


def deserted() -> Play:
    """Upstream 1 is unused since second 1, upstream 2 since second 3, and C is there."""
    play = legacy(A)
    play(opened(B, key=OTHER_KEY), welcome(B))
    play(host(B, 1, initialize()), launch(2, upstream=2))
    play.run(started(2))
    play.run(server(result(U2, SERVER), 2))
    play(opened(C), welcome(C))
    play.wait(1)
    play(closed(A))
    play.wait(2)
    play(closed(B))
    return play


def test_servers_that_are_unused_since_then_are_ended_and_no_younger_ones() -> None:
    play = deserted()
    assert play.pool.unused(1, play.now) == Unused(backend=False, upstreams=frozenset({1}))
    play(Release(0.9))
    play(Release(1), stop(1))
    play(exited(1, status=0))
    play(Release(2.9))
    play(Release(3), stop(2))
    play(exited(2, status=0))
    assert not play.pool.routers


def test_a_server_with_a_session_is_not_ended() -> None:
    play = legacy(A)
    play(Release(100))
    play.wait(1)
    play(closed(A))
    play.join(B)
    play(Release(100))


def test_a_server_that_a_clients_open_state_needs_is_not_ended_and_keeps_the_backend() -> None:
    play = discovered(A)
    play(host(A, 3, modern(1, "tools/call", ',"name":"t"')), up(modern(U + 2, "tools/call", ',"name":"t"')))
    play.run(server(result(U + 2, '{"resultType":"input_required"}')))
    play(closed(A))
    assert play.pool.unused(100, play.now) == Unused(backend=False, upstreams=frozenset())
    play(Release(100))
    play.wait(limits.OPEN_STATE_SECONDS, stop())


def test_the_backend_leaves_once_its_servers_have_ended() -> None:
    play = deserted()
    play(closed(C))
    assert play.pool.unused(3, play.now) == Unused(backend=True, upstreams=frozenset({1, 2}))
    play(Release(3), stop(1), stop(2))
    play(exited(1, status=0))
    play(exited(2, status=0), EXIT)


def test_the_backend_stays_if_its_last_session_has_left_since() -> None:
    play = deserted()
    play.wait(1)
    play(closed(C))
    play(Release(3.9), stop(1), stop(2))
    play(exited(1, status=0))
    play(exited(2, status=0))
    play(Release(4), EXIT)


def test_a_backend_that_has_never_had_a_session_is_as_old_as_its_start_or_as_the_order_to_serve_again() -> None:
    play = Play()
    play(Release(-1))
    play.wait(2)
    play(Permit())
    play(Release(1))
    play(Release(2), EXIT)


def test_a_session_that_comes_meanwhile_is_served() -> None:
    play = legacy(A)
    play(closed(A))
    play(Release(0), stop())
    play.join(B)
    play(host(B, 3, call(1)))
    play(exited(status=0), launch(2, generation=2))
