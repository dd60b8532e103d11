"""The measuring client: bytes from a template, no JSON while the clock runs. Every answer is checked afterwards."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Sequence

from mux.cli.client import Client
from mux.errors import MuxError

MESSAGE_BYTES = 200
"""Size of a small request line with its newline, at ids of six digits."""

SIZES: tuple[int, ...] = (MESSAGE_BYTES, 4_096, 50_000, 1 << 20)
"""Sizes of requests, and about those of their answers."""

DEPTH = 64
"""Small requests that a session keeps open while rates are measured."""

READ_BYTES = 64 * 1024

_HEAD = b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"text":"'
_TAIL = b'"}}}\n'
FIRST_ID = 100_000


def request(size: int) -> bytes:
    """A template of a request line of `size` bytes; it takes the id."""
    return _HEAD + b"x" * (size - len(_HEAD % FIRST_ID) - len(_TAIL)) + _TAIL


REQUEST = request(MESSAGE_BYTES)


class Lane:
    """One initialised session that is driven with bytes."""

    def __init__(self, client: Client) -> None:
        self._sink, self.source = client.descriptors
        self._sent = FIRST_ID
        self._received: list[bytes] = []
        self._answers = 0

    def send(self, count: int, template: bytes = REQUEST) -> None:
        """Write `count` requests at once. Several: never so many unanswered that a pipe (64 KiB) could be full."""
        numbers = range(self._sent, self._sent + count)
        self._sent += count
        data = memoryview(b"".join([template % number for number in numbers]))
        while data:
            data = data[os.write(self._sink, data) :]

    def receive(self) -> int:
        """One read; the number of answers that it completes."""
        data = os.read(self.source, READ_BYTES)
        if not data:
            raise MuxError("the session ended while it was measured")
        self._received.append(data)
        count = data.count(b"\n")
        self._answers += count
        return count

    @property
    def open(self) -> int:
        """Requests without an answer."""
        return self._sent - FIRST_ID - self._answers

    def check(self) -> None:
        """Raises MuxError unless each request has had exactly one answer, and that one a result."""
        lines = b"".join(self._received).splitlines()
        self._received.clear()
        messages = [json.loads(line) for line in lines]
        first = self._sent - len(messages)
        if sorted(message["id"] for message in messages) != list(range(first, self._sent)):
            raise MuxError("an answer is missing, doubled or not ours")
        if any("result" not in message for message in messages):
            raise MuxError("a request was answered with an error")


def round_trips(lane: Lane, count: int, size: int = MESSAGE_BYTES, *, within: float = 60.0) -> list[float]:
    """Seconds of each of `count` calls, one at a time; of fewer if they take more than `within` seconds together."""
    times: list[float] = []
    template = request(size)
    clock = time.perf_counter
    end = clock() + within
    for _ in range(count):
        began = clock()
        if began > end:
            break
        lane.send(1, template)
        while not lane.receive():
            pass
        times.append(clock() - began)
    lane.check()
    return times


def rate(lanes: Sequence[Lane], seconds: float) -> float:
    """Answers per second over all lanes, with DEPTH requests open in each all the time."""
    poll = select.poll()
    by_descriptor = {lane.source: lane for lane in lanes}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    began = time.perf_counter()
    for lane in lanes:
        lane.send(DEPTH)
    answers = 0
    while (now := time.perf_counter()) - began < seconds or not answers:
        for descriptor, _ in poll.poll(1000):
            lane = by_descriptor[descriptor]
            if count := lane.receive():
                answers += count
                lane.send(count)
    elapsed = now - began
    for lane in lanes:
        while lane.open:
            lane.receive()
        lane.check()
    return answers / elapsed
