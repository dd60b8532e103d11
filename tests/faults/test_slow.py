"""A host that stops: it holds up nobody, and is dropped by the rule."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.support import configure, private_bytes, report, times
from tests.support.processes import eventually, running
from tests.support.runtime import Runtime
from tests.support.session import Session

HOSTILE = [sys.executable, str(Path(__file__).with_name("hostile.py"))]
MIB = 1 << 20
RATE = times(8, 1) * MIB
"""Bytes a second of notifications."""
SECONDS = times(6, 120)
CALLS = 200
HELD_UP = 5.0
"""Seconds for one call; no expectation: who waits for a stopped host waits for as long as that is stopped."""


def latency(session: Session, going_on: Callable[[], bool]) -> tuple[float, float]:
    """Of many calls, one after the other: the seconds of the 99th percentile, and of the slowest."""
    taken: list[float] = []
    while len(taken) < CALLS or going_on():
        begun = time.monotonic()
        assert session.call("echo", text="on") == "on"
        taken.append(time.monotonic() - begun)
        time.sleep(0.002)
    return sorted(taken)[int(len(taken) * 0.99)], max(taken)


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
    configure(runtime, **({} if times(0, 1) else {"host_slow_bytes": 2 * MIB, "host_slow_seconds": 2.0}))
    stopped = runtime.ready(*HOSTILE)
    other = runtime.ready(*HOSTILE, *([] if whose == "the same server" else ["--name=other"]))
    backend = runtime.backend()
    calm, _ = latency(other, lambda: False)
    with growth(backend.pid) as grown:
        end = time.monotonic() + SECONDS
        stopped.begin_call("flood", "token", seconds=SECONDS, rate=RATE)
        stopped.wait_notification("notifications/progress")
        stopped.child.send_signal(signal.SIGSTOP)
        try:
            stormy, slowest = latency(other, lambda: time.monotonic() < end)
            eventually("the stopped session is dropped", lambda: len(runtime.status()["sessions"]) == 1)
        finally:
            stopped.child.send_signal(signal.SIGCONT)
        assert grown() < 64 * MIB
        storm = f"grew by {grown() / MIB:.0f} MiB"
    assert "session.dropped" in (runtime.directory / "s.log").read_text(encoding="utf-8")
    assert slowest < HELD_UP
    begun = time.monotonic()
    assert runtime.mux("stop", "--socket", str(runtime.socket)).returncode == 0
    assert not running(backend.pid)
    report(
        f"{SECONDS} s of {RATE // MIB} MiB/s to a stopped host: p99 of a session of {whose} {calm * 1e3:.1f} ms calm, "
        f"{stormy * 1e3:.1f} ms meanwhile; {storm}; stopped in {time.monotonic() - begun:.1f} s"
    )
