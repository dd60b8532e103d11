"""The servers of a configuration file, in whichever of the hosts' forms, and the two edits: share one, unshare one.

Both are exact opposites in bytes. Sharing moves the command's literal, as it is written, in front of the arguments;
unsharing moves it back. Where there were no arguments the new list is `[ "like this" ]`, where there was an empty one
it is `["like this"]`: that is how unsharing knows which of the two to leave.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence

from mux.cli.install.syntax import Edit, Format, Items, Member, Node, Table, Word, quote, words
from mux.shim.main import parse as parse_shim

INSIDE = "mux-shim stands inside its command already"
_REMOTE = "a remote server, nothing is started here"
_REMOTE_KEYS = ("url", "serverUrl", "httpUrl", "tcp")
_REMOTE_TYPES = ("remote", "http", "sse", "streamable-http", "streamable_http", "ws", "websocket")


@dataclasses.dataclass(frozen=True)
class Server:
    """One server. `path`: the keys down to the table that holds its command.

    `remark`: why it can not be shared, empty if it can; then `argv` is what the host starts.
    """

    path: tuple[str, ...]
    name: str
    table: Table
    remark: str = ""
    argv: tuple[str, ...] = ()
    command: Member | None = None

    @property
    def shim(self) -> str:
        """The mux-shim that it goes through already, as written; empty if through none."""
        return self.argv[0] if self.argv and is_shim(self.argv[0]) else ""

    @property
    def own_argv(self) -> tuple[str, ...]:
        """The command behind mux-shim and its options. Raises UsageError if there is none."""
        _, command = parse_shim(self.argv[1:])
        return tuple(command)


def is_shim(word: str) -> bool:
    """Is `word` some mux-shim, wherever it lies."""
    return re.split(r"[\\/]", word)[-1] in ("mux-shim", "mux-shim.exe")


def find(root: Table, tables: Sequence[Sequence[str]]) -> Iterator[Server]:
    """The servers below the given keys. Where a name occurs twice, the one that counts: the last."""
    for keys in tables:
        for path, table in _descend(root, keys, ()):
            for name in dict.fromkeys(member.key for member in table.members):
                yield _server((*path, name), table.get(name))


def _descend(table: Table, keys: Sequence[str], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Table]]:
    if not keys:
        yield path, table
        return
    names = dict.fromkeys(member.key for member in table.members) if keys[0] == "*" else (keys[0],)
    for name in names:
        value = table.get(name)
        if isinstance(value, Table):
            yield from _descend(value, keys[1:], (*path, name))


def _server(path: tuple[str, ...], value: Node | None) -> Server:
    name = path[-1] if path[0] != "projects" else f"{path[-1]} ({path[1]})"
    table = value if isinstance(value, Table) else Table()
    kind = table.get("type")
    if isinstance(kind, Word) and kind.value in _REMOTE_TYPES:
        return Server(path, name, table, _REMOTE)
    command = table.member("command")
    if command is not None and isinstance(command.value, Table):  # Zed's older form
        return _stdio((*path, "command"), name, command.value, command.value.member("path"))
    if command is None:
        remote = any(table.get(key) is not None for key in _REMOTE_KEYS)
        return Server(path, name, table, _REMOTE if remote else "it has no command")
    return _stdio(path, name, table, command)


def _stdio(path: tuple[str, ...], name: str, table: Table, command: Member | None) -> Server:
    odd = Server(path, name, table, "its command and arguments are not strings")
    if command is None:
        return odd
    match command.value:
        case Items(items=items):
            literals = items
        case Word() as word:
            args = table.get("args")
            if args is not None and not isinstance(args, Items):
                return odd
            literals = [word, *(args.items if args else ())]
        case _:
            return odd
    argv = tuple(literal.value for literal in literals if isinstance(literal, Word))
    if len(argv) < len(literals):
        return odd
    if not argv or not argv[0]:
        return dataclasses.replace(odd, remark="its command is empty")
    if not is_shim(argv[0]) and _is_shell_line(argv[0]):
        return dataclasses.replace(odd, remark=f"{argv[0]!r} is a line for a shell, mux-shim starts a program")
    if not is_shim(argv[0]) and any(map(is_shim, argv[1:])):
        return dataclasses.replace(odd, remark=INSIDE)
    return Server(path, name, table, "", argv, command)


def _is_shell_line(command: str) -> bool:
    return len(command.split()) > 1 and not os.path.exists(command) and shutil.which(command) is None


def share(text: str, form: Format, server: Server, shim: str, options: Sequence[str]) -> list[Edit]:
    """Put `shim` with its `options` before the command."""
    member = server.command
    assert member is not None
    if isinstance(member.value, Items):
        first = member.value.items[0].start
        return [Edit(first, first, "".join(f"{quote(word)}, " for word in (shim, *options)))]
    command = member.value
    moved = ", ".join((*map(quote, options), text[command.start : command.end]))
    edits = [Edit(command.start, command.end, quote(shim))]
    args = server.table.get("args")
    if not isinstance(args, Items):
        prefix = text[member.start : member.stem] + form.assignment.format("args")
        edits.append(Edit(command.end, command.end, _before_next(text, member) + f"{prefix}[ {moved} ]"))
    elif args.items:
        edits.append(Edit(args.items[0].start, args.items[0].start, moved + ", "))
    else:
        edits.append(Edit(args.start + 1, args.start + 1, moved))
    return edits


def _before_next(text: str, member: Member) -> str:
    """What separates a new member from `member` in front of it, in the way in which the file does it."""
    start = text.rfind("\n", 0, member.start) + 1
    indent = text[start : member.start].lstrip("\ufeff")
    alone = not indent.strip(" \t")
    if member.inline and not alone:
        return ", "
    newline = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
    return ("," if member.inline else "") + newline + indent


def repoint(server: Server, shim: str) -> list[Edit]:
    """Name another mux-shim in front of a shared server."""
    assert server.command is not None
    value = server.command.value
    literal = value.items[0] if isinstance(value, Items) else value
    return [Edit(literal.start, literal.end, quote(shim))]


def unshare(text: str, form: Format, server: Server) -> list[Edit]:
    """Take mux-shim and its options away. Raises UsageError if no command stands behind them."""
    member = server.command
    assert member is not None
    dropped = len(server.argv) - len(server.own_argv)
    if isinstance(member.value, Items):
        return _drop(text, form, member.value, dropped)
    args = server.table.member("args")
    assert args is not None
    assert isinstance(args.value, Items)
    command, literal = member.value, args.value.items[dropped - 1]
    edits = [Edit(command.start, command.end, text[literal.start : literal.end])]
    if dropped == len(args.value.items) and _is_ours(text, member, args):
        return [*edits, Edit(command.end, args.value.end, "")]
    return edits + _drop(text, form, args.value, dropped)


def _is_ours(text: str, command: Member, args: Member) -> bool:
    """Does the list of arguments stand as `share` writes it where there was none."""
    value = args.value
    assert isinstance(value, Items)
    between = text[command.value.end : args.start]
    return (
        text[value.start : value.items[0].start] == "[ "
        and text[value.items[-1].end : value.end] == " ]"
        and args.start > command.value.end
        and between.strip(" \t\r\n") == ("," if args.inline else "")
    )


def _drop(text: str, form: Format, array: Items, count: int) -> list[Edit]:
    """Remove the first `count` items with their commas and the blanks behind them; comments stay."""
    edits: list[Edit] = []
    for item in array.items[:count]:
        edits.append(Edit(item.start, item.end, ""))
        comma = form.skip(text, item.end)
        if text[comma] == ",":
            end = comma + 1
            while text[end] in " \t\r\n":
                end += 1
            # The blanks before the bracket are not ours: nothing follows that they would separate.
            edits.append(Edit(comma, end if text[end] != "]" else comma + 1, ""))
    return edits


def secrets(root: Table, servers: Iterable[Server]) -> list[Word]:
    """Every string value that may be one: all but those by which a server is started."""
    plain: set[int] = set()
    for server in servers:
        for key in ("command", "path", "args", "type"):
            value = server.table.get(key)
            if value is not None and not isinstance(value, Table):
                plain.update(word.start for word in words(value))
    return sorted((word for word in words(root) if word.start not in plain), key=lambda word: word.start)
