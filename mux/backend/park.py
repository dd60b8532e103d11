"""Quiet sessions sleep: whom to ask, whose stdin to watch meanwhile, when to wake. mux/wire/PROTOCOL, 6.

A sleeping session costs no timer and no wake-up here; while one is awake that may sleep, one scan goes over all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import stat
import sys
import time
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from mux import limits
from mux.limits import CLOSE_SECONDS, PARK_AT_ONCE, PARK_SCANS
from mux.wire import frames

if TYPE_CHECKING:
    from mux.backend.connection import SessionConnection

_OPTION = b"park-after="


class State(Enum):
    """AWAKE ─ PARK ─> ASKED ─ PARKED ─> PARKED ─ WAKE ─> WAKING; from each of them AWAKE leads back to the first."""

    AWAKE = "awake"
    ASKED = "asked"
    PARKED = "parked"
    WAKING = "waking"


def park_after(hello: frames.Hello) -> float:
    """Seconds of quiet after which the session may be parked; 0 for never, and for a shim that does not know how."""
    given = [option for option in hello.options if option.startswith(_OPTION)]
    try:
        return float(given[-1].removeprefix(_OPTION)) if given else 0.0
    except ValueError:
        return 0.0


class Nap:
    """The sleep of one session. From PARK to AWAKE its frames are held back: the shim might have gone to sleep."""

    __slots__ = ("_closing", "_connection", "_parking", "_slow", "_stdin", "after", "since", "state")

    def __init__(self, parking: Parking, connection: SessionConnection, after: float) -> None:
        self.after = after
        self.since = time.monotonic()
        self.state = State.AWAKE
        self._parking = parking
        self._connection = connection
        self._stdin = -1
        self._slow = False
        self._closing = False

    @property
    def asleep(self) -> bool:
        """Whether the shim has said PARKED, and not AWAKE yet."""
        return self.state in (State.PARKED, State.WAKING)

    def quiet(self, now: float) -> bool:
        """Whether nothing was said either way for so long, as far as a scan can tell."""
        if self._connection.stirred:
            self._connection.stirred = False
            self.since = now
        return now - self.since >= self.after

    def ask(self) -> None:
        """PARK."""
        self.state = State.ASKED
        self._connection.send(frames.PARK)
        self._connection.outbox.hold(self._waits)

    def offer(self, stdin: int) -> bool:
        """Take a duplicate of the host's pipe or socket, to poll; whether it is taken."""
        mode = os.fstat(stdin).st_mode
        if self.state is not State.ASKED or self._stdin >= 0 or not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            return False
        self._stdin = stdin
        return True

    def parked(self) -> None:
        """PARKED: nobody is there but a shell that waits for one byte."""
        if self.state is not State.ASKED:
            return
        self.state = State.PARKED
        if self._stdin < 0 or self._connection.outbox.held or not self._parking.watch(self._stdin, self):
            self.wake()

    def wake(self) -> None:
        """WAKE, if it is asleep."""
        if self.state is State.PARKED:
            self.let_go()
            self.state = State.WAKING
            self._connection.nudge()

    def awoke(self) -> None:
        """AWAKE: what was held back leaves."""
        if self.state is State.AWAKE:
            return
        self.let_go()
        self.state = State.AWAKE
        self.since = time.monotonic()
        if self._slow:
            self._slow = False
            self._connection.resume_writing()
        self._connection.outbox.release()
        if self._closing:
            self._connection.close()
        else:
            self._parking.enter(self._connection.session, self)

    def defers(self) -> bool:
        """Whether the connection must not close yet: something was said that can only be heard awake."""
        if self.state is State.AWAKE or not self._connection.outbox.waiting:
            return False
        if not self._closing:
            self._closing = True
            self._connection.end_in(CLOSE_SECONDS, "asleep at close")
        return True

    def end(self) -> None:
        """The connection is gone; that alone wakes."""
        self.let_go()
        self._parking.leave(self._connection.session)

    def _waits(self) -> None:
        """Something is held back."""
        self.wake()
        if not self._slow and self._connection.outbox.held > limits.HOST_SLOW_BYTES:
            self._slow = True
            self._connection.pause_writing()

    def let_go(self) -> None:
        """Keep nothing of the host's."""
        if self._stdin >= 0:
            # Deregistered first: the shim's own descriptor would keep a registration alive that nobody can remove.
            self._parking.unwatch(self._stdin)
            os.close(self._stdin)
            self._stdin = -1


class Parking:
    """All naps. quiet(session): whether the core has nothing under way for it."""

    def __init__(self, quiet: Callable[[int], bool]) -> None:
        self._quiet = quiet
        self._loop = asyncio.get_running_loop()
        self._awake: dict[int, Nap] = {}
        self._asleep: dict[int, Nap] = {}
        self._poll = _Poll()
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._poll.fileno(), self._stir)

    def nap(self, connection: SessionConnection, after: float) -> Nap:
        """For a session that may sleep."""
        nap = Nap(self, connection, after)
        self.enter(connection.session, nap)
        return nap

    def enter(self, session: int, nap: Nap) -> None:
        """It is awake: look at it from now on."""
        self._awake[session] = nap
        self._arm(nap.after)

    def leave(self, session: int) -> None:
        """It is gone."""
        self._awake.pop(session, None)

    def watch(self, stdin: int, nap: Nap) -> bool:
        """Wake it as soon as `stdin` is readable or hung up; False if that can not be."""
        try:
            self._poll.add(stdin)
        except OSError:
            return False
        self._asleep[stdin] = nap
        return True

    def unwatch(self, stdin: int) -> None:
        """Harmless for one that is not watched."""
        if self._asleep.pop(stdin, None) is not None:
            self._poll.remove(stdin)

    def close(self) -> None:
        """Nobody is asked or woken any more but by the end of its connection."""
        for nap in list(self._asleep.values()):
            nap.let_go()
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._poll.fileno())
        self._poll.close()

    def _stir(self) -> None:
        for stdin in self._poll.ready():
            self._asleep[stdin].wake()

    def _arm(self, shortest: float) -> None:
        when = self._loop.time() + shortest / PARK_SCANS
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._scan)

    def _scan(self) -> None:
        self._timer = None
        now = time.monotonic()
        left = PARK_AT_ONCE
        for session, nap in list(self._awake.items()):
            if nap.quiet(now) and left and self._quiet(session):
                left -= 1
                del self._awake[session]
                nap.ask()
        if self._awake:
            self._arm(min(nap.after for nap in self._awake.values()))


if sys.platform == "linux":

    class _Poll:
        """Descriptors that are told of once, when they are readable or hung up."""

        def __init__(self) -> None:
            self._epoll = select.epoll()

        def fileno(self) -> int:
            return self._epoll.fileno()

        def add(self, fd: int) -> None:
            """Raises OSError."""
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLONESHOT)

        def remove(self, fd: int) -> None:
            self._epoll.unregister(fd)

        def ready(self) -> list[int]:
            return [fd for fd, _ in self._epoll.poll(0)]

        def close(self) -> None:
            self._epoll.close()

else:

    class _Poll:
        """Descriptors that are told of once, when they are readable or hung up."""

        def __init__(self) -> None:
            self._kqueue = select.kqueue()

        def fileno(self) -> int:
            return self._kqueue.fileno()

        def add(self, fd: int) -> None:
            """Raises OSError."""
            flags = select.KQ_EV_ADD | select.KQ_EV_ONESHOT
            self._kqueue.control([select.kevent(fd, select.KQ_FILTER_READ, flags)], 0)

        def remove(self, fd: int) -> None:
            with contextlib.suppress(FileNotFoundError):  # told of already
                self._kqueue.control([select.kevent(fd, select.KQ_FILTER_READ, select.KQ_EV_DELETE)], 0)

        def ready(self) -> list[int]:
            return [event.ident for event in self._kqueue.control(None, PARK_AT_ONCE, 0)]

        def close(self) -> None:
            self._kqueue.close()
