"""A configuration file as text in which every part knows its place, so that an edit touches only what it means.

Offsets count characters of the decoded text, a byte order mark included. No serialiser is involved anywhere: what no
edit covers keeps its bytes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from mux.errors import MuxError


class SyntaxFault(MuxError):
    """The text is not what its format demands. `line` and `column` count from 1, the column in characters."""

    def __init__(self, what: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {what}")
        self.line, self.column = line, column


def fault(what: str, text: str, at: int) -> SyntaxFault:
    """`what` is wrong at the offset `at`."""
    start = text.rfind("\n", 0, at) + 1
    mark = 1 if start == 0 and text.startswith("\ufeff") else 0
    return SyntaxFault(what, text.count("\n", 0, at) + 1, at - start - mark + 1)


@dataclasses.dataclass(slots=True)
class Word:
    """A string literal, quotes included."""

    start: int
    end: int
    value: str


@dataclasses.dataclass(slots=True)
class Items:
    """An array, brackets included."""

    start: int
    end: int
    items: list[Node]


@dataclasses.dataclass(slots=True)
class Other:
    """A number, a date, true, null: nothing that is edited."""

    start: int
    end: int
    value: Any


@dataclasses.dataclass(slots=True)
class Table:
    """An object or table. One that TOML spreads over headers and dotted keys has no place: start and end are -1."""

    start: int = -1
    end: int = -1
    members: list[Member] = dataclasses.field(default_factory=list)

    def member(self, key: str) -> Member | None:
        """The member of that name; the last of several, as every host's parser takes it that accepts several."""
        return next((member for member in reversed(self.members) if member.key == key), None)

    def get(self, key: str) -> Node | None:
        """The value under `key`."""
        member = self.member(key)
        return None if member is None else member.value


@dataclasses.dataclass(slots=True)
class Member:
    """`key: value`. A dotted TOML key begins at `start`, its last part at `stem`.

    `inline`: separated from its neighbours by commas, not by the ends of lines.
    """

    key: str
    start: int
    stem: int
    value: Node
    inline: bool


Node: TypeAlias = Word | Items | Table | Other


@dataclasses.dataclass(frozen=True)
class Format:
    """One file format.

    `parse`: the tree; an empty table where the text says nothing; raises SyntaxFault.
    `skip`: the offset after white space and comments. `plain`: the content of a text and its tree as Python has it.
    `assignment`: how a key is written before its value, with {} for its name.
    """

    parse: Callable[[str], Table]
    skip: Callable[[str, int], int]
    plain: Callable[[str, Table], Any]
    assignment: str


def quote(word: str) -> str:
    """`word` as a literal that JSON and TOML read alike."""
    return json.dumps(word, ensure_ascii=False).replace("\x7f", "\\u007f")


def words(node: Node) -> Iterator[Word]:
    """Every string value at and below `node`, in no particular order."""
    waiting = [node]
    while waiting:
        match waiting.pop():
            case Word() as word:
                yield word
            case Items(items=items):
                waiting.extend(items)
            case Table(members=members):
                waiting.extend(member.value for member in members)
            case Other():
                pass


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Put `text` where [start, end) was."""

    start: int
    end: int
    text: str


def apply(text: str, edits: Iterable[Edit], start: int = 0, end: int | None = None) -> str:
    """`text[start:end]` after `edits`, which lie within it and do not overlap."""
    pieces: list[str] = []
    for edit in sorted(edits):
        assert edit.start >= start
        pieces += text[start : edit.start], edit.text
        start = edit.end
    pieces.append(text[start:end])
    return "".join(pieces)
