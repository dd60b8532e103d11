"""`mux restart`: a new process for a server, or a new backend for everything, and no session loses anything."""

from __future__ import annotations

import argparse
import time

from mux.cli import control, stop, succession, text
from mux.cli.control import Conversation
from mux.limits import REUNION_SECONDS, SUCCESSION_SECONDS, TREE_POLL_SECONDS
from mux.rendezvous.paths import places


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux restart`'s part of the command line."""
    parser = commands.add_parser(
        "restart",
        help="restart a server, or everything, keeping all sessions",
        description="Restart one server, or the backend with all of them: what is in flight is answered first, what "
        "comes meanwhile waits for the new one. After an upgrade the new version takes over, sessions and all.",
        allow_abbrev=False,
    )
    control.add_socket_option(parser)
    stop.add_upstream(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Raises MuxError if a backend is there and does not answer, or does not end, or if no new one can be started."""
    candidates = places(options.socket)
    conversation = control.converse(candidates)
    if conversation is None:
        print(f"No backend is running at {candidates[0].socket}: the next session starts this version.")
        return 0
    with conversation:
        before = conversation.ask("restart", upstream=options.upstream, hold_off=SUCCESSION_SECONDS)
        if options.upstream is not None:
            stop.await_server(conversation, options.upstream)
            print(f"Server {options.upstream} was stopped; its next process starts with a request, or runs already.")
            return 0
        succession.await_end(conversation, before)
    conversation, _ = succession.join_or_start(options.socket, before["options"])
    with conversation:
        sessions = _reunion(conversation, before["sessions"])
        after = conversation.ask("start")
    print(
        f"Restarted: mux {before['version']} (pid {before['pid']}) is now mux {after['version']} (pid {after['pid']}); "
        f"{sessions} of {text.plural(before['sessions'], 'session')} connected."
    )
    if sessions < before["sessions"]:
        print("The others have ended meanwhile, or come back by themselves.")
    return 0


def _reunion(conversation: Conversation, expected: int) -> int:
    """How many sessions have come back, of those expected; waits for them a while."""
    deadline = time.monotonic() + REUNION_SECONDS
    while True:
        found = int(conversation.ask("status")["backend"]["sessions"])
        if found >= expected or time.monotonic() > deadline:
            return min(found, expected)
        time.sleep(5 * TREE_POLL_SECONDS)
