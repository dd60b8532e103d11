"""JSON as hosts read it: RFC 8259, and comments, trailing commas and a byte order mark, which most of them allow."""

from __future__ import annotations

import json
import re
from typing import Any

from mux.cli.install.syntax import Format, Items, Member, Node, Other, SyntaxFault, Table, Word, fault
from mux.limits import CONFIG_DEPTH

_TRIVIA = re.compile(r"(?:[ \t\r\n]++|//[^\r\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/)*+")
_BEGIN_TRIVIA = frozenset(" \t\r\n/")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"')
_CONSTANTS = {"true": True, "false": False, "null": None}
_ATOM = re.compile(r"(?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null)(?![\w.+-])")


def parse(text: str) -> Table:
    """The tree of a file whose top is an object. Raises SyntaxFault."""
    parser = _Parser(text)
    if parser.at_end():
        return Table()
    top = parser.value(0)
    if not parser.at_end():
        raise parser.fault("nothing may follow the end of the object")
    if not isinstance(top, Table):
        raise fault("expected an object: '{'", text, top.start)
    return top


def skip(text: str, at: int) -> int:
    """The offset after white space and comments."""
    if text[at : at + 1] not in _BEGIN_TRIVIA:  # the common case, at a tenth of the price
        return at
    found = _TRIVIA.match(text, at)
    assert found is not None
    return found.end()


def plain(_text: str, node: Node) -> Any:
    """The content, without comments."""
    if isinstance(node, Table):
        return {member.key: plain(_text, member.value) for member in node.members}
    if isinstance(node, Items):
        return [plain(_text, item) for item in node.items]
    return node.value


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 1 if text.startswith("\ufeff") else 0

    def fault(self, what: str) -> SyntaxFault:
        """`what`, here."""
        if self._at == len(self._text):
            what = f"the file ends here; {what}"
        elif self._text.startswith("/*", self._at):
            what = "this comment does not end"
        return fault(what, self._text, self._at)

    def at_end(self) -> bool:
        """Only white space and comments are left; they are skipped."""
        self._at = skip(self._text, self._at)
        return self._at == len(self._text)

    def value(self, depth: int) -> Node:
        """The value that begins here."""
        first = self._text[self._at : self._at + 1]
        if first == '"':
            return self._word("")
        if first in ("{", "[") and depth == CONFIG_DEPTH:
            raise self.fault(f"nested deeper than {CONFIG_DEPTH} levels")
        if first == "{":
            return self._table(depth + 1)
        if first == "[":
            return self._items(depth + 1)
        found = _ATOM.match(self._text, self._at)
        if found is None:
            raise self.fault("expected a value")
        atom = found.group()
        try:
            value = _CONSTANTS[atom] if atom in _CONSTANTS else json.loads(atom)
        except ValueError:
            raise self.fault("this number has too many digits") from None
        start, self._at = self._at, found.end()
        return Other(start, self._at, value)

    def _table(self, depth: int) -> Table:
        start, members = self._at, list[Member]()
        self._at += 1
        while not self._closed("}"):
            key = self._word("expected a key in double quotes, or '}'")
            self.at_end()
            if not self._text.startswith(":", self._at):
                raise self.fault("expected ':'")
            self._at += 1
            self.at_end()
            members.append(Member(key.value, key.start, key.start, self.value(depth), inline=True))
            self._separated("}")
        return Table(start, self._at, members)

    def _items(self, depth: int) -> Items:
        start, items = self._at, list[Node]()
        self._at += 1
        while not self._closed("]"):
            items.append(self.value(depth))
            self._separated("]")
        return Items(start, self._at, items)

    def _closed(self, bracket: str) -> bool:
        self.at_end()
        if self._text.startswith(bracket, self._at):
            self._at += 1
            return True
        return False

    def _separated(self, bracket: str) -> None:
        self.at_end()
        if self._text.startswith(",", self._at):
            self._at += 1
        elif not self._text.startswith(bracket, self._at):
            raise self.fault(f"expected ',' or '{bracket}'")

    def _word(self, expected: str) -> Word:
        if not self._text.startswith('"', self._at):
            raise self.fault(expected)
        found = _STRING.match(self._text, self._at)
        if found is None:
            raise self.fault("this string does not end on its line, or has an unknown escape in it")
        start, self._at = self._at, found.end()
        literal = found.group()
        return Word(start, self._at, json.loads(literal) if "\\" in literal else literal[1:-1])


JSONC = Format(parse, skip, plain, '"{}": ')
