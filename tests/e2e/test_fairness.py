"""A session that floods is held to a rate while another one makes calls, and to none when it is alone."""

from __future__ import annotations

import time
from threading import Thread

from mux.limits import FLOOD_RATE, LINE_BYTES, MODEST_SECONDS, PACED_RATE, PACED_SECONDS, RATE_SECONDS
from tests.support.runtime import Runtime

FLOOD_BYTES = int(FLOOD_RATE * RATE_SECONDS * LINE_BYTES) + LINE_BYTES
"""One line of this size is a flood: how fast the machine is does not matter."""
LINES = 40


def test_a_flood_waits_while_another_session_makes_calls_and_nothing_of_it_is_lost(runtime: Runtime) -> None:
    loud, quiet = runtime.ready(), runtime.ready()
    padding = "x" * FLOOD_BYTES
    quiet.call("echo", text="on")
    numbers: list[int] = []
    flood = Thread(target=lambda: numbers.extend(loud.begin("ping", {"_meta": {"pad": padding}}) for _ in range(LINES)))
    begun = time.monotonic()
    flood.start()
    while time.monotonic() - begun < 1.5:
        quiet.call("echo", text="on")
    answered = len(loud.answers())
    # two at the begin, one under way at the end
    assert answered <= 2 + 1 + (time.monotonic() - begun) / min(PACED_SECONDS, FLOOD_BYTES / LINE_BYTES / PACED_RATE)
    quiet.finish()
    flood.join(LINES * PACED_SECONDS + MODEST_SECONDS + 60)
    for number in numbers:
        assert loud.result(number) == {}
    assert len(numbers) == LINES
