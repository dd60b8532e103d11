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
        return self._render(self._offset(first), self._offset(last))

    def _change(self, first: int, last: int) -> tuple[list[str], list[str]]:
        start, end = self._offset(first), self._offset(last)
        old = self._render(start, end)
        new = self._render(start, end, [edit for edit in self._edits if start <= edit.start < end])
        if max(map(len, old)) <= DIFF_LINE_CHARACTERS:
            return old, new
        width = DIFF_LINE_CHARACTERS // 6
        old, new = [], []
        for edits in self._clusters(start, end, width):
            near = max(start, edits[0].start - width), min(end, edits[-1].end + width)
            old += [f"… {line} …" for line in self._render(*near)]
            new += [f"… {line} …" for line in self._render(*near, edits)]
        return old, new

    def _clusters(self, start: int, end: int, width: int) -> list[list[Edit]]:
        """The edits in a range, those that are no further than `width` apart together."""
        found: list[list[Edit]] = []
        for edit in self._edits:
            if not start <= edit.start < end:
                continue
            if found and edit.start - found[-1][-1].end <= width:
                found[-1].append(edit)
            else:
                found.append([edit])
        return found

    def _render(self, start: int, end: int, changes: Sequence[Edit] = ()) -> list[str]:
        if start == end:
            return []
        low = bisect.bisect_right(self._secrets, start, key=lambda word: word.end)
        high = bisect.bisect_left(self._secrets, end, key=lambda word: word.start)
        edits = [self._blank(max(word.start, start), min(word.end, end)) for word in self._secrets[low:high]]
        text = apply(self._text, [*edits, *changes], start, end)
        return [_printable(line.removesuffix("\r")) for line in text.removesuffix("\n").split("\n")]

    def _blank(self, start: int, end: int) -> Edit:
        """Hide [start, end), which keeps its number of lines."""
        return Edit(start, end, _BLANKED + "\n" * self._text.count("\n", start, end))


def _cut(line: str) -> str:
    return line if len(line) <= DIFF_LINE_CHARACTERS else line[:DIFF_LINE_CHARACTERS] + " …"


def _printable(line: str) -> str:
    """Without what could move a cursor; tabs stay."""
    return "".join(character if character.isprintable() or character == "\t" else "?" for character in line)
