"""Hours of ordinary life in short: sessions come, go, call and are killed, and the backend stays as it was."""

from __future__ import annotations

import math
import os
import random
import time
from pathlib import Path

from tests.faults.ledger import Ledger
from tests.faults.support import configure, descriptors, overlaps, private_bytes, report, times, zombies
from tests.support.processes import eventually
from tests.support.runtime import PARK_AFTER, SCRIPTED, Runtime

SESSIONS = 8
SIZES = (100, 1_000, 10_000, 100_000)
WARM_CALLS = 8
WINDOW = 20.0
"""Seconds after which a soak calms down, to show what it has kept."""
TRIM_SECONDS = 1.0
"""How often the backend of a soak gives free memory back."""
LONG, LONG_ENOUGH_FOR_MEMORY = 600, 1800
"""Seconds from which on a soak says something. In ten minutes the slope was known no better than by 1.8 MB/h."""
LOOKS = 3
"""How often memory is looked at for one sample: what is kept is there each time, what is on its way out is not."""
RATE, RATE_AT_LEAST = 20, 15
"""Operations a second, pauses and waits included: what is aimed at, and what makes it a soak."""
BYTES_AN_HOUR, BYTES_AN_HOUR_UNKNOWN = 1e6, 0.5e6
"""What the backend may grow by, and how well that has to be known: the standard error."""
CALLS = 6
"""How much likelier a call is than that a session comes, or goes."""
AFTER_A_CRASH = 100
"""Calls that may be sent in the second after a crash."""


def test_a_soak_of_random_sessions_calls_and_kills_loses_nothing_and_leaves_all_as_it_was(
    runtime: Runtime, lives: Path
) -> None:
    """RATE operations a second: sessions come, go and are killed, call, and now and then their server is killed.

    Memory, descriptors and children of the backend stay as they were, and each call of a living session is answered.
    """
    seconds = int(os.environ.get("MUX_FAULTS_SOAK", times(12, 3600)))
    configure(runtime, self_check_seconds=TRIM_SECONDS)
    soak = Soak(runtime, lives)
    soak.warm_up()
    backend = runtime.backend()
    samples: list[tuple[float, int]] = []
    open_before = descriptors(backend.pid)
    begun = time.monotonic()
    while (now := time.monotonic() - begun) < seconds:
        soak.step(now)
        time.sleep(max(0.0, soak.operations / RATE - now))
        if now > WINDOW * (len(samples) + 1):
            soak.calm_down()
            samples.append((now, _kept(backend.pid)))
    soak.calm_down()
    soak.count(soak.anchor)
    assert runtime.backend() == backend, "it died by itself"
    assert not zombies(backend.pid)
    assert not overlaps(lives)
    sleepers = 1 if PARK_AFTER else 0  # of a session that sleeps the backend has the stdin
    eventually("no descriptor is left", lambda: descriptors(backend.pid) <= open_before + sleepers)
    report(f"{soak.operations} operations in {seconds} s; {soak.answers} answers, {soak.errors} of them errors")
    assert soak.errors <= soak.bearable
    if seconds >= LONG:
        assert soak.operations >= RATE_AT_LEAST * seconds
    if seconds >= LONG_ENOUGH_FOR_MEMORY:
        _judge(samples[len(samples) // 3 :])  # before that it warms up
    else:
        report(f"nothing is said about memory: that takes {LONG_ENOUGH_FOR_MEMORY} s")


class Soak:
    """`anchor`: of the one session that is there all the time.

    `operations`: steps that did something. `bearable`: how many calls the killed servers can have cost at most.
    """

    def __init__(self, runtime: Runtime, lives: Path) -> None:
        self._runtime = runtime
        self._command = (*SCRIPTED, "--lives", str(lives))
        self._random = random.Random(11)
        self._begun = 0
        self._living: list[Ledger] = []
        self._deaths: list[float] = []
        self._next_crash = 8.0
        self.operations = self.answers = self.errors = self.bearable = 0
        self.anchor = self._session()

    def step(self, now: float) -> None:
        if now > self._next_crash:
            self._next_crash = now + 20.0  # fewer than the breaker of a server counts
            self._crash()
            self.operations += 1
        else:
            self.operations += self._random.choice((self._come, self._go, *CALLS * [self._call]))()

    def warm_up(self) -> None:
        """As much at once as ever again: the heap keeps what it took for that."""
        while self._come():
            continue
        for ledger in self._living:
            for _ in range(WARM_CALLS):
                ledger.echo(SIZES[-1])
        self.calm_down()

    def calm_down(self) -> None:
        """Only the anchor is left, and nothing is under way."""
        while self._go():
            continue
        self.anchor.list_tools()
        self.anchor.settle()
        eventually("only the anchor is left", lambda: len(self._runtime.status()["sessions"]) == 1)

    def count(self, ledger: Ledger) -> None:
        """What a session has heard that is about to go."""
        self.answers += ledger.answered
        self.errors += ledger.errors.total()

    def _session(self) -> Ledger:
        self._begun += 1
        return Ledger(self._runtime.ready(*self._command), self._begun, self._deaths)

    def _crash(self) -> None:
        self.bearable += sum(len(ledger.open) for ledger in (self.anchor, *self._living)) + AFTER_A_CRASH
        self._deaths.append(time.monotonic())
        for server in self._runtime.servers("scripted.py"):
            server.kill()

    def _come(self) -> bool:
        if len(self._living) == SESSIONS:
            return False
        self._living.append(self._session())
        return True

    def _go(self) -> bool:
        """One session less: killed in the midst of its calls, or ended by its host when it has heard all."""
        if not self._living:
            return False
        ledger = self._living.pop(self._random.randrange(len(self._living)))
        session = ledger.session
        if self._random.random() < 0.5:
            ledger.collect()
            session.child.kill()
        else:
            ledger.settle()
            assert session.finish() == 0
        assert session.stderr == ""
        self.count(ledger)
        session.close()
        self._runtime.sessions.remove(session)
        return True

    def _call(self) -> bool:
        for ledger in (self.anchor, *self._random.sample(self._living, min(2, len(self._living)))):
            ledger.collect()
            ledger.echo(self._random.choice(SIZES))
        return True


def _kept(pid: int) -> int:
    """Private bytes of a backend that rests."""
    looks = []
    for _ in range(LOOKS):
        time.sleep(TRIM_SECONDS)
        looks.append(private_bytes(pid))
    return min(looks)


def _judge(samples: list[tuple[float, int]]) -> None:
    """(seconds, bytes) of the backend: it grows by less than promised, and enough is known to say so."""
    slope, uncertainty = _slope(samples)
    levels = " ".join(f"{size / 1e6:.2f}" for _, size in samples[:: max(1, len(samples) // 10)])
    report(f"memory slope {slope / 1e6:.2f} MB/h, standard error {uncertainty / 1e6:.2f}; MB: {levels}")
    assert slope < BYTES_AN_HOUR
    assert uncertainty < BYTES_AN_HOUR_UNKNOWN


def _slope(samples: list[tuple[float, int]]) -> tuple[float, float]:
    """Bytes an hour by least squares, and the standard error of that."""
    count = len(samples)
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread
    rest = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in samples)
    return 3600 * slope, 3600 * math.sqrt(rest / (count - 2) / spread)
