"""A session sees the same with and without others on its server, up to time. DESIGN: I3, I10."""

from __future__ import annotations

import json
import re
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mux.core import actions, events
from mux.core.pool import Pool
from tests.model.base import GARBAGE, IDS, SPEC

KEY = b"k" * 16
MARK = re.compile(rb'"mark":"(\w+)/')
ENVELOPE = '"io.modelcontextprotocol/protocolVersion":"2026-07-28"'
METHODS = ["tools/call", "tools/list", "resources/read", "x/y", "ping", "tasks/list"]
OPENING = {
    "legacy": '"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"sampling":{}}}',
    "modern": f'"method":"tools/list","params":{{"_meta":{{{ENVELOPE}}}}}',
    "probed": '"method":"server/discover","params":{}',
}
Step = tuple[str, str]


class Shared:
    """One server, of any number of sessions, that does what a script says of a session: nothing by itself."""

    def __init__(self) -> None:
        self.pool = Pool(grace=30.0, entropy=lambda ceiling: ceiling // 3)
        self.pool.start(0.0)
        self.seen: dict[int, list[bytes]] = {}
        self.asked: dict[str, list[int]] = {}
        self.tokens: dict[str, list[int]] = {}
        self.seq: dict[int, int] = {}
        self.process = 0

    def give(self, event: events.Event) -> None:
        for action in self.pool.handle(event, 1.0):
            if isinstance(action, actions.Deliver):
                self.seen.setdefault(action.session, []).append(action.data)
            elif isinstance(action, actions.Launch):
                self.process = action.process
                self.give(events.ProcessStarted(action.process, 1))
            elif isinstance(action, actions.Forward):
                self._receive(action.data)

    def _receive(self, data: bytes) -> None:
        message = json.loads(data)
        if "id" not in message or "method" not in message:
            return
        mark = MARK.search(data)
        if mark is None:  # what opens the server, and nobody's in particular
            self._tell({"id": message["id"], "result": {"capabilities": {}}})
            return
        name = mark[1].decode()
        self.asked.setdefault(name, []).append(message["id"])
        if "progressToken" in message["params"].get("_meta", {}):
            self.tokens.setdefault(name, []).append(message["id"])

    def _tell(self, message: dict[str, object]) -> None:
        self.give(events.ProcessLine(self.process, json.dumps({"jsonrpc": "2.0", **message}).encode()))

    def join(self, session: int, era: str) -> None:
        self.give(events.SessionOpened(session, KEY, SPEC, 30.0))
        if era == "probed":
            self.say(session, f'{{"jsonrpc":"2.0","id":0,{OPENING["probed"]}}}'.encode())
        self.say(session, f'{{"jsonrpc":"2.0","id":0,{OPENING["modern" if era == "probed" else era]}}}'.encode())

    def say(self, session: int, line: bytes) -> None:
        self.seq[session] = self.seq.get(session, 0) + 1
        self.give(events.SessionLine(session, self.seq[session], line))

    def play(self, session: int, step: Step) -> None:
        """One step of a session's script."""
        kind, value = step
        name = f"s{session}"
        asked = self.asked.get(name, [])
        if kind == "say":
            self.say(session, value.replace("NAME", name).encode("latin-1"))
        elif kind == "answer" and asked:
            uid = asked.pop(len(value) % len(asked))
            if len(value) % 3:
                self._tell({"id": uid, "result": {"value": value, "by": name}})
            else:
                self._tell({"id": uid, "error": {"code": 1, "message": value, "by": name}})
        elif kind == "progress" and self.tokens.get(name):
            uid = self.tokens[name][len(value) % len(self.tokens[name])]
            self._tell({"method": "notifications/progress", "params": {"progressToken": uid, "progress": value}})
        elif kind == "update":
            self._tell({"method": "notifications/resources/updated", "params": {"uri": f"file:///{name}/{value}"}})


def script(choose: Random, era: str, length: int) -> list[Step]:
    """What a session does, and its server for it."""
    steps: list[Step] = []
    for number in range(length):
        dice = choose.random()
        value = "v" * choose.randrange(10)
        if dice < 0.4:
            meta = [ENVELOPE] if era != "legacy" else []
            if choose.random() < 0.6:
                meta.append(f'"progressToken":{choose.choice(IDS)}')
            params = f'{{"mark":"NAME/{number}","_meta":{{{",".join(meta)}}}}}'
            head = f'{{"jsonrpc":"2.0","id":{choose.choice(IDS)},"method":"{choose.choice(METHODS)}"'
            steps.append(("say", f'{head},"params":{params}}}'))
        elif dice < 0.5 and era == "legacy":
            verb = choose.choice(["subscribe", "unsubscribe"])
            params = f'{{"mark":"NAME/{number}","uri":"file:///NAME/"}}'
            steps.append(
                ("say", f'{{"jsonrpc":"2.0","id":{choose.choice(IDS)},"method":"resources/{verb}","params":{params}}}')
            )
        elif dice < 0.58:
            cancel = f'"method":"notifications/cancelled","params":{{"requestId":{choose.choice(IDS)}}}'
            steps.append(("say", f'{{"jsonrpc":"2.0",{cancel}}}'))
        elif dice < 0.62:
            steps.append(("say", choose.choice(GARBAGE).decode("latin-1")))
        elif dice < 0.85:
            steps.append(("answer", value))
        elif dice < 0.95:
            steps.append(("progress", value))
        else:
            steps.append(("update", value))
    return steps


def alone(steps: list[Step], era: str) -> list[bytes]:
    world = Shared()
    world.join(1, era)
    for step in steps:
        world.play(1, step)
    return world.seen[1]


def accompanied(steps: list[Step], era: str, choose: Random) -> list[bytes]:
    """The same script with hostile companions on the same server, who come and go."""
    world = Shared()
    others = {2: script(choose, era, 60), 3: script(choose, era, 60)}
    if choose.random() < 0.5:
        world.join(2, era)
        world.join(1, era)
    else:
        world.join(1, era)
        world.join(2, era)
    world.join(3, era)
    last = 3
    for step in steps:
        for _ in range(choose.randrange(4)):
            session = choose.choice(list(others))
            if not others[session] or choose.random() < 0.03:
                world.give(events.SessionClosed(session))
                del others[session]
                last += 1
                others[last] = script(choose, era, 30)
                world.join(last, era)
            else:
                world.play(session, others[session].pop(0))
        world.play(1, step)
    return world.seen[1]


def compare(choose: Random, length: int) -> None:
    era = choose.choice(["legacy", "modern", "probed"])
    steps = script(choose, era, length)
    assert accompanied(steps, era, choose) == alone(steps, era)


@pytest.mark.parametrize("seed", range(80))
def test_a_session_sees_the_same_alone_and_among_others(seed: int) -> None:
    compare(Random(seed), 120)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_the_same_in_short_scripts_that_can_be_shrunk(choose: Random, length: int) -> None:
    compare(choose, length)
