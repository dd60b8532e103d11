"""The server processes of a backend: what the core's Launch, Forward and Stop mean, and the record of it all."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator

import msgspec

from mux.backend import logs, reap, record
from mux.backend.child import Child
from mux.config.names import label
from mux.core.actions import Launch
from mux.core.events import Dispatch
from mux.limits import STOP_STEP_SECONDS


class Upstreams:
    """Every child of this backend, by the process number that the core gave it."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        dispatch: Dispatch,
        *,
        record_path: str,
        stderr: logs.StderrFolder,
        owned: Callable[[], bool],
    ) -> None:
        """owned: whether the files at our names are still ours to write."""
        self._tasks = tasks
        self._dispatch = dispatch
        self._children: dict[int, Child] = {}
        self._record_path = record_path
        self._record = record.describe()
        self._stderr = stderr
        self._owned = owned
        self._all_gone = asyncio.Event()

    def __iter__(self) -> Iterator[Child]:
        return iter(self._children.values())

    def get(self, process: int) -> Child | None:
        """The child with that number, while it lives."""
        return self._children.get(process)

    def log_of(self, upstream: int) -> str | None:
        """The file with the server's stderr, of all its generations; None while it has written none."""
        return self._stderr.path(upstream)

    def launch(self, action: Launch) -> None:
        """Begin its life; the core hears of it by events."""
        spec = action.spec
        stderr = self._stderr.create(action.upstream, label([os.fsdecode(word) for word in spec.argv]))
        child = Child(action.process, action.generation, spec, stderr, self._dispatch, upstream=action.upstream)
        self._children[action.process] = child
        self._tasks.create_task(self._live(child))

    def forward(self, process: int, data: bytes) -> None:
        """A line for its stdin; dropped if the server is gone."""
        child = self._children.get(process)
        if child is not None:
            child.write(data)

    def stop(self, process: int) -> None:
        """Take it through the stop ladder; harmless if it is gone."""
        child = self._children.get(process)
        if child is not None:
            child.stop()

    async def stop_all(self) -> None:
        """All at once; returns when every tree is gone, or after the ladder's end."""
        for child in self:
            child.stop()
        if self._children:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), 4 * STOP_STEP_SECONDS)
        self.kill_all()

    def kill_all(self) -> None:
        """SIGKILL to every tree, without a wait."""
        for child in self:
            child.kill()

    def look(self) -> None:
        """Remember every descendant, in the record too: after a crash only the record finds one that left its group.

        Never raises: out of descriptors, it is done the next time.
        """
        if not self._children:
            return
        try:
            rows = reap.table()
            known = [child.identity.started for child in self if child.identity]
            marks = reap.marked(rows, min(known)) if known else {}
            for child in self:
                child.look(rows, marks)
        except OSError as error:
            logs.event("warning", "look.failed", reason=error.strerror)
        self.write_record()

    def leave(self) -> None:
        """From now on the record says that the backend leaves, so that newcomers wait for the next one."""
        self._record = msgspec.structs.replace(self._record, leaving=True)
        self.write_record()

    def write_record(self) -> None:
        """NAME.json as of now, unless the place is a successor's. A failure is logged; the record is a hint."""
        if not self._owned():
            return
        entries = tuple(entry for child in self if (entry := child.record()))
        try:
            record.write(self._record_path, msgspec.structs.replace(self._record, upstreams=entries))
        except OSError as error:
            logs.event("warning", "record.failed", path=self._record_path, reason=error.strerror)

    def close(self) -> None:
        """After the last server: no record and no stderr log of ours stays."""
        if self._owned():
            with contextlib.suppress(OSError):
                os.unlink(self._record_path)
            self._stderr.remove()

    async def _live(self, child: Child) -> None:
        try:
            await child.run(self.look)
        finally:
            with contextlib.suppress(OSError):
                child.kill()
            self._stderr.retire(child.stderr)
            del self._children[child.process]
            self.write_record()
            if not self._children:
                self._all_gone.set()
                self._all_gone = asyncio.Event()
