"""What is to be done to one file: which of its servers change and how, proven before anything is written."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable, Collection, Sequence
from typing import Any

from mux.cli.install import servers
from mux.cli.install.advice import advice
from mux.cli.install.diff import Diff
from mux.cli.install.files import Refused, Snapshot, read
from mux.cli.install.hosts import Place, format_of
from mux.cli.install.servers import INSIDE, Server
from mux.cli.install.syntax import Edit, SyntaxFault, apply
from mux.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Note:
    """What becomes of one server; no `text` where nobody asks. `edits`: how, none if it stays. `argv`: its new one."""

    server: Server
    text: str
    edits: Sequence[Edit] = ()
    argv: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Plan:
    """One file, read and decided about."""

    place: Place
    old: Snapshot
    new: str
    notes: Sequence[Note]
    diff: Sequence[str]

    @property
    def changes(self) -> int:
        """How many servers change."""
        return sum(bool(note.edits) for note in self.notes)


Judge = Callable[[str, Server], Note]
"""From the text of a file and one of its servers to what becomes of it."""


def make(place: Place, judge: Judge, only: Collection[str]) -> Plan:
    """Read the file at `place` and decide about each server, or about those named in `only`. Raises Refused."""
    old = read(place.path)
    text = old.text
    form = format_of(place.path)
    try:
        root = form.parse(text)
    except SyntaxFault as error:
        raise Refused(
            f"{place.path} cannot be parsed, and is left alone: {error}. Mend that, then repeat this"
        ) from None
    found = list(servers.find(root, place.host.tables))
    notes = [judge(text, server) for server in found if not only or server.path[-1] in only or server.name in only]
    edits = [edit for note in notes for edit in note.edits]
    new = apply(text, edits)
    _prove(place, form.plain(text, root), new, notes)
    diff = list(Diff(text, edits, servers.secrets(root, found)).lines()) if edits else []
    return Plan(place, old, new, notes, diff)


@dataclasses.dataclass(frozen=True)
class Install:
    """Share every server that can be shared. `named`: by the user, who overrules what is known about them.

    `forced`: `shim` is the user's own choice, so that servers shared through another are changed to it.
    """

    place: Place
    shim: str
    forced: bool
    named: frozenset[str]

    def __call__(self, text: str, server: Server) -> Note:
        """Judge one server."""
        if server.remark:
            return Note(server, f"left alone: {server.remark}")
        if server.shim:
            return self._shared(server)
        known = advice(server.argv)
        scope = known.scope
        if not known.share:
            if self.named.isdisjoint((server.path[-1], server.name)):
                name = shlex.quote(server.path[-1])
                return Note(server, f"left alone: {known.reason}. `--server {name}` shares it all the same")
            scope = "directory"  # said explicitly: what is known about it would count otherwise
        options = ("--scope", scope) if scope else ()
        return Note(
            server,
            f"shared, with --scope {scope}: {known.reason}" if scope else "shared",
            servers.share(text, format_of(self.place.path), server, self.shim, options),
            (self.shim, *options, *server.argv),
        )

    def _shared(self, server: Server) -> Note:
        old = server.shim
        gone = os.path.isabs(old) and not os.path.exists(old)
        if old == self.shim or not (self.forced or gone):
            return Note(server, "shared already")
        return Note(
            server,
            f"shared already, through {old}" + (", which is gone" if gone else ""),
            servers.repoint(server, self.shim),
            (self.shim, *server.argv[1:]),
        )


@dataclasses.dataclass(frozen=True)
class Uninstall:
    """Take mux-shim away from every server that has it."""

    place: Place

    def __call__(self, text: str, server: Server) -> Note:
        """Judge one server."""
        if not server.shim:
            return Note(server, f"left alone: {INSIDE}" if server.remark == INSIDE else "")
        try:
            argv = server.own_argv
        except UsageError as error:
            return Note(server, f"left alone: its mux-shim has no command to leave behind ({error})")
        edits = servers.unshare(text, format_of(self.place.path), server)
        return Note(server, "no longer shared", edits, argv)


def _prove(place: Place, expected: Any, new: str, notes: Sequence[Note]) -> None:
    """Read `new` with fresh eyes: the commands of `expected`, the old content, have changed, and nothing else has."""
    if not any(note.edits for note in notes):
        return
    form = format_of(place.path)
    actual = form.plain(new, form.parse(new))
    for note in notes:
        if not note.edits:
            continue
        assert note.server.command is not None
        key = note.server.command.key
        table = _table(expected, note.server)
        for either in (table, _table(actual, note.server)):
            either.setdefault("args", [])
        if isinstance(table[key], list):
            table[key] = list(note.argv)
        else:
            table[key], table["args"] = note.argv[0], list(note.argv[1:])
    if expected != actual:
        raise Refused(
            f"{place.path} is left alone: the edit would have changed more than commands. This is a bug in mux; "
            "please report it with the shape of the file"
        )


def _table(content: Any, server: Server) -> dict[str, Any]:
    table: dict[str, Any] = content
    for key in server.path:
        table = table[key]
    return table
