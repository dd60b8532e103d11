"""`mux status`: what is shared now, by whom, what it costs and what it saves."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys

import msgspec

from mux.backend.state import State, schema
from mux.cli import backends, control, screen
from mux.rendezvous.paths import places


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux status`'s part of the command line."""
    parser = commands.add_parser(
        "status",
        help="show the backend, its servers and their sessions, and what sharing saves",
        description="Show the backend, the servers that it runs, the sessions that share them, and what that saves. "
        "It never starts a backend. Exit code 0, also when none runs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    control.add_socket_option(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print JSON; without a backend, `backend` is null")
    how.add_argument("--schema", action="store_true", help="print the JSON schema of that output")
    parser.set_defaults(run=run)


_EPILOG = """\
memory     private: what the exit of the process, or of a server's whole tree, would free
saves      what the servers would take that are not started, each its pages that differ from the program's
           files, less the memory of the backend and of the shims
The numbers in the first columns are what `mux logs`, `mux explain`, `mux stop` and `mux restart` take."""


def run(options: argparse.Namespace) -> int:
    """Ask and print. Raises MuxError if a backend is there and does not answer."""
    if options.schema:
        print(json.dumps(schema(), indent=2))
        return 0
    candidates = places(options.socket)
    if options.json:
        found = control.ask(candidates, "status") or msgspec.to_builtins(State())
        print(json.dumps({**found, "others": msgspec.to_builtins(backends.others(candidates))}, indent=2))
        return 0
    answer = backends.ask(candidates)
    others = backends.others(candidates)
    view = screen.terminal(
        width=shutil.get_terminal_size().columns if sys.stdout.isatty() else None, colour=sys.stdout.isatty()
    )
    if answer is None:
        print(f"No backend is running at {candidates[0].socket}. One starts with the first session.")
        log = candidates[0].socket.removesuffix(".sock") + ".log"
        if os.path.exists(log):
            print(f"What the last one did: `mux logs`, or {view.path(log)}")
        for note, _ in screen.others(others):
            print(note)
    else:
        print("\n".join(screen.lines(msgspec.structs.replace(answer[1], others=others), view)))
    return 0
