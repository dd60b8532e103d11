"""Memory goes back to the system, now and then: dead cycles, and what the heap keeps for the next large message."""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable

from mux.limits import HEAP_SPARE_BYTES

_STATM = "/proc/self/statm"


class Heap:
    """The heap of this process. Where the system tells nothing of it, or has no way to trim it, `trim` does nothing.

    What stands in it at first stays for ever: no collection looks at that again.
    """

    def __init__(self) -> None:
        gc.freeze()
        self._enough = _written() + HEAP_SPARE_BYTES
        self._malloc_trim: Callable[[int], object] | None = None

    def trim(self) -> None:
        """Give back all free pages, if more than HEAP_SPARE_BYTES have been written to since the start. Never raises.

        Without any it takes some 20 us, else a millisecond for each 8 MiB, or each 10,000 objects since then.
        """
        if _written() > self._enough:
            gc.collect()  # by itself it would wait until a quarter of all objects is new
            if self._malloc_trim is None:
                self._malloc_trim = _malloc_trim()
            self._malloc_trim(0)


def _written() -> int:
    """Bytes in memory that stand in no file; 0 where the system does not tell."""
    try:
        with open(_STATM, "rb", buffering=0) as file:
            _size, resident, of_files, *_rest = map(int, file.read().split())
    except (OSError, ValueError):
        return 0
    return (resident - of_files) * resource.getpagesize()


def _malloc_trim() -> Callable[[int], object]:
    """glibc's, or what does nothing in its place."""
    try:
        import ctypes  # 0.2 MB, for those who have more to gain

        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (ImportError, OSError, AttributeError):
        return int
    return found
