"""A session that floods is held to a rate while another one makes calls, and nothing of what it says is lost."""

from __future__ import annotations

import time
from threading import Thread

import pytest

from mux.limits import (
    EOF_WAIT_SECONDS,
    FEW_REQUESTS,
    FLOOD_RATE,
    LINE_BYTES,
    MODEST_SECONDS,
    PACED_RATE,
    PACED_SECONDS,
    RATE_SECONDS,
)
from tests.faults.support import configure
from tests.support.runtime import Runtime
from tests.support.session import Session

FLOOD_BYTES = int(FLOOD_RATE * RATE_SECONDS * LINE_BYTES) + LINE_BYTES
"""One line of this size is as much as a flood says: how fast the machine is does not matter."""
PAUSE = min(PACED_SECONDS, FLOOD_BYTES / LINE_BYTES / PACED_RATE)
PADDING = "x" * FLOOD_BYTES


class Flood(Thread):
    """Says that line so often, while as many calls are open as a flood has."""

    def __init__(self, session: Session, count: int, padding: str) -> None:
        super().__init__(daemon=True)
        self.session = session
        self.numbers: list[int] = []
        self._count = count
        self._params = {"_meta": {"pad": padding}}
        for _ in range(FEW_REQUESTS):
            session.begin_call("sleep", seconds=8)

    def run(self) -> None:
        for _ in range(self._count):
            self.numbers.append(self.session.begin("ping", self._params))

    def answered(self) -> int:
        answers = self.session.answers()
        return sum(str(number) in answers for number in list(self.numbers))


def test_a_flood_waits_while_another_session_makes_calls_and_nothing_of_it_is_lost(runtime: Runtime) -> None:
    flood, quiet = Flood(runtime.ready(), 40, PADDING), runtime.ready()
    quiet.call("echo", text="on")
    begun = time.monotonic()
    flood.start()
    while time.monotonic() - begun < 1.5:
        quiet.call("echo", text="on")
    # one at the begin, one under way at the end
    assert flood.answered() <= 2 + (time.monotonic() - begun) / PAUSE
    quiet.finish()
    flood.join(40 * PAUSE + MODEST_SECONDS + 60)
    assert len(flood.numbers) == 40
    for number in flood.numbers:
        assert flood.session.result(number) == {}


def test_a_flood_that_waits_is_answered_to_the_last_though_its_input_has_ended(runtime: Runtime) -> None:
    count = int(PACED_RATE * EOF_WAIT_SECONDS * 2)
    configure(runtime, flood_rate=PACED_RATE)
    flood, quiet = Flood(runtime.ready(), count, ""), runtime.ready()
    quiet.call("echo", text="on")
    flood.run()
    flood.session.end_input()
    while flood.answered() < count and flood.session.child.poll() is None:
        quiet.call("echo", text="on")
    assert flood.answered() == count
    assert "session.paced" in runtime.socket.with_suffix(".log").read_text()


@pytest.mark.parametrize("size", [100, FLOOD_BYTES])
def test_one_call_after_the_other_is_no_flood(runtime: Runtime, size: int) -> None:
    caller, quiet = runtime.ready(), runtime.ready()
    for _ in range(8):
        quiet.call("echo", text="on")
        for _ in range(2):
            assert caller.request("ping", {"_meta": {"pad": "x" * size}}) == {}
    log = runtime.socket.with_suffix(".log").read_text()
    assert "session.opened" in log
    assert "session.paced" not in log
