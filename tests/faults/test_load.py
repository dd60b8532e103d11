"""Deaths under load: each request is answered exactly once, no line is torn, no effect happens twice."""

from __future__ import annotations

import math
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from mux.limits import BREAKER_FAILURES
from tests.faults.support import (
    Watch,
    configure,
    descriptors,
    lives_of,
    once,
    overlaps,
    private_bytes,
    report,
    times,
    whole_lines,
    zombies,
)
from tests.support.processes import eventually
from tests.support.runtime import PARK_AFTER, SCRIPTED, Runtime
from tests.support.session import Session

UPSTREAM_UNAVAILABLE, OUTCOME_UNKNOWN = -31001, -31002
SESSIONS = 8
IN_FLIGHT = 8
SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
WINDOW = 20.0
"""Seconds after which a soak calms down, to show what it has kept."""
TRIM_SECONDS = 1.0
"""How often the backend of a soak gives free memory back."""
BEARABLE = BREAKER_FAILURES - 1
MANY = 1 << 20
"""More deaths in a minute than a session bears by default."""


class Load(threading.Thread):
    """One session that keeps IN_FLIGHT requests open until told to stop. `done`: what was answered, by kind."""

    def __init__(self, session: Session, name: int, effects: Path) -> None:
        super().__init__(daemon=True)
        self.session = session
        self.label = name
        self.effects = effects
        self.stopping = threading.Event()
        self.kinds: dict[Any, str] = {}
        self.error: BaseException | None = None
        self._random = random.Random(name)

    def run(self) -> None:
        waiting: list[Any] = []
        try:
            while not self.stopping.is_set():
                if len(waiting) == IN_FLIGHT:
                    self.session.response(waiting.pop(0), seconds=60)
                waiting.append(self._begin())
            for number in waiting:
                self.session.response(number, seconds=60)
        except BaseException as error:  # noqa: BLE001 - told to the test by `check`
            self.error = error

    def _begin(self) -> Any:
        count = len(self.kinds)
        kind = ("tools/list", "effect", "echo")[count % 3]
        if kind == "tools/list":
            number = self.session.begin(kind)
        elif kind == "effect":
            number = self.session.begin_call(kind, file=str(self.effects), mark=f"{self.label}-{count}")
        else:
            number = self.session.begin_call(kind, text="x" * self._random.choice(SIZES))
        self.kinds[number] = kind
        return number

    def check(self) -> int:
        """How many requests were answered with an error. Fails if one was not answered once, and by the rule."""
        if self.error is not None:
            raise self.error
        answers = self.session.answers()
        once(answers, self.kinds)
        whole_lines(self.session)
        errors = 0
        for key, (answer,) in answers.items():
            if "error" in answer:
                errors += 1
                assert answer["error"]["code"] in {UPSTREAM_UNAVAILABLE, OUTCOME_UNKNOWN}, (key, answer)
        return errors


def test_under_load_every_request_is_answered_once_however_often_the_backend_is_killed(
    runtime: Runtime, lives: Path, tmp_path: Path
) -> None:
    kills = times(6, 500)
    configure(runtime, backend_deaths=MANY)
    with Watch(runtime.socket) as watch:
        requests, errors = _killing(runtime, lives, tmp_path / "effects", kills, runtime.backends)
    assert not watch.overlaps
    report(f"{kills} backends killed under load: {requests} requests, {errors} errors")


def test_under_load_every_request_is_answered_once_however_often_the_server_is_killed(
    runtime: Runtime, tmp_path: Path
) -> None:
    rounds = times(1, 125)
    requests = errors = 0
    for number in range(rounds):  # each with a new server, since one that dies five times in a minute is given up
        lives, effects = tmp_path / f"lives-{number}", tmp_path / f"effects-{number}"
        counts = _killing(runtime, lives, effects, BEARABLE, lambda: runtime.servers("scripted.py"))
        requests, errors = requests + counts[0], errors + counts[1]
    report(f"{rounds * BEARABLE} servers killed under load: {requests} requests, {errors} errors")


def _killing(
    runtime: Runtime, lives: Path, effects: Path, kills: int, victims: Callable[[], list[psutil.Process]]
) -> tuple[int, int]:
    """(requests, errors) of a load that goes on while `victims` are killed one after the other."""
    effects.touch()
    random_ = random.Random(3)
    sessions = [runtime.ready(*SCRIPTED, "--lives", str(lives)) for _ in range(SESSIONS)]
    loads = [Load(session, number, effects) for number, session in enumerate(sessions)]
    for load in loads:
        load.start()
    for _ in range(kills):
        before = lives_of(lives)
        time.sleep(random_.uniform(0.0, 0.5))
        for process in victims():
            process.kill()
        eventually("the next server runs", lambda before=before: lives_of(lives) > before, seconds=60)
    for load in loads:
        load.stopping.set()
    for load in loads:
        load.join(90)
        assert not load.is_alive()
    errors = sum(load.check() for load in loads)
    marks = effects.read_text(encoding="utf-8").split()
    assert len(marks) == len(set(marks)), "an effect happened twice"
    assert not overlaps(lives)
    for session in sessions:
        assert session.stderr == ""
        assert session.call("echo", text="on") == "on"
        session.finish()
        session.close()
        runtime.sessions.remove(session)
    return sum(len(load.kinds) for load in loads), errors


def test_killed_shims_leave_nothing_behind_and_their_calls_are_cancelled(runtime: Runtime) -> None:
    rounds, width = times(4, 100), 10
    witness = runtime.ready()
    backend = runtime.backend()
    witness.call("echo", text="warm")
    before = None
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
        now = descriptors(backend.pid)
        before = before or now
        assert now == before
    assert not zombies(backend.pid)
    assert runtime.backend() == backend
    report(f"{rounds * width} shims killed with calls in flight; {before} descriptors before and after")


def _in_flight(runtime: Runtime) -> int:
    return sum(upstream["in_flight"] for upstream in runtime.status()["upstreams"])


def test_a_soak_of_random_sessions_calls_and_kills_leaves_memory_descriptors_and_children_as_they_were(
    runtime: Runtime, lives: Path
) -> None:
    """Some 20 operations a second: sessions come, go and are killed, call, and now and then their server is killed."""
    seconds = int(os.environ.get("MUX_FAULTS_SOAK", times(12, 600)))
    configure(runtime, self_check_seconds=TRIM_SECONDS)
    soak = Soak(runtime, lives)
    soak.warm_up()
    backend = runtime.backend()
    samples: list[tuple[float, int]] = []
    open_before = descriptors(backend.pid)
    begun = time.monotonic()
    while (now := time.monotonic() - begun) < seconds:
        soak.step(now)
        time.sleep(0.03)
        if now > WINDOW * (len(samples) + 1):
            soak.calm_down()
            time.sleep(2 * TRIM_SECONDS)
            samples.append((now, private_bytes(backend.pid)))
    soak.calm_down()
    assert runtime.backend() == backend, "it died by itself"
    assert not zombies(backend.pid)
    assert not overlaps(lives)
    assert soak.anchor.call("echo", text="on") == "on"
    sleepers = 1 if PARK_AFTER else 0  # of a session that sleeps the backend has the stdin
    assert abs(descriptors(backend.pid) - open_before) <= sleepers
    slope, uncertainty = _slope(samples[len(samples) // 3 :])  # before that it warms up
    levels = " ".join(f"{size / 1e6:.2f}" for _, size in samples[:: max(1, len(samples) // 10)])
    report(
        f"{soak.operations} operations in {seconds} s; memory slope {slope / 1e6:.2f} MB/h, "
        f"standard error {uncertainty / 1e6:.2f}; MB: {levels}"
    )
    assert slope - 2 * uncertainty < 1e6


class Soak:
    """`anchor`: the one session that is there all the time."""

    def __init__(self, runtime: Runtime, lives: Path) -> None:
        self._runtime = runtime
        self._command = (*SCRIPTED, "--lives", str(lives))
        self._random = random.Random(11)
        self._sessions: list[Session] = []
        self._next_crash = 8.0
        self.anchor = runtime.ready(*self._command)
        self.operations = 0

    def step(self, now: float) -> None:
        self.operations += 1
        if now > self._next_crash:
            self._next_crash = now + 20.0  # fewer than the breaker of a server counts
            for server in self._runtime.servers("scripted.py"):
                server.kill()
        else:
            self._random.choice((self._come, self._go, self._call, self._call, self._call, self._call))()

    def warm_up(self) -> None:
        """As much at once as ever again: the heap keeps what it took for that."""
        while len(self._sessions) < SESSIONS:
            self._come()
        for session in self._sessions:
            for _ in range(IN_FLIGHT):
                session.begin_call("echo", text="x" * SIZES[3])
        self.calm_down()

    def calm_down(self) -> None:
        """Only the anchor is left, and nothing is under way."""
        while self._sessions:
            self._go()
        self.anchor.result(self.anchor.begin("tools/list"), seconds=60)
        eventually("only the anchor is left", lambda: len(self._runtime.status()["sessions"]) == 1)

    def _come(self) -> None:
        if len(self._sessions) < SESSIONS:
            self._sessions.append(self._runtime.ready(*self._command))

    def _go(self) -> None:
        if self._sessions:
            session = self._sessions.pop(self._random.randrange(len(self._sessions)))
            if self._random.random() < 0.5:
                session.child.kill()
            session.close()
            self._runtime.sessions.remove(session)

    def _call(self) -> None:
        for session in (self.anchor, *self._random.sample(self._sessions, min(2, len(self._sessions)))):
            session.begin_call("echo", text="x" * self._random.choice(SIZES[:4]))


def _slope(samples: list[tuple[float, int]]) -> tuple[float, float]:
    """Bytes an hour by least squares, and the standard error of that; nothing is known from fewer than three."""
    count = len(samples)
    if count < 3:
        return 0.0, math.inf
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in samples)
    return 3600 * slope, 3600 * math.sqrt(rest / (count - 2) / spread)
