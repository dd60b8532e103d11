"""The one owner of the core: events go in, and its actions are carried out in order, without an await in between."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from mux.backend import logs
from mux.backend.connection import SessionConnection
from mux.backend.upstreams import Upstreams
from mux.config.names import label
from mux.core import actions
from mux.core.events import Event, SessionClosed, SessionOpened, Shutdown, Tick
from mux.core.explain import explain
from mux.core.pool import Pool
from mux.core.snapshot import PoolSnapshot, Unused
from mux.errors import UsageError
from mux.failpoints import ARMED, hit
from mux.wire import frames

_TIMER_SLACK_SECONDS = 0.001
"""A loop counts in milliseconds: a timer that fired early would find nothing due and spin."""


class Core(Protocol):
    """What the shell needs of `mux.core.pool.Pool`. `now` is monotonic seconds."""

    def start(self, now: float) -> None: ...

    def handle_all(self, batch: Iterable[Event], now: float) -> list[actions.Action]: ...

    def deadline(self) -> float | None: ...

    def snapshot(self) -> PoolSnapshot: ...

    def unused(self, since: float, now: float, /) -> Unused: ...

    def quiet(self, session: int) -> bool: ...

    def unanswered(self, session: int) -> int: ...


class _Explain(msgspec.Struct):
    first: int
    second: int | None = None
    upstreams: bool = False


class Runtime:
    """Carries out what the core decides. `leave()` is asked at Exit."""

    def __init__(self, core: Core, leave: Callable[[], None], session_ids: str) -> None:
        """session_ids: what tells this backend's session ids from another's.

        `stopped`: why sessions with a server of their own were told STOPPED, by id: theirs has no key to know it by.
        """
        self.core = core
        self.sessions: dict[int, SessionConnection] = {}
        self.upstreams: Upstreams
        self.unanswered = core.unanswered
        self._handle_all = core.handle_all
        self._deadline = core.deadline
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._armed = 0.0
        self._leave = leave
        self._deserted = asyncio.Event()
        self._session_ids = session_ids
        self._hold_off_ms = 0
        self.stopped: dict[bytes, str] = {}
        self._apply: dict[type, Callable[[Any], None]] = {
            actions.Deliver: self._deliver,
            actions.Forward: self._forward,
            actions.Acknowledge: self._acknowledge,
            actions.Keep: self._keep,
            actions.Welcome: self._welcome,
            actions.Refuse: self._refuse,
            actions.Dismiss: self._dismiss,
            actions.Drop: self._drop,
            actions.GoAway: self._go_away,
            actions.Halted: self._halted,
            actions.Launch: self._launch,
            actions.Stop: self._stop,
            actions.Exit: self._exit,
            actions.Log: self._log,
        }

    def start(self) -> None:
        """The core's clock runs from now on."""
        self.core.start(time.monotonic())
        self._arm()

    def dispatch(self, *batch: Event) -> None:
        """Events that came together, and all that follows from them.

        Never called from within itself: every effect that could lead to another event comes back through the loop.
        """
        apply = self._apply
        for action in self._handle_all(batch, time.monotonic()):
            apply[type(action)](action)
        deadline = self._deadline()
        if deadline is not None and (self._timer is None or deadline < self._armed):
            self._arm()

    def opened(self, event: SessionOpened, connection: SessionConnection, /) -> None:
        """A session's connection stands."""
        peer = connection.peer
        logs.event(
            "info",
            "session.opened",
            session=event.session,
            pid=peer.pid,
            server=label([os.fsdecode(word) for word in event.spec.argv]),
            cwd=os.fsdecode(event.spec.cwd),
            scope=event.sharing.scope,
            again=event.resumed or None,
        )
        self.sessions[event.session] = connection
        self.dispatch(event)

    def closed(self, session: int, /) -> None:
        """A session's connection is gone."""
        connection = self.sessions.pop(session)
        seconds, reason = round(time.monotonic() - connection.peer.opened, 3), connection.reason or "it has left"
        logs.event("info", "session.closed", session=session, seconds=seconds, reason=reason)
        self.dispatch(SessionClosed(session))
        if not self.sessions:
            self._deserted.set()

    def _name(self, session: int) -> bytes:
        """The id that WELCOME gives to a session."""
        return f"{self._session_ids}.{session}".encode()

    def session_named(self, identity: bytes) -> SessionConnection | None:
        """The session to which WELCOME gave that id."""
        backend, _, number = identity.rpartition(b".")
        known = backend == self._session_ids.encode() and number.isdigit()
        return self.sessions.get(int(number)) if known else None

    async def part(self, seconds: float) -> None:
        """Close every session, letting what was said reach it for that long at most."""
        for connection in list(self.sessions.values()):
            connection.because("the backend leaves")
            connection.close()
        if self.sessions:
            self._deserted = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._deserted.wait(), seconds)
        for connection in list(self.sessions.values()):
            connection.abort()

    def shut_down(self, reason: str, hold_off_ms: int) -> None:
        """A planned exit: the core drains, and asks for Exit when that is done.

        reason: why the sessions shall not bring a successor about, if so. hold_off_ms: how long they only look for one.
        """
        self._hold_off_ms = hold_off_ms
        self.dispatch(Shutdown(reason))

    def permit(self) -> None:
        """Sessions that were told STOPPED are welcome again."""
        self.stopped.clear()

    def snapshot(self) -> PoolSnapshot:
        """The core's numbers."""
        return self.core.snapshot()

    def unused(self, since: float) -> Unused:
        """What nobody has used since then, monotonic seconds."""
        return self.core.unused(since, time.monotonic())

    def explain(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Why a session, or a server, shares with whom. Raises UsageError for what is not there."""
        if not isinstance(self.core, Pool):
            raise UsageError("this backend can not say")
        asked = msgspec.convert(arguments, _Explain)
        found: dict[str, Any] = msgspec.to_builtins(
            explain(self.core, asked.first, asked.second, upstreams=asked.upstreams)
        )
        return found

    def _arm(self) -> None:
        deadline = self._deadline()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._armed = deadline
            delay = max(0.0, deadline - time.monotonic()) + _TIMER_SLACK_SECONDS
            self._timer = self._loop.call_later(delay, self._due)

    def _due(self) -> None:
        # A deadline that has moved away since leaves the timer standing: cheaper than moving it with every message.
        self._timer = None
        deadline = self._deadline()
        if deadline is not None and deadline <= time.monotonic():
            self.dispatch(Tick())
        if self._timer is None:
            self._arm()

    # --- one method per action ----------------------------------------------------------------

    def _deliver(self, action: actions.Deliver) -> None:
        connection = self.sessions.get(action.session)
        if connection is not None:
            connection.send(frames.OUT, action.data, action.seq)

    def _forward(self, action: actions.Forward) -> None:
        self.upstreams.forward(action.process, action.data)

    def _acknowledge(self, action: actions.Acknowledge) -> None:
        connection = self.sessions.get(action.session)
        if connection is not None:
            connection.send(frames.ACK, b"", action.seq)

    def _keep(self, action: actions.Keep) -> None:
        connection = self.sessions.get(action.session)
        if connection is not None:
            connection.send(frames.KEEP, action.blob, action.seq)

    def _welcome(self, action: actions.Welcome) -> None:
        connection = self.sessions.get(action.session)
        if connection is not None:
            if ARMED:
                hit("backend.welcome")
            connection.send(frames.WELCOME, self._name(action.session))

    def _refuse(self, action: actions.Refuse) -> None:
        connection = self.sessions.get(action.session)
        if connection is not None:
            retry_ms = frames.NEVER if action.retry_ms is None else action.retry_ms
            connection.because(f"refused: {action.reason}")
            connection.send(frames.REFUSE, frames.refuse_payload(retry_ms, action.reason))
            connection.close()

    def _dismiss(self, action: actions.Dismiss) -> None:
        connection = self.sessions.get(action.session)
        if connection is not None:
            connection.send(frames.BYE, b"\0")
            connection.close()

    def _drop(self, action: actions.Drop) -> None:
        connection = self.sessions.get(action.session)
        if connection is not None:
            connection.because(action.reason)
            connection.close()

    def _go_away(self, action: actions.GoAway) -> None:
        connection = self.sessions.get(action.session)
        if connection is not None:
            connection.go_away(self._hold_off_ms)

    def _halted(self, action: actions.Halted) -> None:
        connection = self.sessions.get(action.session)
        if connection is not None:
            connection.because(f"stopped: {action.reason}")
            if connection.alone:
                self.stopped[self._name(action.session)] = action.reason
            connection.go_away(0)
            connection.send(frames.STOPPED, action.reason.encode())
            connection.close()

    def _launch(self, action: actions.Launch) -> None:
        self.upstreams.launch(action)

    def _stop(self, action: actions.Stop) -> None:
        self.upstreams.stop(action.process)

    def _exit(self, _action: actions.Exit) -> None:
        self._leave()

    def _log(self, action: actions.Log) -> None:
        logs.event(action.level, action.event, **action.fields)
