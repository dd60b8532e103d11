"""A backend whose core is a stub: every session of one command shares a process; lines go up and down as they come.

Run as a script: SOCKET GRACE LOOP [EXIT]. It waits for what the tests say on sockets only. EXIT: its core never ends a
planned exit, and EXIT seconds are the bound for that.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import anyio
import msgspec

from mux.backend import logs, serve
from mux.backend.serve import Backend
from mux.core import actions, events
from mux.core.events import Event, LaunchSpec, SessionOpened
from mux.core.identity import Sharing
from mux.core.snapshot import PoolSnapshot, SessionSnapshot, Unused, UpstreamSnapshot
from mux.errors import UsageError
from mux.rendezvous.listener import take
from mux.rendezvous.paths import Place
from mux.wire.frames import Hello


class StubCore:
    """The shell's contract with a core, and no more: Launch, Forward, Deliver to all, Stop after the grace, Exit."""

    def __init__(self, grace: float, *, endless: bool = False) -> None:
        self.grace = grace
        self.endless = endless
        self.specs: dict[bytes, int] = {}
        self.sessions: dict[int, bytes] = {}
        self.running: set[int] = set()
        self.held: dict[int, list[bytes]] = {}
        self.due: float | None = None
        self.draining = False

    def start(self, now: float) -> None:
        self.due = now + self.grace

    def deadline(self) -> float | None:
        return self.due

    def snapshot(self) -> PoolSnapshot:
        upstream = UpstreamSnapshot(
            upstream=0,
            process=0,
            pid=0,
            state="ready",
            generation=1,
            argv=(b"c",),
            cwd="/",
            sessions=0,
            in_flight=0,
            waiting=0,
            since=0.0,
            active_at=0.0,
            era="legacy",
            idle_timeout=0.0,
            turns=False,
            dropped=0,
            last_error="",
            sharing=Sharing(),
            apart="",
        )
        return PoolSnapshot(
            self.draining,
            [
                SessionSnapshot(
                    session=n,
                    client_name="h",
                    client_version="1",
                    cwd="/",
                    in_flight=0,
                    waiting=0,
                    since=0.0,
                    upstream=self.specs[key],
                )
                for n, key in self.sessions.items()
            ],
            [msgspec.structs.replace(upstream, upstream=n, process=n) for n in self.running],
        )

    def unused(self, _since: float, _now: float) -> Unused:
        return Unused(backend=False, upstreams=frozenset())

    def quiet(self, session: int) -> bool:
        return session in self.sessions

    def unanswered(self, session: int) -> int:  # noqa: ARG002 - the protocol's
        return 0

    def handle_all(self, batch: Iterable[Event], now: float) -> list[actions.Action]:
        return [action for event in batch for action in self._handle(event, now)]

    def _handle(self, event: Event, now: float) -> list[actions.Action]:
        match event:
            case events.SessionOpened():
                return self.opened(event)
            case events.SessionLine(session=session, seq=seq, data=data):
                return [actions.Acknowledge(session, seq), *self.up(self.specs[self.sessions[session]], data + b"\n")]
            case events.SessionReplay(session=session, seq=seq, data=data, answered=answered, blob=blob):
                return [actions.Deliver(session, seq, b"replayed %d %b %b\n" % (answered, blob, data))]
            case events.SessionReady(session=session):
                return [actions.Keep(session, 7, b"blob")]
            case events.SessionEof(session=session):
                return [actions.Dismiss(session)]
            case events.SessionClosed(session=session):
                del self.sessions[session]
                if not self.sessions:
                    self.due = now + self.grace
                return []
            case events.ProcessStarted(process=process):
                self.running.add(process)
                return [actions.Forward(process, data) for data in self.held.pop(process, [])]
            case events.ProcessLine(process=process, data=data):
                return self.tell(process, data if not event.oversize else b"oversize %d" % len(data))
            case events.ProcessFailed(process=process, reason=reason):
                return self.tell(process, b"failed " + reason.encode())
            case events.ProcessExited(process=process, status=status, stderr=stderr):
                self.running.discard(process)
                return self.tell(process, f"exited {status} {stderr!r}".encode())
            case events.Tick():
                return self.tick(now)
            case events.Shutdown():
                self.draining = True
                self.due = None if self.endless else now + 0.2
                return [actions.GoAway(session) for session in self.sessions]
            case _:
                raise NotImplementedError

    def opened(self, event: SessionOpened) -> list[actions.Action]:
        found: list[actions.Action] = [actions.Welcome(event.session)]
        self.sessions[event.session] = event.base_key
        self.due = None
        if event.base_key not in self.specs:
            process = self.specs[event.base_key] = len(self.specs) + 1
            self.held[process] = []
            found.append(actions.Launch(process, process, 1, event.spec))
        return found

    def up(self, process: int, data: bytes) -> list[actions.Action]:
        if process in self.running:
            return [actions.Forward(process, data)]
        self.held.setdefault(process, []).append(data)
        return []

    def tell(self, process: int, line: bytes) -> list[actions.Action]:
        return [
            actions.Deliver(session, 0, line + b"\n")
            for session, key in self.sessions.items()
            if self.specs[key] == process
        ]

    def tick(self, now: float) -> list[actions.Action]:
        if self.due is None or now < self.due:
            return []
        self.due = None
        if self.draining:
            return [*(actions.Drop(session, "planned exit") for session in self.sessions), actions.Exit()]
        if self.sessions:
            return []
        self.due = now + max(self.grace, 0.1)
        if self.running:
            return [actions.Stop(process) for process in self.running]
        return [actions.Exit()]


def stub_resolve(session: int, hello: Hello) -> SessionOpened:
    if not hello.argv:
        raise UsageError("no command to run")
    spec = LaunchSpec(hello.argv, hello.argv[0], hello.cwd, hello.environment, hello.umask, hello.limits)
    return SessionOpened(session, b"\0".join((hello.cwd, *hello.argv)), spec, 0.3, resumed=bool(hello.session))


def main() -> None:
    place = Place(sys.argv[1])
    lock, listener = take(place)
    endless = len(sys.argv) > 4
    if endless:
        serve._EXIT_SECONDS = float(sys.argv[4])
    logs.open_log(Path(place.socket.removesuffix(".sock") + ".log"))
    backend = Backend(
        place,
        lock,
        listener,
        core=StubCore(float(sys.argv[2]), endless=endless),
        resolve=stub_resolve,
        ready=lambda: print("ready", flush=True),
    )
    anyio.run(backend.run, backend_options={"use_uvloop": sys.argv[3] == "uvloop"})


if __name__ == "__main__":
    main()
