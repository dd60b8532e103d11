"""A process that is asked for its era: who asked, and what it said."""

from __future__ import annotations

from tests.core.playbook import Play, U, ask, host, launch, opened, server, started, to, up, welcome

DISCOVER = ask('"d"', "server/discover")
LEGACY = '{"code":-32601,"message":"Unknown method","data":1E400}'


def failed(id_: int | str, body: str = LEGACY) -> bytes:
    return f'{{"jsonrpc":"2.0","id":{id_},"error":{body}}}'.encode()


def probing(*sessions: int, up_yet: bool = True) -> Play:
    """Sessions that have asked a fresh process for its era, each as its line 1: ids U and on."""
    play = Play()
    for session in sessions:
        play(opened(session), welcome(session))
    first, *others = sessions
    play(host(first, 1, DISCOVER), launch())
    if up_yet:
        play(started(), up(ask(U, "server/discover")))
    for number, session in enumerate(others, 1):
        play(host(session, 1, DISCOVER), *([up(ask(U + number, "server/discover"))] if up_yet else []))
    return play


def is_legacy(*sessions: int) -> Play:
    """The same, and the process has refused them all."""
    play = probing(*sessions)
    for number, session in enumerate(sessions):
        play(server(failed(U + number)), to(session, 1, failed('"d"')))
    return play
