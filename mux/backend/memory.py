"""What processes weigh. Linux tells it in one file per process; elsewhere psutil asks."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from mux.backend.state import Memory

_GONE = (ProcessLookupError, PermissionError)


def weigh(pids: Iterable[int]) -> Memory | None:
    """All of them together; None if none runs, or may be looked at."""
    found = [weight for pid in pids if (weight := _one(pid)) is not None]
    if not found:
        return None
    parts = [weight.pss for weight in found]
    return Memory(
        rss=sum(weight.rss for weight in found),
        pss=None if None in parts else sum(part or 0 for part in parts),
        private=sum(weight.private for weight in found),
        copy=sum(weight.copy for weight in found),
    )


def _one(pid: int) -> Memory | None:
    if sys.platform != "linux":
        return _portable(pid)
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return _sums(file.read())
    except FileNotFoundError:
        return _portable(pid)  # Linux before 4.14
    except _GONE:
        return None


def _sums(rollup: bytes) -> Memory | None:
    """The kernel's sums over all mappings, in KiB; a process that has ended has none. What is swapped out counts."""
    lines = (line.partition(b":") for line in rollup.splitlines()[1:])
    found = {name: int(value.split()[0]) * 1024 for name, _, value in lines}
    if b"Rss" not in found:
        return None
    swapped = found.get(b"SwapPss", 0)
    dirty = found[b"Private_Dirty"] + swapped
    return Memory(
        rss=found[b"Rss"],
        pss=found[b"Pss"] + swapped,
        private=found[b"Private_Clean"] + dirty,
        copy=dirty,
    )


def _portable(pid: int) -> Memory | None:
    """Where clean pages are not told apart from others, a copy is taken to weigh what is private."""
    import psutil

    try:
        full = psutil.Process(pid).memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return Memory(rss=full.rss, pss=getattr(full, "pss", None), private=full.uss, copy=full.uss)
