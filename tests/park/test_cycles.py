"""Sleep and wake, over and over, while both sides talk: nothing is lost, doubled, torn or reordered."""

from __future__ import annotations

import json
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.park.support import PARK_AFTER, SHELLS, SOON, expect_sleep, shell
from tests.support.processes import eventually
from tests.support.runtime import Runtime
from tests.support.session import Session, Stdio

pytestmark = pytest.mark.rounds

CYCLES = int(os.environ.get("MUX_TEST_ROUNDS") or 10)
SESSIONS = 3
CHANGED = "notifications/tools/list_changed"


class Talk:
    """One host: bursts, halves of lines, silence of any length. `expected`: what each request must be answered."""

    def __init__(self, session: Session, number: int) -> None:
        self.session = session
        self.number = number
        self.random = random.Random(number)
        self.expected: list[tuple[int, str]] = []
        self.slept = 0

    def run(self) -> None:
        act = (self.burst, self.half, self.large, self.wait)
        for _ in range(CYCLES):
            if self.random.random() < 0.8:
                expect_sleep(self.session)
                self.slept += 1
            else:
                time.sleep(self.random.random() * 3 * float(PARK_AFTER))  # any phase of falling asleep
            self.random.choice(act)()

    def lines(self, count: int, size: int = 0) -> bytes:
        said: list[bytes] = []
        for _ in range(count):
            number = len(self.expected) + 1
            text = f"{self.number}-{number}-" + "x" * size
            self.expected.append((number, text))
            call = {"name": "echo", "arguments": {"text": text}}
            message = {"jsonrpc": "2.0", "id": f"t{number}", "method": "tools/call", "params": call}
            said.append(json.dumps(message).encode() + b"\n")
        return b"".join(said)

    def burst(self) -> None:
        self.session.write(self.lines(self.random.randint(1, 30)))

    def half(self) -> None:
        data = self.lines(self.random.randint(1, 3))
        cut = self.random.randrange(1, len(data))
        self.session.write(data[:cut])
        time.sleep(self.random.random() * 4 * float(PARK_AFTER))  # the wish to sleep comes within the line
        self.session.write(data[cut:])

    def large(self) -> None:
        self.session.write(self.lines(1, size=300_000))

    def wait(self) -> None:
        self.session.write(self.lines(1))
        self.session.response(f"t{len(self.expected)}")

    def check(self) -> None:
        for number, _ in self.expected:
            self.session.response(f"t{number}")
        answers = [message for message in map(json.loads, self.session.lines) if str(message.get("id"))[:1] == "t"]
        found = [(int(message["id"][1:]), message["result"]["content"][0]["text"]) for message in answers]
        assert found == self.expected


def pushed(session: Session) -> list[Any]:
    return [message["params"]["n"] for message in session.notifications if message["method"] == CHANGED]


def expect_pushes(session: Session, number: int) -> None:
    eventually("all pushes have come", lambda: len(pushed(session)) >= number)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stdio", ["pipe", "socketpair"])
@pytest.mark.parametrize("name", SHELLS)
def test_nothing_is_lost_or_reordered_over_many_cycles_under_traffic(runtime: Runtime, name: str, stdio: Stdio) -> None:
    runtime.grace = 5.0
    environment = shell(name, runtime.directory)
    talks = [
        Talk(runtime.ready(options=SOON, environment=environment, stdio=stdio), number) for number in range(SESSIONS)
    ]
    driver = runtime.ready(options=("--park-after", "0"))
    pushes = 0
    with ThreadPoolExecutor(SESSIONS) as threads:
        work = [threads.submit(talk.run) for talk in talks]
        while not all(job.done() for job in work):
            driver.call("notify", method=CHANGED, params={"n": pushes})
            pushes += 1
            time.sleep(random.Random(pushes).random() * 8 * float(PARK_AFTER))
        for job in work:
            job.result()
    for talk in talks:
        talk.check()
        expect_pushes(talk.session, pushes)
        assert pushed(talk.session) == list(range(pushes))
        assert talk.slept > CYCLES // 2
        assert talk.session.finish() == 0
        assert not talk.session.stderr
