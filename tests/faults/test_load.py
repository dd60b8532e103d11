"""Deaths under load: each request is answered exactly once, no line is torn, no effect happens twice."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from mux.limits import BREAKER_FAILURES
from tests.faults.ledger import Ledger, check_effects
from tests.faults.support import Watch, configure, descriptors, lives_of, overlaps, report, times, zombies
from tests.support.processes import eventually
from tests.support.runtime import PARK_AFTER, SCRIPTED, Runtime
from tests.support.session import Session

SESSIONS = 8
IN_FLIGHT = 8
SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
UNANSWERED = (0.0, 0.1)
"""Seconds from an effect to its answer."""
BEARABLE = BREAKER_FAILURES - 1
MANY = 1 << 20
"""More deaths in a minute than a session bears by default."""


class Load(threading.Thread):
    """One session that keeps IN_FLIGHT requests open until told to stop. `kinds`: what it has asked, in turn.

    deaths: as of a ledger; without any, no request may fail.
    """

    def __init__(self, session: Session, name: int, effects: Path, deaths: Sequence[float] = ()) -> None:
        super().__init__(daemon=True)
        self.ledger = Ledger(session, name, deaths)
        self.stopping = threading.Event()
        self.kinds: list[str] = []
        self._effects = effects
        self._error: BaseException | None = None
        self._random = random.Random(name)

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                while len(self.ledger.open) >= IN_FLIGHT:
                    self.ledger.wait()
                self._begin()
            self.ledger.settle()
        except BaseException as error:  # noqa: BLE001 - told to the test by `check`
            self._error = error

    def _begin(self) -> None:
        kind = ("tools/list", "effect", "echo")[len(self.kinds) % 3]
        self.kinds.append(kind)
        if kind == "tools/list":
            self.ledger.list_tools()
        elif kind == "effect":
            self.ledger.effect(self._effects, self._random.choice(UNANSWERED))
        else:
            self.ledger.echo(self._random.choice(SIZES))

    def check(self) -> int:
        """How many requests were answered with an error. Fails as the thread did, or if an answer was one too many."""
        if self._error is not None:
            raise self._error
        self.ledger.collect()
        return self.ledger.errors.total()


def test_under_load_every_request_is_answered_once_however_often_the_backend_is_killed(
    runtime: Runtime, lives: Path, tmp_path: Path
) -> None:
    kills = times(6, 500)
    configure(runtime, backend_deaths=MANY)
    with Watch(runtime.socket) as watch:
        ledgers = _killing(runtime, lives, tmp_path / "effects", kills, runtime.backends)
    assert not watch.overlaps
    report(f"{kills} backends killed under load: {_told(ledgers)}")


def test_under_load_every_request_is_answered_once_however_often_the_server_is_killed(
    runtime: Runtime, tmp_path: Path
) -> None:
    rounds = times(1, 125)
    ledgers: list[Ledger] = []
    for number in range(rounds):  # each with a new server, since one that dies five times in a minute is given up
        lives, effects = tmp_path / f"lives-{number}", tmp_path / f"effects-{number}"
        ledgers += _killing(runtime, lives, effects, BEARABLE, lambda: runtime.servers("scripted.py"))
    report(f"{rounds * BEARABLE} servers killed under load: {_told(ledgers)}")


def _killing(
    runtime: Runtime, lives: Path, effects: Path, kills: int, victims: Callable[[], list[psutil.Process]]
) -> list[Ledger]:
    """A load that goes on while `victims` are killed one after the other: what its sessions have asked and heard."""
    effects.touch()
    random_ = random.Random(3)
    deaths: list[float] = []
    sessions = [runtime.ready(*SCRIPTED, "--lives", str(lives)) for _ in range(SESSIONS)]
    loads = [Load(session, number, effects, deaths) for number, session in enumerate(sessions)]
    for load in loads:
        load.start()
    for _ in range(kills):
        before = lives_of(lives)
        time.sleep(random_.uniform(0.0, 0.5))
        deaths.append(time.monotonic())
        for process in victims():
            process.kill()
        eventually(
            "the next server runs, or a load has failed and asks for none",
            lambda before=before: lives_of(lives) > before or not all(load.is_alive() for load in loads),
            seconds=60,
        )
    for load in loads:
        load.stopping.set()
    for load in loads:
        load.join(90)
        assert not load.is_alive()
    assert sum(load.check() for load in loads) <= kills * SESSIONS * IN_FLIGHT
    ledgers = [load.ledger for load in loads]
    check_effects(effects, ledgers)
    assert not overlaps(lives)
    for session in sessions:
        assert session.stderr == ""
        assert session.call("echo", text="on") == "on"
        session.finish()
        session.close()
        runtime.sessions.remove(session)
    return ledgers


def _told(ledgers: Sequence[Ledger]) -> str:
    errors = sum((ledger.errors for ledger in ledgers), Counter[tuple[str, int]]())
    kinds = ", ".join(f"{count} {kind} {code}" for (kind, code), count in sorted(errors.items()))
    return f"{sum(ledger.asked for ledger in ledgers)} requests, {errors.total()} errors ({kinds or 'none'})"


def test_killed_shims_leave_nothing_behind_and_their_calls_are_cancelled(runtime: Runtime) -> None:
    rounds, width = times(4, 100), 10
    witness = runtime.ready()
    backend = runtime.backend()
    witness.call("echo", text="warm")
    before = descriptors(backend.pid)
    sleepers = 1 if PARK_AFTER else 0  # of a session that sleeps the backend has the stdin
    for number in range(rounds):
        sessions = [runtime.ready() for _ in range(width)]
        for session in sessions:
            session.begin_call("sleep", seconds=30)
            session.begin("tools/list")
        eventually("all calls run", lambda: _in_flight(runtime) >= width)
        for session in sessions:
            session.child.kill()
        for session in sessions:
            session.close()
            runtime.sessions.remove(session)
        eventually("only the witness is left", lambda: len(runtime.status()["sessions"]) == 1)
        cancelled = (number + 1) * width
        eventually("the server was told", lambda cancelled=cancelled: int(witness.call("cancelled")) == cancelled)
        eventually("nothing is in flight", lambda: _in_flight(runtime) == 0)
        eventually("no descriptor is left", lambda: descriptors(backend.pid) <= before + sleepers)
    assert not zombies(backend.pid)
    assert runtime.backend() == backend
    report(f"{rounds * width} shims killed with calls in flight; {before} descriptors before and after")


def _in_flight(runtime: Runtime) -> int:
    return sum(upstream["in_flight"] for upstream in runtime.status()["upstreams"])
