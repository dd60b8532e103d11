"""`mux install` and `mux uninstall`: find the hosts' files, show what would change, change it with `--yes`.

Exit codes: 0 done, or nothing to do; 1 a file was refused (the others are done); 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import difflib
import os
import shlex
import sys
from collections.abc import Sequence

from mux.cli.install import program
from mux.cli.install.files import Refused, backup_directory, replace
from mux.cli.install.hosts import HOSTS, Home, Host, Place, places
from mux.cli.install.plan import Install, Judge, Plan, Uninstall, make
from mux.cli.text import plural, printable
from mux.errors import MuxError, UsageError


def add_install(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux install`'s part of the command line."""
    parser = commands.add_parser(
        "install",
        help="put mux-shim before the servers in your hosts' configuration files",
        description="Find the configuration files of your hosts, show how their stdio servers would be shared, "
        "and write that with --yes. Comments, order and formatting stay; `mux uninstall` takes it back.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_common(parser, "share only this one, even where it is known to be better left alone; repeatable")
    parser.add_argument(
        "--shim", metavar="PATH", help="name this mux-shim (default: the installed one; in a project's file: mux-shim)"
    )
    parser.set_defaults(run=_run, undo=False)


def add_uninstall(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux uninstall`'s part of the command line."""
    parser = commands.add_parser(
        "uninstall",
        help="take mux-shim out of your hosts' configuration files again",
        description="Find the servers that go through mux-shim, show their files without it, and write that with "
        "--yes. Everything else in the files stays, later edits too.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_common(parser, "only this one; repeatable")
    parser.set_defaults(run=_run, undo=True, shim=None)


_EPILOG = f"""\
hosts: {", ".join(host.name for host in HOSTS)}

Exit codes: 0 done or nothing to do, 1 a file was refused (the others are done), 2 wrong command line."""


def _add_common(parser: argparse.ArgumentParser, server: str) -> None:
    parser.add_argument("hosts", nargs="*", metavar="HOST", help="only these (default: every host that is found)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--yes", "-y", action="store_true", help="write the files")
    how.add_argument("--dry-run", action="store_true", help="only show the changes, as without --yes")
    parser.add_argument(
        "--project",
        action="store_true",
        help="also the files of the project around this directory, which a team may share",
    )
    parser.add_argument("--server", action="append", default=[], metavar="NAME", help=server)


def _run(options: argparse.Namespace) -> int:
    """Both commands. Raises UsageError, and MuxError where nothing can be done at all."""
    hosts = _hosts(options.hosts)
    home = Home.of(os.environ)
    try:
        directory = os.getcwd()
    except OSError as error:
        raise MuxError("the working directory is gone. Change to one that exists, then repeat this") from error
    if sys.platform == "win32":
        if not options.undo:
            raise MuxError("on Windows mux-shim shares nothing yet, so nothing is installed there")
    else:
        from mux.cli import interrupts

        interrupts.install()  # a signal leaves no temporary file behind
    found = places(hosts, home, directory)
    mine = [place for place in found if options.project or not place.shared]
    plans, refused = _plans(mine, options)
    try:
        for plan in plans:
            _show(plan, home)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its exit
        if not options.yes:
            return 0
        raise MuxError("nobody reads the changes any more, so nothing is written. Let the output through") from None
    written = [plan for plan in plans if options.yes and plan.changes and _write(plan, home, refused)]
    for complaint in refused:
        print(f"mux: {complaint}", file=sys.stderr)
    if any(plan.changes for plan in plans) or (found and not refused):
        print(_summary(options, plans, written))
    _hint(options, hosts, home, found, mine)
    return 1 if refused else 0


def _write(plan: Plan, home: Home, refused: list[MuxError]) -> bool:
    """Replace the file of `plan`; what hinders that joins `refused`."""
    try:
        backup = replace(plan.old, plan.new.encode(), backup_directory(home))
    except Refused as error:
        refused.append(error)
        return False
    print(f"Wrote {_short(plan.place.path, home)}; what it was is in {_short(backup, home)}")
    return True


def _hosts(names: Sequence[str]) -> list[Host]:
    by_name = {host.name: host for host in HOSTS}
    for name in names:
        if name not in by_name:
            close = difflib.get_close_matches(name, by_name, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"There are: {', '.join(by_name)}."
            raise UsageError(f"there is no host {name!r}. {hint}")
    return [by_name[name] for name in names] or list(HOSTS)


def _plans(mine: Sequence[Place], options: argparse.Namespace) -> tuple[list[Plan], list[MuxError]]:
    """What is to be done, and what refused. Raises MuxError if no mux-shim can be named, UsageError for the options."""
    forced = None if options.shim is None else program.chosen(options.shim)
    own = forced or (
        program.installed(os.environ) if not options.undo and not all(place.shared for place in mine) else program.BARE
    )
    only = frozenset[str](options.server)
    plans: list[Plan] = []
    refused: list[MuxError] = []
    for place in mine:
        judge: Judge
        if options.undo:
            judge = Uninstall(place)
        else:
            shim = own if forced or not place.shared else program.BARE
            judge = Install(place, shim, forced is not None, only)
        try:
            plans.append(make(place, judge, only))
        except Refused as error:
            refused.append(error)
    known = {name for plan in plans for note in plan.notes for name in (note.server.path[-1], note.server.name)}
    missing = only - known
    if missing and not refused:
        raise UsageError(f"no file has a server called {', '.join(sorted(missing))}. Without --server all are listed")
    return plans, refused


def _show(plan: Plan, home: Home) -> None:
    notes = [note for note in plan.notes if note.text]
    if not notes:
        return
    shared = ", shared by a project" if plan.place.shared else ""
    print(f"{plan.place.host.title}: {_short(plan.place.path, home)}{shared}")
    width = max(len(note.server.name) for note in notes)
    for note in notes:
        mark = "*" if note.edits else " "
        print(f"{mark} {printable(note.server.name):{width}}  {printable(note.text)}")
    for line in plan.diff:
        print(f"    {line}")
    print()


def _summary(options: argparse.Namespace, plans: Sequence[Plan], written: Sequence[Plan]) -> str:
    changing = [plan for plan in plans if plan.changes]
    verb = "unshared" if options.undo else "shared"
    if not changing:
        return f"Nothing to do: no server is {'shared' if options.undo else 'left that could be shared'}."
    if not options.yes:
        count = plural(sum(plan.changes for plan in changing), "server")
        command = shlex.join(["mux", *_words(options), "--yes"])
        return (
            f"{count} in {plural(len(changing), 'file')} would be {verb} (* above; strings that could be secret are "
            f'shown as "…"). Nothing is written yet: `{command}` does it.'
        )
    if not written:
        return "Nothing was written."
    titles = _listed([*dict.fromkeys(plan.place.host.title for plan in written)])
    count = plural(sum(plan.changes for plan in written), "server")
    then = "" if options.undo else " `mux status` shows what is shared, `mux uninstall` takes this back."
    return f"{count} {verb}. Restart {titles} to make it count.{then}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _words(options: argparse.Namespace) -> list[str]:
    """The command line again, as it was meant."""
    words = ["uninstall" if options.undo else "install", *options.hosts]
    words += ["--project"] if options.project else []
    words += [word for name in options.server for word in ("--server", name)]
    return words + (["--shim", options.shim] if options.shim else [])


def _hint(
    options: argparse.Namespace, hosts: Sequence[Host], home: Home, found: Sequence[Place], mine: Sequence[Place]
) -> None:
    """What a person may have expected to be touched."""
    for place in found:
        if place not in mine:
            print(f"Not touched: {_short(place.path, home)} belongs to a project; --project includes it.")
    if not found:
        where = dict.fromkeys(path for host in hosts for path in host.user(home)) if options.hosts else ()
        looked = ": " + ", ".join(_short(path, home) for path in where) if where else ""
        print(f"No configuration file was found{looked}. Add a server to your host first, then repeat this.")
    if options.project and any(place.shared for place in mine) and not options.undo:
        print(f"Whoever shares the project needs {program.BARE} on their PATH.")


def _short(path: str, home: Home) -> str:
    inside = path.startswith(home.home + os.sep)
    return printable("~" + path[len(home.home) :] if inside else path)
