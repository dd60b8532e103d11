"""Hosts, servers, time and the end of a backend, one thing at a time; and what is true at any time and in the end."""

from __future__ import annotations

from collections.abc import Callable

from mux import limits
from mux.core import events
from tests.model.base import Server
from tests.model.hosts import HostSide
from tests.model.servers import ServerSide


class World(HostSide, ServerSide):
    """Everything around one pool."""

    # --- time, and the end of a backend -----------------------------------------------------

    def tick(self) -> None:
        due = self.pool.deadline()
        self.now += self.choose.choice([0.1, 1.0, 5.0, 25.0, 70.0])
        if due is not None and due <= self.now:
            self.give(events.Tick())

    def restart(self) -> None:
        """The operator wants a new generation of some server."""
        self.give(events.Restart(self.choose.randrange(1, 6)))

    def next_backend(self) -> None:
        """The backend is gone with its servers; the shims bring what they have to the next one."""
        if self.choose.random() > 0.3:
            return
        self.servers.clear()
        self.launched.clear()
        self.stopping.clear()
        self.sessions.clear()
        self.pool = self._pool()
        for host in self.hosts:
            self._open(host, resumed=True)
            for seq in sorted(host.lines):
                if seq in host.lines:
                    answered, repeated = seq in host.answered, seq in host.repeated
                    host.repeated.add(seq)
                    self.give(
                        events.SessionReplay(
                            host.number, seq, host.lines[seq], answered, repeated, host.kept.get(seq, b"")
                        )
                    )
            self.give(events.SessionReady(host.number))
            if host.ended:
                self.give(events.SessionEof(host.number))

    def step(self) -> None:
        """One thing happens."""
        self.choose.choices([step for step, _ in _STEPS], [weight for _, weight in _STEPS])[0](self)
        self.check()

    def check(self) -> None:
        """What is true at any time."""
        for host in self.hosts:
            session = self.pool.sessions.get(host.number)
            if session is not None:
                assert session.open <= limits.SESSION_WAITING
                assert session.in_flight <= limits.SESSION_IN_FLIGHT
                assert session.open == len(session.open_calls())
                assert len(session.kept) <= limits.KEPT_LINES
                assert session.kept_bytes == sum(session.kept.values())
        for router in self.pool.routers.values():
            assert router.quota.in_flight <= limits.UPSTREAM_IN_FLIGHT
            assert router.quota.in_flight == sum(call.counted for call in router.ids.flying.values())
            assert len({id(session) for session in router.quota.ring}) == len(router.quota.ring)
            assert router.upstream.process in (0, *self.launched, *self.servers)
            assert router.early_bytes == sum(map(len, router.early)) <= limits.EARLY_BYTES
            assert max(len(router.tasks.owner), len(router.questions.elicited)) <= limits.TOMBSTONES
            assert {call.session for _, call in router.turns.waiting} <= {*router.sessions.values()}
            assert len(router.questions) <= len(router.sessions) * limits.SESSION_WAITING
        running = [router.upstream.process for router in self.pool.routers.values() if router.upstream.process]
        assert len(set(running)) == len(running)
        assert set(self.servers) <= set(running), "a server that no upstream knows of"

    # --- the end ----------------------------------------------------------------------------

    def settle(self) -> None:
        """Servers come up and answer everything that they were asked, until nothing moves any more."""
        for _ in range(10_000):
            if self.launched:
                process = self.launched.pop(0)
                self.servers[process] = Server()
                self.give(events.ProcessStarted(process, process))
            elif self.stopping & self.servers.keys():
                self._stop_all()
            elif not self._answer_one():
                waiting = [line for host in self.hosts for line in host.unsettled()]
                if not waiting:
                    return
                if self._answer_one(listens=True):
                    continue
                due = self.pool.deadline()
                assert due is not None, f"{waiting} wait for nothing"
                self.now = max(self.now, due)
                self.give(events.Tick())
        raise AssertionError("it never settles")

    def _stop_all(self) -> None:
        for process in self.stopping & {*self.servers, *self.launched}:
            self.servers.pop(process, None)
            self.launched = [other for other in self.launched if other != process]
            self.give(events.ProcessExited(process, 0, ""))

    def _answer_one(self, *, listens: bool = False) -> bool:
        for process, server in self.servers.items():
            for uid, (mark, method, _, _) in list(server.asked.items()):
                if (method == "subscriptions/listen") == listens:
                    del server.asked[uid]
                    self._tell(process, {"id": uid, "result": {"mark": mark, "tasks": []}})
                    return True
        return False

    def finish(self) -> None:
        """Everything is answered; then all leave, and nothing may be left."""
        self.settle()
        for host in self.hosts:
            assert not host.unsettled()
        for host in list(self.hosts):
            self.hosts.remove(host)
            del self.sessions[host.number]
            self.give(events.SessionClosed(host.number))
        until = self.now + limits.OPEN_STATE_SECONDS + 100
        while self.pool.routers and self.now <= until:
            due = self.pool.deadline()
            if due is not None:
                self.now = max(self.now, due)
                self.give(events.Tick())
            self._stop_all()


_STEPS: list[tuple[Callable[[World], None], float]] = [
    (World.join, 4),
    (World.speak, 20),
    (World.cancel, 4),
    (World.garbage, 2),
    (World.oversize, 0.5),
    (World.answer_question, 3),
    (World.end_input, 1),
    (World.leave, 1.5),
    (World.start, 8),
    (World.answer, 16),
    (World.progress, 4),
    (World.notify, 4),
    (World.announce, 4),
    (World.ask, 4),
    (World.nonsense, 1),
    (World.crash, 2),
    (World.tick, 3),
    (World.restart, 0.7),
    (World.next_backend, 0.7),
]
