"""One server process: its start, its streams, its stop ladder, and the end of its whole tree.

The leader stays unreaped until its group is empty: so long nobody else can have the group's number, and a signal to
the group hits only what descends from our child.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from subprocess import Popen
from typing import cast

import msgspec

from mux import limits
from mux.backend import logs, reap
from mux.backend.exits import exit_watch
from mux.backend.launch import LaunchFailed, launch
from mux.backend.outbox import Outbox
from mux.backend.portions import Portions
from mux.backend.record import UpstreamRecord
from mux.config.names import label
from mux.core.events import Dispatch, LaunchSpec, ProcessExited, ProcessFailed, ProcessLine, ProcessStarted
from mux.core.lines import LineBuffer, Oversize
from mux.failpoints import ARMED, hit
from mux.limits import (
    OUTPUT_END_SECONDS,
    OVERSIZE_EDGE_BYTES,
    SERVER_TURN_LINES,
    STOP_STEP_SECONDS,
    TREE_POLL_SECONDS,
)


class Child:
    """A server from Launch to its last event: ProcessFailed, or ProcessStarted, lines, ProcessExited.

    `run` dispatches the events, from the loop's thread and never from within a call of this class.
    detached: whether something that it started had left its process group, when last looked. upstream: for the log.
    """

    def __init__(
        self,
        process: int,
        generation: int,
        spec: LaunchSpec,
        stderr: logs.Stderr,
        dispatch: Dispatch,
        *,
        upstream: int = 0,
    ) -> None:
        self.process = process
        self.upstream = upstream
        self.generation = generation
        self.spec = spec
        self.started = time.monotonic()
        self.identity: reap.Identity | None = None
        self.stderr = stderr
        self._dispatch = dispatch
        self._loop = asyncio.get_running_loop()
        self._stdin = _Writer(self._loop)
        self._turn = asyncio.Event()
        self._leader_gone = asyncio.Event()
        self.detached = False
        self._asked = False
        self._tree: set[reap.Identity] = set()
        self._mark = os.urandom(8).hex()

    async def run(self, started: Callable[[], None]) -> None:
        """The whole life; `started` is called between the spawn and ProcessStarted. Raises nothing but cancellation."""
        try:
            mark = reap.MARK + b"=" + self._mark.encode()
            environment = (*self.spec.environment, mark)
            if ARMED:
                hit("upstream.launch")
            server = await launch(msgspec.structs.replace(self.spec, environment=environment))
        except (LaunchFailed, OSError) as error:
            logs.event("warning", "upstream.not.started", upstream=self.upstream, reason=str(error))
            self._dispatch(ProcessFailed(self.process, str(error)))
            return
        try:
            if ARMED:
                hit("upstream.spawned")
            row = reap.process(server.pid)
            assert row is not None, "a child that is not reaped has a row in the process table"
            self.identity = row.identity
            self._log("info", "upstream.started", generation=self.generation, **self._described())
            with exit_watch(server.pid, self._leader_ended):
                await self._serve(server, started)
        except Exception as error:  # noqa: BLE001 - a fault of ours costs this server, not the backend
            logs.failure("upstream.failed", error, upstream=self.upstream)
            with contextlib.suppress(OSError):  # out of descriptors, what descends from it can not be seen
                self.kill()
            server.kill()
            self._leader_gone.set()
        status = server.wait() if self._leader_gone.is_set() else -signal.SIGKILL
        how: dict[str, int | str] = {"code": status} if status >= 0 else {"signal": _signal_name(-status)}
        self._log("info", "upstream.exited", **how, asked=self._asked, uptime=round(time.monotonic() - self.started, 3))
        self._dispatch(ProcessExited(self.process, status, self.stderr.tail()))

    def _log(self, level: str, event: str, /, **fields: logs.Value) -> None:
        pid = self.identity.pid if self.identity else None
        logs.event(level, event, upstream=self.upstream, pid=pid, **fields)

    def _described(self) -> dict[str, str]:
        """What names the server in the log. Arguments may be secret: `mux status` shows them, the log does not."""
        return {"server": label([os.fsdecode(word) for word in self.spec.argv]), "cwd": os.fsdecode(self.spec.cwd)}

    def write(self, data: bytes) -> None:
        """Queue bytes for the server's stdin; dropped once that is closed. Never waits."""
        self._stdin.outbox.put((data,))

    def stop(self) -> None:
        """Begin the stop ladder. Harmless if repeated, or if the server is gone or still starting."""
        self._asked = True
        self._turn.set()

    def kill(self) -> None:
        """SIGKILL to the whole tree at once, for an exit that waits no longer."""
        if self.identity is not None and not self.identity_gone():
            self.look()
            reap.send_group(self.identity.pid, signal.SIGKILL)
            reap.send_all(self._tree, signal.SIGKILL)

    def identity_gone(self) -> bool:
        """Whether the leader was reaped, or never was."""
        row = self.identity and reap.process(self.identity.pid)
        return not row or row.identity != self.identity

    def look(self, rows: reap.Table | None = None, marks: Mapping[str, set[reap.Identity]] | None = None) -> None:
        """Remember what descends from the server now: one that drops its environment is found only by its parents.

        rows, marks: the process table, and who carries which mark, for whoever looks for several servers at once.
        """
        if self.identity is not None:
            rows = reap.table() if rows is None else rows
            leader, started = self.identity
            marks = reap.marked(rows, started) if marks is None else marks
            self._tree |= reap.descendants(leader, rows) | reap.members(leader, rows)
            self._tree |= marks.get(self._mark, set())
            self._tree.discard(self.identity)
            self._tree = reap.living(self._tree)
            found = (rows.get(identity.pid) for identity in self._tree)
            self.detached = any(row is not None and row.group != leader for row in found)

    def record(self) -> UpstreamRecord | None:
        """The server's entry in NAME.json, once it runs."""
        return self.identity and UpstreamRecord(self.identity, self._mark, tuple(sorted(self._tree)))

    async def _serve(self, server: Popen[bytes], started: Callable[[], None]) -> None:
        """From running streams to the end of the tree and of the output."""
        lines = LineBuffer(limits.MESSAGE_BYTES, OVERSIZE_EDGE_BYTES)
        said = Portions(self._loop, self._lines, SERVER_TURN_LINES)
        output = _Reader(lambda data: said.put(lines.feed(data)), self._turn.set)
        errors = _Reader(self.stderr.feed)
        try:
            source, _ = await self._loop.connect_read_pipe(lambda: output, server.stdout)
            said.open(source)
            await self._loop.connect_read_pipe(lambda: errors, server.stderr)
            await self._loop.connect_write_pipe(lambda: self._stdin, server.stdin)
            started()
            self._dispatch(ProcessStarted(self.process, server.pid))
            await self._turn.wait()
            await self._ladder()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(OUTPUT_END_SECONDS):
                    await output.ended.wait()
                    await errors.ended.wait()
            said.finish()
        finally:
            for pipe in (output, errors, self._stdin):
                pipe.abort()

    def _lines(self, lines: Sequence[bytes | Oversize]) -> None:
        if ARMED:
            hit("upstream.line")
        process = self.process
        self._dispatch(
            *[
                ProcessLine(process, line)
                if isinstance(line, bytes)
                else ProcessLine(process, line.edges, oversize=True)
                for line in lines
            ]
        )

    async def _ladder(self) -> None:
        """Close stdin, wait, SIGTERM, wait, SIGKILL; ends as soon as the whole tree is gone."""
        assert self.identity is not None
        leader = self.identity.pid
        self.look()
        self._stdin.close()
        if await self._gone_within(STOP_STEP_SECONDS):
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._log("warning", "upstream.signal", signal=number.name)
            self.look()
            reap.send_group(leader, number)
            reap.send_all([identity for identity in self._tree if _outside(identity, leader)], number)
            if await self._gone_within(STOP_STEP_SECONDS):
                return
        # An uninterruptible process outlives SIGKILL for as long as the kernel holds it; it is dead to us.
        self._log("error", "upstream.unkillable")

    async def _gone_within(self, seconds: float) -> bool:
        """Whether leader, group and remembered descendants have all ended, waiting at most this long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leader_gone.wait()
                self.look()
                while self._tree:
                    await asyncio.sleep(TREE_POLL_SECONDS)
                    self._tree = reap.living(self._tree)
                    if not self._tree:
                        self.look()
                return True
        return False

    def _leader_ended(self) -> None:
        self._leader_gone.set()
        self._turn.set()


class _Reader(asyncio.Protocol):
    """One output pipe of a server, read as fast as it writes: it never waits for a host.

    `at_end` is called when the pipe has ended: a server that closed its stdout can answer no more, alive or not.
    """

    def __init__(self, feed: Callable[[bytes], object], at_end: Callable[[], object] = bool) -> None:
        self.ended = asyncio.Event()
        self._transport: asyncio.BaseTransport | None = None
        self._feed = feed
        self._at_end = at_end

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._feed(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.ended.set()
        self._at_end()

    def abort(self) -> None:
        """Read no more; harmless at the end."""
        self._feed = len
        if self._transport is not None:
            self._transport.close()


class _Writer(asyncio.BaseProtocol):
    """The server's stdin."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.outbox = Outbox(loop)
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self.outbox.open(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._transport = None
        self.outbox.discard()

    def close(self) -> None:
        """End of input, after what was written."""
        self.outbox.close()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Give up what the server has not read."""
        self.outbox.discard()
        if self._transport is not None:
            self._transport.abort()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return str(number)


def _outside(identity: reap.Identity, group: int) -> bool:
    row = reap.process(identity.pid)
    return row is not None and row.group != group
