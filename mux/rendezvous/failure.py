"""NAME.fail: why the last start failed, so that a hundred shims do not each try what one found to be impossible.

Times are monotonic and belong to one boot. A record of another boot or from the future counts as absent; so does one
that is torn or not ours, which costs one line on stderr and the file.
"""

from __future__ import annotations

import os
import stat
from time import monotonic

from mux.limits import FAIL_CEILING_SECONDS, FAIL_FIRST_SECONDS
from mux.rendezvous import files

_BYTES = 8192


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
    try:
        boot, times, reason = _contents(path).split("\n", 2)
        at, delay = (float(value) for value in times.split())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        _ignore(path)
        return None
    if boot != _boot_id() or not (at <= monotonic() and 0 < delay <= FAIL_CEILING_SECONDS):
        return None
    return Failure(at, delay, reason.strip())


def _contents(path: str) -> str:
    """Raises OSError, or ValueError if this is no file of ours."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise ValueError(path)
        return os.read(fd, _BYTES).decode(errors="replace")
    finally:
        os.close(fd)


def _ignore(path: str) -> None:
    try:
        os.write(2, f"mux: {path} is ignored: it is no record of ours, or torn\n".encode(errors="replace"))
        os.unlink(path)
    except OSError:
        return


def write(path: str, reason: str) -> None:
    """Record a failed start; the delay doubles from one failure to the next. A full disk loses the record, no more."""
    last = read(path)
    delay = min(last.delay * 2, FAIL_CEILING_SECONDS) if last else FAIL_FIRST_SECONDS
    text = f"{_boot_id()}\n{monotonic()!r} {delay!r}\n{reason}\n".encode(errors="replace")[:_BYTES]
    try:
        files.replace(path, text)
    except OSError:
        return


def clear(path: str) -> None:
    """A start succeeded."""
    try:
        os.unlink(path)
    except OSError:
        return


def _boot_id() -> str:
    try:
        fd = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return "-"
    try:
        return os.read(fd, 64).decode("ascii", "replace").strip() or "-"
    finally:
        os.close(fd)
