"""TOML with places. `tomllib` judges the text and gives its content; this only finds where things stand in it."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from mux.cli.install.syntax import Format, Items, Member, Node, Other, SyntaxFault, Table, Word, fault

_BLANK = re.compile(r"[ \t]*+")
_TRIVIA = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_BARE = re.compile(r"[A-Za-z0-9_-]++")
_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*+"|\'[^\'\n]*+\'', re.DOTALL)
_OTHER = re.compile(r"[^,\]}#\r\n]++")
_PLACE = re.compile(r" \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)$")


def parse(text: str) -> Table:
    """The tree. Raises SyntaxFault."""
    _load(text)
    return _Scanner(text).document()


def skip(text: str, at: int) -> int:
    """The offset after white space and comments."""
    found = _TRIVIA.match(text, at)
    assert found is not None
    return found.end()


def plain(text: str, _tree: Table) -> Any:
    """The content, as tomllib reads it. Raises SyntaxFault."""
    return _load(text)


def _load(text: str) -> Any:
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError as error:
        what = str(error)
        place = _PLACE.search(what)
        what = _PLACE.sub("", what)
        if place is None or place[1] is None:
            raise fault(f"{what}, at the end of the file", text, len(text)) from None
        raise SyntaxFault(what, int(place[1]), int(place[2])) from None
    except RecursionError:
        raise fault("nested too deeply", text, 0) from None
    except ValueError as error:  # an integer of thousands of digits
        raise fault(str(error), text, 0) from None


class _Scanner:
    """Trusts that the text is valid."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 1 if text.startswith("\ufeff") else 0

    def document(self) -> Table:
        root = Table()
        current = root
        while not self._at_end():
            if self._text[self._at] == "[":
                current = self._header(root)
            else:
                self._member(current, inline=False)
        return root

    def _header(self, root: Table) -> Table:
        """The table that a `[header]` opens; one apart from the tree for `[[header]]`: no host keeps servers there."""
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        self._at += brackets
        path = [name for name, _ in self._key()]
        self._at += brackets
        if brackets == 1:
            return _open(root, path)
        parent = _open(root, path[:-1])
        if parent.member(path[-1]) is None:
            parent.members.append(Member(path[-1], -1, -1, Items(-1, -1, []), inline=False))
        return Table()

    def _member(self, table: Table, *, inline: bool) -> None:
        start = self._at
        parts = self._key()
        self._at += 1  # the equals sign
        self._blank()
        name, stem = parts[-1]
        owner = _open(table, [part for part, _ in parts[:-1]])
        owner.members.append(Member(name, start, stem, self._value(), inline))

    def _key(self) -> list[tuple[str, int]]:
        """(name, offset) of each part of a dotted key; stops at what follows the blanks after it."""
        parts: list[tuple[str, int]] = []
        while True:
            self._blank()
            start = self._at
            found = (_STRING if self._text[start] in "\"'" else _BARE).match(self._text, start)
            assert found is not None
            self._at = found.end()
            name = found.group()
            parts.append((_decoded(name) if name[0] in "\"'" else name, start))
            self._blank()
            if self._text[self._at] != ".":
                return parts
            self._at += 1

    def _value(self) -> Node:
        start, first = self._at, self._text[self._at]
        if first in "\"'":
            found = _STRING.match(self._text, start)
            assert found is not None
            self._at = found.end()
            return Word(start, self._at, _decoded(found.group()))
        if first == "[":
            items: list[Node] = []
            while self._another("]"):
                items.append(self._value())
            return Items(start, self._at, items)
        if first == "{":
            table = Table()
            while self._another("}"):
                self._member(table, inline=True)
            table.start, table.end = start, self._at
            return table
        found = _OTHER.match(self._text, start)
        assert found is not None
        self._at = start + len(found.group().rstrip())
        return Other(start, self._at, self._text[start : self._at])

    def _another(self, bracket: str) -> bool:
        """Step over an opening bracket or a comma to the next element, or over the closing bracket: False."""
        self._at_end()
        if self._text[self._at] != bracket:
            self._at += 1
            self._at_end()
        if self._text[self._at] != bracket:
            return True
        self._at += 1
        return False

    def _at_end(self) -> bool:
        self._at = skip(self._text, self._at)
        return self._at == len(self._text)

    def _blank(self) -> None:
        found = _BLANK.match(self._text, self._at)
        assert found is not None
        self._at = found.end()


def _open(table: Table, path: list[str]) -> Table:
    """The table at `path` below `table`, made where it is missing; one apart where something else stands there."""
    for key in path:
        value = table.get(key)
        if value is None:
            value = Table()
            table.members.append(Member(key, -1, -1, value, inline=False))
        if not isinstance(value, Table):
            return Table()
        table = value
    return table


def _decoded(literal: str) -> str:
    value = tomllib.loads(f"word = {literal}")["word"]
    assert isinstance(value, str)
    return value


TOML = Format(parse, skip, plain, "{} = ")
