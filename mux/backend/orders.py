"""What an operator orders over a control connection: restart, stop, start, prune. mux/wire/PROTOCOL, 5."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from mux import __version__
from mux.backend import logs, reap
from mux.backend.control import Arguments
from mux.backend.runtime import Runtime
from mux.core.events import Halt, Permit, Release, Restart
from mux.errors import UsageError
from mux.limits import SUCCESSION_SECONDS

STOPPED = "it was stopped with `mux stop`; `mux start` or a new session brings it back"
"""What the sessions of what is stopped are told, and tell their hosts."""

Leave = Callable[[str, int], None]


class _Order(msgspec.Struct):
    """upstream: a server's number, None for all and the backend.

    hold_off: seconds for a successor to be started in; SUCCESSION_SECONDS at most, for GOAWAY has room for some weeks.
    """

    upstream: int | None = None
    hold_off: float = 0.0


class _Prune(msgspec.Struct):
    """older_than: seconds that it must have been unused for. end: whether to end it, or only to say what it is."""

    older_than: float
    end: bool = False


class Orders:
    """leave(reason, hold-off in ms) begins a planned exit. options: those that a successor should be started with."""

    def __init__(self, runtime: Runtime, leave: Leave, options: Sequence[str]) -> None:
        self._runtime = runtime
        self._leave = leave
        self._options = list(options)

    def commands(self) -> Mapping[str, Callable[[Arguments], Awaitable[Any]]]:
        """By name; each answers with what it concerns, as it was when the order came."""
        return {"restart": self._restart, "stop": self._stop, "start": self._start, "prune": self._prune}

    async def _restart(self, arguments: Arguments) -> dict[str, Any]:
        order = msgspec.convert(arguments, _Order)
        answer = self._concerned(order.upstream)
        logs.event("info", "order.restart", upstream=order.upstream)
        if order.upstream is None:
            hold_off = min(max(order.hold_off, 0.0), SUCCESSION_SECONDS)
            self._soon(self._leave, "", round(hold_off * 1000))
        else:
            self._soon(self._runtime.dispatch, Restart(order.upstream))
        return answer

    async def _stop(self, arguments: Arguments) -> dict[str, Any]:
        order = msgspec.convert(arguments, _Order)
        answer = self._concerned(order.upstream)
        logs.event("info", "order.stop", upstream=order.upstream)
        if order.upstream is None:
            self._soon(self._leave, STOPPED, 0)
        else:
            self._soon(self._runtime.dispatch, Halt(order.upstream, STOPPED))
        return answer

    async def _start(self, _: Arguments) -> dict[str, Any]:
        logs.event("info", "order.start")
        self._runtime.permit()
        self._runtime.dispatch(Permit())
        return self._concerned(None)

    async def _prune(self, arguments: Arguments) -> dict[str, Any]:
        """Names processes by pid and start time, so that who asked can see them end. What is in use again does not."""
        order = msgspec.convert(arguments, _Prune)
        since = time.monotonic() - order.older_than
        unused = self._runtime.unused(since)
        own = reap.process(os.getpid())
        servers = [
            {"id": entry.upstream, "command": [os.fsdecode(word) for word in entry.argv], "process": child.identity}
            for entry in self._runtime.snapshot().upstreams
            if entry.upstream in unused.upstreams
            and (child := self._runtime.upstreams.get(entry.process))
            and child.identity
        ]
        if order.end:
            logs.event("info", "order.prune", backend=unused.backend, servers=len(servers))
            self._soon(self._runtime.dispatch, Release(since))
        return {"backend": own.identity if own and unused.backend else None, "servers": servers}

    def _concerned(self, upstream: int | None) -> dict[str, Any]:
        """Raises UsageError for a server that is not there."""
        state = self._runtime.snapshot()
        found = [entry for entry in state.upstreams if upstream in (None, entry.upstream)]
        if upstream is not None and not found:
            raise UsageError(f"there is no server {upstream}; `mux status` has the numbers")
        sessions = [entry for entry in state.sessions if upstream in (None, entry.upstream)]
        return {
            "pid": os.getpid(),
            "version": __version__,
            "options": self._options,
            "leaving": state.draining,
            "servers": len([entry for entry in found if entry.pid]),
            "sessions": len(sessions),
        }

    @staticmethod
    def _soon(act: Callable[..., None], *arguments: Any) -> None:
        """Once the answer is on its way."""
        asyncio.get_running_loop().call_soon(act, *arguments)
