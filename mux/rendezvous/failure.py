"""NAME.fail: why the last start failed, so that a hundred shims do not each try what one found to be impossible.

A note (mux/rendezvous/notes.py). Times are monotonic; a record from the future counts as absent.
"""

from __future__ import annotations

from time import monotonic

from mux.limits import FAIL_CEILING_SECONDS, FAIL_FIRST_SECONDS
from mux.rendezvous import notes


class Failure:
    """A start failed at `at` (monotonic seconds) for `reason`; nobody tries again for `delay` seconds."""

    __slots__ = ("at", "delay", "reason")

    def __init__(self, at: float, delay: float, reason: str) -> None:
        self.at = at
        self.delay = delay
        self.reason = reason

    @property
    def holds(self) -> bool:
        """Whether it is still too early to try again."""
        return monotonic() < self.at + self.delay


def read(path: str) -> Failure | None:
    """The record at `path`, None if there is none that counts."""
    note = notes.read(path)
    if note is None:
        return None
    try:
        times, reason = note.split("\n", 1)
        at, delay = (float(value) for value in times.split())
    except ValueError:
        notes.ignore(path)
        return None
    if not (at <= monotonic() and 0 < delay <= FAIL_CEILING_SECONDS):
        return None
    return Failure(at, delay, reason.strip())


def write(path: str, reason: str) -> None:
    """Record a failed start; the delay doubles from one failure to the next. A full disk loses the record, no more."""
    last = read(path)
    delay = min(last.delay * 2, FAIL_CEILING_SECONDS) if last else FAIL_FIRST_SECONDS
    try:
        notes.write(path, f"{monotonic()!r} {delay!r}\n{reason}")
    except OSError:
        return


def clear(path: str) -> None:
    """A start succeeded."""
    notes.clear(path)
