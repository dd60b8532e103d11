"""Learning of a child's end without reaping it, by whatever the platform has; SIGCHLD is not needed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import sys
from collections.abc import Callable, Generator

from mux.backend import reap
from mux.limits import TREE_POLL_SECONDS


@contextlib.contextmanager
def exit_watch(pid: int, ended: Callable[[], None]) -> Generator[None]:
    """Within the block, call `ended`, at least once, when our child `pid` has ended. It stays a zombie."""
    loop = asyncio.get_running_loop()
    fd = _descriptor(pid)
    if fd is None:
        with _polled(loop, pid, ended):
            yield
        return

    def readable() -> None:
        loop.remove_reader(fd)
        ended()

    loop.add_reader(fd, readable)
    try:
        yield
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def _descriptor(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends."""
    if sys.platform == "darwin":
        with contextlib.closing(select.kqueue()) as queue:
            change = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
            try:
                queue.control([change], 0)
            except ProcessLookupError:
                return None  # it has ended already: polling sees the zombie at once
            return os.dup(queue.fileno())
    return reap.handle(pid)


@contextlib.contextmanager
def _polled(loop: asyncio.AbstractEventLoop, pid: int, ended: Callable[[], None]) -> Generator[None]:
    """Where nothing reports an end: Linux before 5.3."""
    timer: asyncio.TimerHandle | None = None

    def look() -> None:
        nonlocal timer
        row = reap.process(pid)
        if row is None or row.dead:
            ended()
        else:
            timer = loop.call_later(TREE_POLL_SECONDS, look)

    look()
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
