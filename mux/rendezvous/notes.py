"""Notes beside the socket, of one boot: text that one process leaves for others, and may be gone before it is read.

A note of another boot counts as absent; so does one that is torn or not ours, which costs one line on stderr and the
file.
"""

from __future__ import annotations

import os
import stat

from mux.rendezvous import files

_BYTES = 8192


def read(path: str) -> str | None:
    """The text of the note at `path`, None if there is none that counts."""
    try:
        boot, text = contents(path, _BYTES).decode(errors="replace").split("\n", 1)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        ignore(path)
        return None
    return text if boot == boot_id() else None


def write(path: str, text: str) -> None:
    """Put a note at `path`, whole or not at all. Raises OSError."""
    files.replace(path, f"{boot_id()}\n{text}\n".encode(errors="replace")[:_BYTES])


def clear(path: str) -> None:
    """It is history; harmless if there is none."""
    try:
        os.unlink(path)
    except OSError:
        return


def ignore(path: str) -> None:
    """What is at `path` makes no sense: say so, and remove it."""
    try:
        os.write(2, f"mux: {path} is ignored: it is no record of ours, or torn\n".encode(errors="replace"))
        os.unlink(path)
    except OSError:
        return


def contents(path: str, most: int) -> bytes:
    """Up to `most` bytes of a file. Raises OSError, or ValueError if it is no file of ours."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise ValueError(path)
        return os.read(fd, most)
    finally:
        os.close(fd)


def boot_id() -> str:
    """What tells this boot of the machine from any other; "-" where the system does not say."""
    try:
        fd = os.open("/proc/sys/kernel/random/boot_id", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return "-"
    try:
        return os.read(fd, 64).decode("ascii", "replace").strip() or "-"
    finally:
        os.close(fd)
