"""`mux trust DIR`: let a project's own file decide what only the user may, as long as it does not change."""

from __future__ import annotations

import argparse
import os
import sys

from mux.cli import text
from mux.config import PROJECT_FILE, Settings
from mux.config import trust as records
from mux.config.files import File
from mux.errors import MuxError, UsageError


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux trust`'s part of the command line."""
    parser = commands.add_parser(
        "trust",
        help=f"let a project's {PROJECT_FILE} decide everything",
        description=f"A {PROJECT_FILE} comes with a repository: it may name a socket and share narrower, and no more. "
        "Trust it, and all of it takes effect, as long as the file does not change. Read it first: it can let a "
        "server see other variables, and choose the socket that your sessions' environments are sent to.",
        allow_abbrev=False,
    )
    parser.add_argument("directory", metavar="DIR", nargs="?", help=f"the directory of the {PROJECT_FILE}")
    parser.add_argument("--remove", action="store_true", help="trust it no more")
    parser.add_argument("--list", action="store_true", help="show what is trusted")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Record it and say what takes effect now. Raises MuxError if there is no file, or it is not ours to trust."""
    if options.list:
        for path, digest in records.trusted(os.environ, _complain):
            print(f"{text.printable(path)}{'' if _unchanged(path, digest) else '  (changed since: not trusted)'}")
        return 0
    if options.directory is None:
        raise UsageError(f"which directory? `mux trust .` trusts the {PROJECT_FILE} here")
    path = os.path.join(os.path.abspath(options.directory), PROJECT_FILE)
    if options.remove:
        known = records.forget(path, os.environ)
        print(f"{path} is {'no longer' if known else 'not'} trusted")
        return 0
    file = _read(path)
    records.trust(path, file.content, os.environ)
    print(f"{path} is trusted as it is now:")
    print(text.printable_lines(file.content.decode(), indent="  "))
    return 0


def _complain(line: str) -> None:
    print(f"mux: {text.printable(line)}", file=sys.stderr)


def _read(path: str) -> File:
    if not os.path.lexists(path):
        raise MuxError(f"there is no {path}: write it first, or name the directory that has one")
    file = File(path, Settings())
    if not file.read():
        raise MuxError(file.settings.complaints[-1])
    return file


def _unchanged(path: str, digest: str) -> bool:
    file = File(path, Settings())
    return file.read() and records.digest(file.content) == digest
