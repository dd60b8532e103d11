"""`mux start`: what was stopped may be used again."""

from __future__ import annotations

import argparse

from mux.cli import control, succession


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux start`'s part of the command line."""
    parser = commands.add_parser(
        "start",
        help="let sessions that `mux stop` has stopped go on",
        description="Let sessions that `mux stop` has stopped go on: they notice within seconds. A backend is started "
        "where none runs; otherwise the first session does that by itself.",
        allow_abbrev=False,
    )
    control.add_socket_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """A backend that is just leaving is waited for. Raises MuxError if it stays, or if none can be started."""
    while True:
        conversation, started = succession.join_or_start(options.socket, succession.configured_options())
        with conversation:
            answer = conversation.ask("start")
            if not answer.get("leaving"):  # older backends do not say
                break
            succession.await_end(conversation, answer)
    what = f"mux {answer['version']}, pid {answer['pid']}"
    if started:
        print(f"Started the backend at {conversation.socket}: {what}. Without a session it leaves after the grace.")
    else:
        print(f"The backend at {conversation.socket} runs: {what}. What was stopped may be used again.")
    return 0
