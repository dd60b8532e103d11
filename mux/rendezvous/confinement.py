"""What confines a process: a backend must be no way out of a sandbox, nor a sandboxed one serve everybody.

Linux only; elsewhere nothing is known, nothing is marked, and every peer of our uid passes.
"""

from __future__ import annotations

import os
import sys

from mux.errors import Denied

_NAMESPACES = ("mnt", "user", "net", "pid")
_FIELDS = ("NoNewPrivs", "Seccomp")


def values(pid: int | str = "self") -> tuple[str, ...]:
    """The mount, user, net and pid namespaces, NoNewPrivs and Seccomp of a process.

    Raises OSError if /proc does not show them; a process we may not look at counts as confined differently.
    """
    found = [os.readlink(f"/proc/{pid}/ns/{name}") for name in _NAMESPACES]
    fd = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.read(fd, 16384).decode("ascii", "replace")
    finally:
        os.close(fd)
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    found.extend(fields.get(name, "") for name in _FIELDS)
    return tuple(found)


def mark() -> str:
    """Eight hex digits for this process's confinement; "" where the platform has none. Raises Denied without /proc."""
    if sys.platform != "linux":
        return ""
    try:
        text = "\0".join(values())
    except OSError as error:
        raise Denied(f"cannot read this process's confinement: {error}") from error
    # FNV-1a: a name, not a proof (the backend compares the values themselves), and hashlib would load OpenSSL.
    digest = 0x811C9DC5
    for byte in text.encode():
        digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{digest:08x}"


def same_as(pid: int) -> bool | None:
    """Whether the process `pid` is confined exactly as we are; None if it has ended. False where it cannot be seen."""
    if sys.platform != "linux":
        return True
    try:
        return pid > 0 and values(pid) == values()
    except (FileNotFoundError, ProcessLookupError):  # a zombie has no namespaces either
        return None
    except OSError:
        return False
