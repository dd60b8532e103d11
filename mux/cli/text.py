"""How the operator's commands speak: tables, units, progress. Nothing here does more than format and print."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO


def printable(text: str) -> str:
    """`text` without what could move a cursor or fake a line: names come from hosts and servers."""
    return "".join(character if character.isprintable() else "?" for character in text)


def printable_lines(text: str, *, indent: str = "") -> str:
    """The same of many lines, which stay lines."""
    return "\n".join(f"{indent}{printable(line)}".rstrip() for line in text.splitlines())


def command(argv: Iterable[object]) -> str:
    """An argv as a shell would take it."""
    return printable(shlex.join(str(word) for word in argv))


def megabytes(count: float | None) -> str:
    """Bytes in MB (10^6 bytes), one decimal; a dash where it is not known."""
    return "-" if count is None else f"{count / 1e6:.1f} MB"


def milliseconds(seconds: float | None) -> str:
    """Seconds in ms, with as many decimals as mean something."""
    if seconds is None:
        return "-"
    count = seconds * 1e3
    return f"{count:.0f} ms" if count >= 10 else f"{count:.1f} ms" if count >= 1 else f"{count:.2f} ms"


def duration(seconds: float | None) -> str:
    """A time span for a person: 42s, 3m12s, 2h05m, 4d07h."""
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def plural(count: int, noun: str, many: str | None = None) -> str:
    """`1 session`, `2 sessions`, `2 processes`."""
    return f"{count} {noun if count == 1 else many or noun + 's'}"


def table(rows: Sequence[Sequence[str]], *, right: Iterable[int] = (), indent: str = "") -> str:
    """Columns as wide as their widest cell, two spaces between; those in `right` aligned to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    to_the_right = set(right)
    lines: list[str] = []
    for row in rows:
        cells = (
            cell.rjust(width) if column in to_the_right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append((indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


class Progress:
    """What is happening now, on stderr: one line rewritten on a terminal, plain lines elsewhere.

    Elsewhere a counted step prints its first, its last and every tenth line, so that a log stays short.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()

    def step(self, what: str, done: int = 0, of: int = 0) -> None:
        """Show `what`, and how much of it is done."""
        count = f": {done} of {of}" if of else ""
        if self._terminal:
            self._print(f"\r\x1b[K{what}{count}")
        elif not of or done in (1, of) or done % 10 == 0:
            self._print(f"{what}{count}\n")

    def close(self) -> None:
        """Leave the line empty for what is printed next."""
        if self._terminal:
            self._print("\r\x1b[K")

    def _print(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
