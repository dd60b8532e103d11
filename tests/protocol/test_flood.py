"""Sessions with equal ids and equal tokens, hundreds of calls in flight: no crossing, no loss, no duplicate."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import eventually
from tests.support.runtime import Runtime
from tests.support.session import Json, Session

BUSY = [sys.executable, str(Path(__file__).parent / "servers" / "busy.py")]

SECONDS = float(os.environ.get("MUX_TEST_FLOOD_SECONDS", "8"))
"""How long; 60 is the whole proof."""

IN_FLIGHT = 200


def name(number: int) -> int | str:
    """What the nth call is called, by its session and every other: 0, "0", a UUID, 3, "3", …"""
    return (number, str(number - 1), str(uuid.UUID(int=number)))[number % 3]


class Host(Session):
    """Keeps IN_FLIGHT calls open, cancels some, and judges every line as it comes: what is wrong goes to `faults`.

    Tokens are named like ids, one further on: so that a token never equals the id of its own call.
    """

    def __init__(self, who: str, runtime: Runtime, seed: int) -> None:
        self.who = who
        self.dice = random.Random(seed)
        self.faults: list[str] = []
        self.begun = self.answered = self.cancels = self.changes_asked = self.changes = 0
        self.open: dict[str, Json] = {}
        self.cancelled: dict[str, Json] = {}
        self.reports: dict[str, tuple[str, int]] = {}
        """By token: which call of ours it belongs to, and how many came."""
        self.ready = False
        super().__init__(runtime.shim(*BUSY), environment=runtime.environment, cwd=runtime.project)
        runtime.sessions.append(self)
        opening = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        self.begin("initialize", opening, number="hello")
        eventually("the handshake is over", lambda: self.ready)
        self.notify("notifications/initialized")

    def fill(self) -> None:
        while len(self.open) < IN_FLIGHT:
            number, token = name(self.begun), name(self.begun + 1)
            self.begun += 1
            given: dict[str, Any] = {
                "who": f"{self.who} {self.begun}",
                "size": self.dice.choice((0, 10, 100, 1_000, 10_000, self.dice.choice((100, 300_000)))),
                "steps": self.dice.randrange(4),
                "pause": self.dice.random() * 0.2,
                "change": self.dice.random() < 0.02,
            }
            self.changes_asked += given["change"]
            with self._news:
                self.open[json.dumps(number)] = {**given, "token": json.dumps(token)}
                self.reports[json.dumps(token)] = (given["who"], 0)
            params = {"name": "work", "arguments": given, "_meta": {"progressToken": token}}
            self.begin("tools/call", params, number=number)

    def cancel_one(self) -> None:
        with self._news:
            if not self.open:
                return
            key = self.dice.choice(list(self.open))
            self.cancelled[key] = self.open.pop(key)
        self.cancels += 1
        self.notify("notifications/cancelled", {"requestId": json.loads(key)})

    def _take(self, line: bytes) -> None:
        message = json.loads(line)
        with self._news:
            if "method" not in message:
                self._judge_answer(message)
            elif message["method"] == "notifications/progress":
                self._judge_report(message["params"])
            elif message["method"] == "notifications/tools/list_changed":
                self.changes += 1
            else:
                self.faults.append(f"nobody sends {message}")

    def _judge_answer(self, message: Json) -> None:
        key = json.dumps(message["id"])
        if key == '"hello"':
            self.ready = True
            return
        given = self.open.pop(key, None) or self.cancelled.pop(key, None)
        if given is None:
            self.faults.append(f"{key} is not open: {str(message)[:200]}")
            return
        self.answered += 1
        content: Any = message.get("result", {}).get("content") or [{"text": None}, {"text": str(message)[:200]}]
        if content[0]["text"] != given["who"] or len(content[1]["text"]) != given["size"]:
            self.faults.append(f"{given['who']} got the answer of {content[0]['text']}")
        if (came := self.reports.pop(given["token"])) != (given["who"], given["steps"]):
            self.faults.append(f"{given['who']} was to get {given['steps']} reports: {came}")

    def _judge_report(self, params: Json) -> None:
        token = json.dumps(params["progressToken"])
        who, count = self.reports.get(token, ("nobody", 0))
        if (params["message"], params["progress"]) != (who, count):
            self.faults.append(f"{token} of {who} after {count}: {params}")
        self.reports[token] = (who, count + 1)


@pytest.mark.timeout(SECONDS + 120)
def test_sessions_with_equal_ids_and_tokens_never_see_each_others_calls(runtime: Runtime) -> None:
    dice = random.Random(11)
    staying = [Host("first", runtime, 1), Host("second", runtime, 2)]
    leaving: list[Host] = []
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        guest = Host("guest", runtime, 100 + len(leaving))
        leaving.append(guest)
        gone = time.monotonic() + dice.random()
        while time.monotonic() < gone:
            for host in (*staying, guest):
                host.fill()
                host.cancel_one()
            time.sleep(0.01)
        guest.kill_group(dice.choice((signal.SIGTERM, signal.SIGKILL)))
        guest.close()
    for host in staying:
        eventually(f"every call of {host.who} is answered", lambda host=host: not host.open, seconds=60)  # type: ignore[misc]
        assert host.finish() == 0
    everybody = (*staying, *leaving)
    asked = sum(host.changes_asked for host in everybody)
    for host in everybody:
        assert not host.faults, host.faults[:10]
        assert host.changes <= asked
    for host in staying:
        assert host.changes
        assert host.answered >= host.begun - host.cancels > IN_FLIGHT
    print(f"{len(leaving)} guests; {[(host.begun, host.answered, host.cancels, host.changes) for host in staying]}")
