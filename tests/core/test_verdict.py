"""What a server is taken for that ends when it is asked for its era."""

from __future__ import annotations

from mux import errors
from tests.core.playbook import (
    SERVER,
    A,
    B,
    C,
    Failed,
    Play,
    U,
    ask,
    exited,
    host,
    initialize,
    knows,
    launch,
    opened,
    result,
    server,
    started,
    to,
    up,
    welcome,
)

PROBE = ask('"probe"', "server/discover")
U2 = U + 40_000


def test_a_server_that_a_discover_ends_and_that_takes_initialize_is_legacy() -> None:
    """Whoever asks later is told so at once, and no process is started for it."""
    play = Play()
    for session in (A, B):
        play(opened(session), welcome(session))
    play(host(A, 1, PROBE), launch())
    play(started(), up(ask(U, "server/discover")))
    play(host(B, 1, PROBE), up(ask(U + 1, "server/discover")))
    play(exited())
    refused = {seen: Failed(seen, 1, '"probe"', errors.METHOD_NOT_FOUND) for seen in (A, B, C)}
    play(host(A, 2, initialize()), refused[A], launch(2, upstream=2))
    play(started(2), up(initialize(U2), 2))
    play(server(result(U2, SERVER), 2), knows(A, 2), to(A, 2, result(0, SERVER)), refused[B])
    play(opened(C), welcome(C))
    play(host(C, 1, PROBE), refused[C])
