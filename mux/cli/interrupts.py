"""Signals that end a command which has started processes: once, and never between a start and its being noted."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Generator

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)

_deferring = False
_pending: list[int] = []


def install() -> None:
    """From now on SIGINT, SIGTERM, SIGHUP and SIGALRM raise SystemExit(128 + number), the first of them only.

    What unwinds then must not be cut short: all its waits are bounded.
    """
    for number in _ENDING:
        signal.signal(number, _handle)


@contextlib.contextmanager
def deferred() -> Generator[None, None, None]:
    """A signal in this block takes effect at its end. For the start of a process, which is short."""
    global _deferring  # noqa: PLW0603 - signal handlers are global too
    _deferring = True
    try:
        yield
    finally:
        _deferring = False
        if _pending:
            _leave(_pending[0])


def _handle(number: int, _frame: object) -> None:
    if _deferring:
        _pending.append(number)
    else:
        _leave(number)


def _leave(number: int) -> None:
    for other in _ENDING:
        signal.signal(other, signal.SIG_IGN)
    _pending.clear()
    raise SystemExit(128 + number)
