"""`mux stop`: the end of a server, or of all of them and their backend, for the sessions that use them now."""

from __future__ import annotations

import argparse
import time

from mux.cli import control, succession, text
from mux.cli.control import BackendGone, Conversation
from mux.errors import MuxError
from mux.limits import SUCCESSION_SECONDS, TREE_POLL_SECONDS
from mux.rendezvous.paths import places


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux stop`'s part of the command line."""
    parser = commands.add_parser(
        "stop",
        help="stop a server, or everything; sessions lose its tools (`mux restart` keeps them)",
        description="Stop one server, or the backend with all of them, once what is in flight is answered. The "
        "sessions that use it stay connected to their hosts but have no tools until `mux start`, a new session, or "
        "until their host restarts them. `mux restart` keeps them.",
        allow_abbrev=False,
    )
    control.add_socket_option(parser)
    add_upstream(parser)
    parser.set_defaults(run=run)


def add_upstream(parser: argparse.ArgumentParser) -> None:
    """UPSTREAM, as `stop` and `restart` take it."""
    parser.add_argument(
        "upstream", metavar="UPSTREAM", type=int, nargs="?", help="a server's number in `mux status`; default: all"
    )


def run(options: argparse.Namespace) -> int:
    """Raises MuxError if a backend is there and does not answer, or does not end."""
    candidates = places(options.socket)
    conversation = control.converse(candidates)
    if conversation is None:
        print(f"No backend is running at {candidates[0].socket}: there is nothing to stop.")
        return 0
    with conversation:
        answer = conversation.ask("stop", upstream=options.upstream)
        if options.upstream is None:
            succession.await_end(conversation, answer)
            what = f"the backend (pid {answer['pid']}) and {text.plural(answer['servers'], 'server')}"
        else:
            await_server(conversation, options.upstream)
            what = f"server {options.upstream}"
    print(f"Stopped {what}.")
    if sessions := answer["sessions"]:
        print(
            f"{text.plural(sessions, 'session')} lost the tools of it. They are back after `mux start`, when a new "
            "session needs it, or when the host restarts them. (`mux restart` would have kept them.)"
        )
    return 0


def await_server(conversation: Conversation, upstream: int) -> None:
    """Until the process that the server had is gone. Raises MuxError if it does not go."""
    deadline = time.monotonic() + SUCCESSION_SECONDS
    while _is_leaving(conversation, upstream):
        if time.monotonic() > deadline:
            what = f"server {upstream} is still there after {SUCCESSION_SECONDS:.0f} s"
            raise MuxError(f"{what}; `mux status` has its pid")
        time.sleep(5 * TREE_POLL_SECONDS)


def _is_leaving(conversation: Conversation, upstream: int) -> bool:
    try:
        state = conversation.ask("status")
    except BackendGone:  # without a session it leaves too, once its servers have
        return False
    return any(entry["id"] == upstream and entry["state"] in ("draining", "stopping") for entry in state["upstreams"])
