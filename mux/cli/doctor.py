"""`mux doctor`: one line for each thing that can be wrong, and what to do about those that are."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import NamedTuple

from mux.cli import backends, control, screen, text
from mux.errors import MuxError
from mux.rendezvous.paths import places

OK, WARNING, ERROR = "ok", "warning", "error"
_STYLES = {OK: "green", WARNING: "yellow", ERROR: "red"}


class Finding(NamedTuple):
    """One line: how bad, of what, what is so, and, unless all is well, what to do."""

    level: str
    subject: str
    fact: str
    advice: str = ""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux doctor`'s part of the command line."""
    parser = commands.add_parser(
        "doctor",
        help="find what is wrong, and say what to do",
        description="Look at the installation, the runtime directory, running backends, what was left over, the "
        "limits of the system and the files of your hosts. It changes nothing. Exit code 1 if something is an error, "
        "0 if there are warnings at most.",
        allow_abbrev=False,
    )
    control.add_socket_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print every finding; 1 if one is an error."""
    view = screen.terminal(width=None, colour=sys.stdout.isatty())
    count = {OK: 0, WARNING: 0, ERROR: 0}
    for finding in _findings(options.socket):
        count[finding.level] += 1
        level = view.paint(f"{finding.level:7}", _STYLES[finding.level])
        print(f"{level}  {finding.subject:13}  {_line(finding.fact, view)}")
        if finding.advice:
            print(f"{'':9}{'':13}  → {_line(finding.advice, view)}")
        sys.stdout.flush()
    print()
    if count[ERROR] or count[WARNING]:
        print(f"{text.plural(count[ERROR], 'error')}, {text.plural(count[WARNING], 'warning')}.")
    else:
        print("All is well.")
    return int(count[ERROR] > 0)


def _findings(socket: str | None) -> Iterator[Finding]:
    if sys.platform == "win32":
        advice = "nothing to do: mux-shim works there, without sharing"
        yield Finding(WARNING, "platform", "on Windows every server runs directly for now", advice)
        return
    from mux.cli import checks  # cannot be imported on Windows

    yield from checks.installation()
    try:
        candidates = places(socket)
    except MuxError as error:
        yield Finding(ERROR, "socket", str(error), "mend that; until then every server runs directly, not shared")
        candidates = []
    yield from checks.directories(candidates)
    named: set[int] = set()
    found = [finding for place in candidates for finding in checks.backend(place, named, ours=True)]
    if candidates and not any(finding.subject == "backend" for finding in found):
        yield Finding(OK, "backend", f"none runs at {candidates[0].socket}; the first session starts one")
    yield from found
    own = {os.path.realpath(place.socket) for place in candidates}
    for place in backends.sockets():
        if os.path.realpath(place.socket) not in own:
            yield from checks.backend(place, named, ours=False)
    yield from checks.strays(named)
    yield from checks.machine()
    yield from checks.configuration()
    yield from checks.host_files()


def _line(words: str, view: screen.View) -> str:
    return text.printable(" ".join(words.split()).replace(f"{view.home}/", "~/"))
