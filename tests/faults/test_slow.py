"""A host that stops: it holds up nobody, and is dropped by the rule."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from mux import limits
from tests.faults.support import FULL, configure, private_bytes, report, served, times
from tests.support.processes import eventually, running
from tests.support.runtime import Runtime
from tests.support.session import Failed, Session

HOSTILE = [sys.executable, str(Path(__file__).with_name("hostile.py"))]
MIB = 1 << 20
RATE = times(8, 1) * MIB
"""Bytes a second of notifications."""
SECONDS = times(6, 120)
CALLS = 200
FLOOR = 0.005
"""Seconds that two measurements of a 99th percentile differ by, whatever is measured."""
SLOW_BYTES, SLOW_SECONDS = (limits.HOST_SLOW_BYTES, limits.HOST_SLOW_SECONDS) if FULL else (2 * MIB, 2.0)
"""What drops a host that does not read; besides HOST_QUEUE_BYTES."""
OVERHEAD = 1.01
"""By how much frames are longer than the lines in them, at most."""
HELD_UP = 5.0
"""Seconds for one call; no expectation: who waits for a stopped host waits for as long as that is stopped."""


STORM = MIB
"""Bytes a second of a call that is still at work when `mux stop` comes."""
STOP_SECONDS = 10.0
"""What is promised of `mux stop`, seconds, whoever does not read."""
UPSTREAM_UNAVAILABLE = -31001


def latency(session: Session, going_on: Callable[[], bool]) -> tuple[float, float]:
    """Of many calls, one after the other: the seconds of the 99th percentile, and of the slowest."""
    taken: list[float] = []
    while len(taken) < CALLS or going_on():
        begun = time.monotonic()
        assert session.call("echo", text="on") == "on"
        taken.append(time.monotonic() - begun)
        time.sleep(0.002)
    return sorted(taken)[int(len(taken) * 0.99)], max(taken)


def dropped_by_the_rule(runtime: Runtime, begun: float) -> float:
    """Seconds from the flood's begin, by the clock, to the drop: it gives a reason, and that can not be so earlier."""
    lines = (runtime.directory / "s.log").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if " session.dropped " in line)
    lasted = datetime.fromisoformat(line.split()[0]).timestamp() - begun
    if "too much has waited for too long" in line:
        assert (lasted - SLOW_SECONDS) * RATE * OVERHEAD > SLOW_BYTES
    else:
        assert "too much waits" in line
        assert lasted * RATE * OVERHEAD > limits.HOST_QUEUE_BYTES
    return lasted


@contextmanager
def growth(pid: int) -> Generator[Callable[[], int]]:
    """Within the block: by how many bytes the process has grown at most."""
    before = most = private_bytes(pid)
    stopping = threading.Event()

    def look() -> None:
        nonlocal most
        while not stopping.wait(0.2):
            most = max(most, private_bytes(pid))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield lambda: most - before
    finally:
        stopping.set()
        looker.join()


@pytest.mark.parametrize("whose", ["the same server", "another server"])
def test_a_stopped_session_under_a_flood_is_dropped_and_nobody_else_notices(runtime: Runtime, whose: str) -> None:
    """The flood is progress of a call of its own."""
    configure(runtime, host_slow_bytes=SLOW_BYTES, host_slow_seconds=SLOW_SECONDS)
    stopped = runtime.ready(*HOSTILE)
    other = runtime.ready(*HOSTILE, *([] if whose == "the same server" else ["--name=other"]))
    backend = runtime.backend()
    calm, _ = latency(other, lambda: False)
    with growth(backend.pid) as grown:
        end, begun = time.monotonic() + SECONDS, time.time()
        stopped.begin_call("flood", "token", seconds=SECONDS, rate=RATE)
        stopped.wait_notification("notifications/progress")
        stopped.child.send_signal(signal.SIGSTOP)
        try:
            stormy, slowest = latency(other, lambda: time.monotonic() < end)
            eventually("the stopped session is dropped", lambda: len(runtime.status()["sessions"]) == 1)
        finally:
            stopped.child.send_signal(signal.SIGCONT)
        assert grown() < 64 * MIB
        storm = f"it grew by {grown() / MIB:.0f} MiB"
    storm += f", dropped after {dropped_by_the_rule(runtime, begun):.1f} s"
    assert slowest < HELD_UP
    if FULL:
        assert stormy < 2 * calm + FLOOR
    begun = time.monotonic()
    assert runtime.mux("stop", "--socket", str(runtime.socket)).returncode == 0
    assert not running(backend.pid)
    report(
        f"{SECONDS} s of {RATE // MIB} MiB/s to a stopped host: p99 of a session of {whose} {calm * 1e3:.1f} ms calm, "
        f"{stormy * 1e3:.1f} ms meanwhile; {storm}; stopped in {time.monotonic() - begun:.1f} s"
    )


def refused(session: Session) -> bool:
    """Whether a request is refused as `mux stop` wants it; one that was at work when that came is another matter."""
    with pytest.raises(Failed) as failed:
        session.request("tools/list")
    return failed.value.error["code"] == UPSTREAM_UNAVAILABLE and "`mux stop`" in failed.value.error["message"]


@pytest.mark.parametrize("how", ["in a storm", "dropped before", "asleep"])
def test_stop_is_over_in_time_and_final_for_a_session_that_cannot_be_told(runtime: Runtime, how: str) -> None:
    """It is stopped like the one that was told, comes back when that is long over, and starts nothing."""
    if how == "dropped before":
        configure(runtime, host_slow_bytes=MIB, host_slow_seconds=0.2)
    told = runtime.ready(*HOSTILE)
    untold = runtime.ready(*HOSTILE, options=["--park-after", "0.2" if how == "asleep" else "0"])
    if how == "asleep":
        eventually("it sleeps", lambda: "(parked)" in " ".join(psutil.Process(untold.child.pid).cmdline()))
    else:
        untold.begin_call("flood", "token", seconds=60, rate=STORM if how == "in a storm" else RATE)
        untold.wait_notification("notifications/progress")
    untold.child.send_signal(signal.SIGSTOP)
    if how == "dropped before":
        log = runtime.directory / "s.log"
        eventually("it is dropped", lambda: "session.dropped" in log.read_text(encoding="utf-8"))
    else:
        time.sleep(1)  # of storm: what is told now stands behind what is not read
    begun = time.monotonic()
    assert runtime.mux("stop", "--socket", str(runtime.socket)).returncode == 0
    taken = time.monotonic() - begun
    assert taken < STOP_SECONDS
    assert not runtime.backends()
    untold.child.send_signal(signal.SIGCONT)
    for _ in range(3):
        assert refused(untold)
        assert refused(told)
        assert not runtime.backends()
        time.sleep(0.7)
    assert runtime.mux("start", "--socket", str(runtime.socket)).returncode == 0
    for session in (untold, told):
        eventually("it is served again", lambda session=session: served(session))
        assert session.call("echo", text="on") == "on"
    assert untold.stderr == ""
    report(f"stopped in {taken:.1f} s with a session that does not read, {how}")
