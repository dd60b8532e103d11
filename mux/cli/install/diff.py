"""Edits as a unified diff for a person's eyes: what may be a secret is blanked, endless lines are cut to the change."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence

from mux.cli.install.syntax import Edit, Word, apply
from mux.limits import DIFF_CONTEXT_LINES, DIFF_LINE_CHARACTERS

_BLANKED = '"…"'


class Diff:
    """The difference that `edits` make to `text`. No value of `secrets` is shown."""

    def __init__(self, text: str, edits: Sequence[Edit], secrets: Sequence[Word]) -> None:
        self._text = text
        self._edits = sorted(edits)
        self._secrets = secrets
        self._starts = [0]
        while (end := text.find("\n", self._starts[-1])) >= 0:
            self._starts.append(end + 1)
        if self._starts[-1] == len(text):
            self._starts.pop()

    def lines(self) -> Iterator[str]:
        """Hunks of a unified diff, without the two lines that name the files."""
        shift = 0
        for hunk in self._hunks():
            body: list[str] = []
            first = max(0, hunk[0][0] - DIFF_CONTEXT_LINES)
            last = min(len(self._starts), hunk[-1][1] + DIFF_CONTEXT_LINES)
            at, grown = first, 0
            for start, end in hunk:
                body += (" " + _cut(line) for line in self._shown(at, start))
                old, new = self._change(start, end)
                body += ("-" + line for line in old)
                body += ("+" + line for line in new)
                grown += len(new) - len(old)
                at = end
            body += (" " + _cut(line) for line in self._shown(at, last))
            count = last - first
            yield f"@@ -{first + 1},{count} +{first + 1 + shift},{count + grown} @@"
            yield from body
            shift += grown

    def _hunks(self) -> list[list[tuple[int, int]]]:
        """Ranges of lines that change, those within each other's context together."""
        blocks: list[tuple[int, int]] = []
        for edit in self._edits:
            start, end = self._line(edit.start), self._line(max(edit.start, edit.end - 1)) + 1
            if blocks and start < blocks[-1][1]:
                above = blocks.pop()
                start, end = above[0], max(above[1], end)
            blocks.append((start, end))
        hunks: list[list[tuple[int, int]]] = []
        for block in blocks:
            if hunks and block[0] - hunks[-1][-1][1] <= 2 * DIFF_CONTEXT_LINES:
                hunks[-1].append(block)
            else:
                hunks.append([block])
        return hunks

    def _line(self, offset: int) -> int:
        return bisect.bisect_right(self._starts, offset) - 1

    def _offset(self, line: int) -> int:
        return self._starts[line] if line < len(self._starts) else len(self._text)

    def _shown(self, first: int, last: int) -> list[str]:
        return self._render(self._offset(first), self._offset(last), changed=False)

    def _change(self, first: int, last: int) -> tuple[list[str], list[str]]:
        start, end = self._offset(first), self._offset(last)
        old, new = self._render(start, end, changed=False), self._render(start, end, changed=True)
        if max(map(len, old)) <= DIFF_LINE_CHARACTERS:
            return old, new
        pieces = [self._neighbourhood(edit, start, end) for edit in self._edits if start <= edit.start < end]
        return [piece for pair in pieces for piece in pair[0]], [piece for pair in pieces for piece in pair[1]]

    def _neighbourhood(self, edit: Edit, start: int, end: int) -> tuple[list[str], list[str]]:
        """One change in a line that is too long to be shown."""
        width = DIFF_LINE_CHARACTERS // 3
        near = max(start, edit.start - width), min(end, edit.end + width)
        shown = (self._render(*near, changed=changed) for changed in (False, True))
        old, new = ([f"… {line} …" for line in lines] for lines in shown)
        return old, new

    def _render(self, start: int, end: int, *, changed: bool) -> list[str]:
        low = bisect.bisect_right(self._secrets, start, key=lambda word: word.end)
        high = bisect.bisect_left(self._secrets, end, key=lambda word: word.start)
        edits = [self._blank(max(word.start, start), min(word.end, end)) for word in self._secrets[low:high]]
        if changed:
            edits += [edit for edit in self._edits if start <= edit.start and edit.end <= end]
        text = apply(self._text, edits, start, end)
        return [_printable(line.removesuffix("\r")) for line in text.removesuffix("\n").split("\n")]

    def _blank(self, start: int, end: int) -> Edit:
        """Hide [start, end), which keeps its number of lines."""
        return Edit(start, end, _BLANKED + "\n" * self._text.count("\n", start, end))


def _cut(line: str) -> str:
    return line if len(line) <= DIFF_LINE_CHARACTERS else line[:DIFF_LINE_CHARACTERS] + " …"


def _printable(line: str) -> str:
    """Without what could move a cursor; tabs stay."""
    return "".join(character if character.isprintable() or character == "\t" else "?" for character in line)
