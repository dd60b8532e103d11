"""One backend from "ready" to its last act: everything wired, signals, the self-check, and the order of the exit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

from mux import __version__, limits
from mux.backend import logs, record
from mux.backend.control import Arguments, ControlConnection
from mux.backend.heap import Heap
from mux.backend.orders import Orders
from mux.backend.park import Parking
from mux.backend.runtime import Core, Runtime
from mux.backend.server import Resolve, Server
from mux.backend.status import status
from mux.backend.upstreams import Upstreams
from mux.core.events import ProcessTree
from mux.failpoints import ARMED, hit
from mux.limits import DRAIN_SECONDS, STOP_STEP_SECONDS
from mux.rendezvous import files, notes
from mux.rendezvous.listener import inode, unlink_own
from mux.rendezvous.paths import Place

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_EXIT_SECONDS = DRAIN_SECONDS + 4 * STOP_STEP_SECONDS
"""Whatever the core says, a planned exit is over after this."""


class _Left(Exception):
    """All is done: what still runs ends."""


class Backend:
    """`run` serves until the exit. The lock stays the caller's; it is what a successor waits for."""

    def __init__(
        self,
        place: Place,
        lock: int,
        listener: socket.socket,
        *,
        core: Core,
        resolve: Resolve,
        ready: Callable[[], None],
        options: Sequence[str] = (),
    ) -> None:
        """Take what a holder of the lock has. ready: called once sessions are served. options: for a successor."""
        self._place = place
        self._lock = os.fstat(lock)
        self._socket = inode(place.socket)
        self._listener = listener
        self._core = core
        self._resolve = resolve
        self._ready = ready
        self._options = options
        self._started = time.monotonic()
        self._planned = False
        self._serving = True

    async def run(self) -> None:
        """Returns after the exit order is done but for the lock."""
        self._leaving = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_unexpected)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._wire(tasks)
                if ARMED:
                    hit("backend.ready")
                self._server.start()
                self._runtime.start()
                logs.event("info", "backend.started", version=__version__, pid=os.getpid(), socket=self._place.socket)
                self._ready()
                tasks.create_task(self._check())
                await self._leaving.wait()
                await asyncio.gather(self._upstreams.stop_all(), self._runtime.part(STOP_STEP_SECONDS))
                self._parking.close()
                raise _Left
        except* _Left:
            pass
        with _step_of_exit():
            if ARMED:
                hit("exit.stopped")
        self._upstreams.close()
        with _step_of_exit():
            if ARMED:
                hit("exit.forgotten")
        logs.event("info", "backend.left", planned=self._planned)

    def _wire(self, tasks: asyncio.TaskGroup) -> None:
        place = self._place
        self._predecessor()
        runtime = self._runtime = Runtime(self._core, self._leave, str(os.getpid()))
        runtime.upstreams = self._upstreams = Upstreams(
            tasks,
            runtime.dispatch,
            record_path=place.record,
            stderr=logs.StderrFolder(place.socket.removesuffix(".sock")),
            owned=self._holds,
        )

        async def answer_status(_: Arguments) -> dict[str, Any]:
            return await status(runtime, place.socket, self._started)

        async def answer_explain(arguments: Arguments) -> dict[str, Any]:
            return runtime.explain(arguments)

        orders = Orders(runtime, self._plan_exit, self._options)
        commands = {"status": answer_status, "explain": answer_explain, **orders.commands()}
        self._parking = Parking(self._core.quiet)
        self._server = Server(
            self._listener,
            tasks,
            runtime,
            self._resolve,
            lambda: ControlConnection(commands, tasks, self._loop),
            self._parking,
        )
        for number in _SIGNALS:
            self._loop.add_signal_handler(number, self._signalled, number)

    def _predecessor(self) -> None:
        """Holding the lock, we know that the backend of an older record is dead; its servers may not be.

        Whoever has started us has brought back what was stopped.
        """
        path = self._place.record
        left = record.read(path)
        if left is not None and (count := record.reap_leftovers(left)):
            logs.event("warning", "leftovers.killed", processes=count, backend=left.process.pid)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        notes.clear(self._place.stopped)
        for written in (path, self._place.stopped):
            files.discard_unfinished(written)
        if ARMED:
            hit("backend.reaped")

    def _signalled(self, number: signal.Signals) -> None:
        """First: a planned exit. Second: now."""
        logs.event("info", "backend.signal", signal=signal.Signals(number).name)
        if self._planned:
            self._abandon()
        else:
            self._plan_exit("", 0)

    def _plan_exit(self, reason: str, hold_off_ms: int) -> None:
        """Drain and leave. reason: for sessions that shall not bring a successor about; it counts also if we drain."""
        begun = self._planned
        self._planned = self._server.draining = True
        if reason:
            self._leave_word(reason)
        if not begun:
            self._loop.call_later(_EXIT_SECONDS, self._abandon)
        if reason or not begun:
            self._runtime.shut_down(reason, hold_off_ms)

    def _leave_word(self, reason: str) -> None:
        """For sessions that can not be told: those that do not read, that sleep, or that have no connection now."""
        if self._holds():
            try:
                notes.write(self._place.stopped, reason)
            except OSError as error:
                logs.event("warning", "stop.unrecorded", path=self._place.stopped, reason=error.strerror)

    def _abandon(self) -> None:
        self._upstreams.kill_all()
        self._leave()

    def _leave(self) -> None:
        """The exit that can not be undone: from here no connection comes in.

        Any that waits cancels an unplanned one; the core asks again.
        """
        if self._leaving.is_set() or (not self._planned and self._server.someone_waits()):
            return
        self._upstreams.leave()
        with _step_of_exit():
            if ARMED:
                hit("exit.begun")
            if self._serving and not unlink_own(self._place.socket, self._socket):
                logs.event("warning", "socket.not.ours", socket=self._place.socket)
        with _step_of_exit():
            if ARMED:
                hit("exit.unlinked")
        self._server.close()
        with _step_of_exit():
            if ARMED:
                hit("exit.closed")
        self._leaving.set()

    async def _check(self) -> None:
        """Now and then look where our files stand, at what descends from our servers, and at what memory is free."""
        heap = Heap()
        while self._serving:
            await asyncio.sleep(limits.SELF_CHECK_SECONDS)
            heap.trim()
            self._upstreams.look()
            for child in self._upstreams:
                self._runtime.dispatch(ProcessTree(child.process, child.detached))
            if not self._found():
                logs.event("error", "socket.lost", socket=self._place.socket)
                self._serving = False
                self._server.close()

    def _found(self) -> bool:
        return inode(self._place.socket) == self._socket and self._holds()

    def _holds(self) -> bool:
        """Whether the lock that others would try is the one that we hold: without it all names are a successor's."""
        return inode(self._place.lock) == (self._lock.st_dev, self._lock.st_ino)


@contextlib.contextmanager
def _step_of_exit() -> Generator[None]:
    """Whatever the system refuses to an exit, it goes on."""
    try:
        yield
    except OSError as error:
        logs.event("warning", "exit.step.failed", reason=error.strerror)


def _unexpected(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a callback raised; the loop has closed the transport that it belongs to, and goes on."""
    error = context.get("exception")
    if isinstance(error, Exception):
        logs.failure("callback.failed", error, message=str(context.get("message")))
    else:
        logs.event("warning", "loop.warning", message=str(context.get("message")))
