"""Bytes on their way to one transport: whatever is put within one turn of the event loop leaves in one write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from mux.failpoints import ARMED, hit
from mux.limits import VIEW_BYTES


class Outbox:
    """Collects, and writes once per turn. Nothing is reordered; what is put before `open` or after the end is dropped.

    `written` is called after each write, with the bytes that the transport still holds, or that are held back here.
    held: bytes held back.
    """

    __slots__ = ("_held", "_loop", "_parts", "_transport", "_waits", "_written", "held")

    def __init__(self, loop: asyncio.AbstractEventLoop, written: Callable[[int], None] | None = None) -> None:
        self._loop = loop
        self._parts: list[bytes] = []
        self._transport: asyncio.WriteTransport | None = None
        self._written = written
        self._waits: Callable[[], None] | None = None
        self._held: list[bytes] = []
        self.held = 0

    def open(self, transport: asyncio.WriteTransport) -> None:
        """From now on what is put is written there."""
        self._transport = transport

    def put(self, parts: Iterable[bytes]) -> None:
        """Append `parts`."""
        if self._transport is not None:
            if not self._parts:
                self._loop.call_soon(self.flush)
            self._parts += parts

    def flush(self) -> None:
        """Write now what waits for the end of the turn."""
        parts, self._parts = self._parts, []
        if self._transport is None or not parts:
            return
        if ARMED:
            hit("backend.out")
        if self._waits is not None:
            self._hold_back(parts)
            return
        if len(parts[-1]) < VIEW_BYTES:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)
        if self._written is not None:
            self._written(self._transport.get_write_buffer_size())

    @property
    def waiting(self) -> bool:
        """Whether something was put that is not written."""
        return bool(self._parts or self._held)

    def hold(self, waits: Callable[[], None]) -> None:
        """Write what was put, and nothing more until `release`. `waits` is called when something is held back."""
        self.flush()
        self._waits = waits

    def release(self) -> None:
        """Write what was held back, and go on."""
        self._waits = None
        self._parts[:0] = self._held
        self._held.clear()
        self.held = 0
        self.flush()

    def close(self) -> None:
        """Write what was put, then let go of the transport; closing that is the caller's. What is held back is lost."""
        self.flush()
        self._transport = None

    def discard(self) -> None:
        """Drop what was put: the transport is lost."""
        self._parts.clear()
        self._held.clear()
        self._transport = None

    def _hold_back(self, parts: list[bytes]) -> None:
        self._held += parts
        self.held += sum(map(len, parts))
        if self._waits is not None:
            self._waits()
        if self._written is not None:
            self._written(self.held)
