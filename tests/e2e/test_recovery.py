"""Backend or server dies under load: every request is answered once, nothing runs twice, every session goes on."""

from __future__ import annotations

import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import eventually, running
from tests.support.runtime import SCRIPTED, Runtime
from tests.support.session import Session

UPSTREAM_UNAVAILABLE, OUTCOME_UNKNOWN = -31001, -31002
SESSIONS, REQUESTS, WINDOW = 8, 300, 16
SAFE = "tools/list"


class Load:
    """One session that keeps WINDOW requests open: lists, which may be repeated, and calls, which may not."""

    def __init__(self, session: Session, name: int, effects: Path) -> None:
        self.session = session
        self.effects = effects
        self.name = name
        self.kinds: dict[Any, str] = {}

    def run(self, milestone: threading.Barrier) -> None:
        open_requests: list[Any] = []
        for number in range(REQUESTS):
            if number == REQUESTS // 3:
                milestone.wait(60)
            if len(open_requests) == WINDOW:
                self.session.response(open_requests.pop(0))
            open_requests.append(self.begin(number))
        for request in open_requests:
            self.session.response(request)

    def begin(self, number: int) -> Any:
        if number % 3 == 0:
            request = self.session.begin(SAFE)
            self.kinds[request] = SAFE
        elif number % 3 == 1:
            request = self.session.begin_call("effect", file=str(self.effects), mark=f"{self.name}-{number}")
            self.kinds[request] = "effect"
        else:
            request = self.session.begin_call("echo", text=f"{self.name}-{number}")
            self.kinds[request] = f"{self.name}-{number}"
        return request

    def check(self) -> None:
        """Each answered once, by its own answer or by an error that says the outcome is unknown; no line is torn."""
        answers = self.session.answers()
        for request, kind in self.kinds.items():
            found = answers[json.dumps(request)]
            assert len(found) == 1, (kind, found)
            if "error" in found[0]:
                assert kind != SAFE, found
                assert found[0]["error"]["code"] in {UPSTREAM_UNAVAILABLE, OUTCOME_UNKNOWN}, found
                assert found[0]["error"]["data"]["mux"]["executionState"] in {"not_started", "unknown"}
            elif kind not in {SAFE, "effect"}:
                assert found[0]["result"]["content"][0]["text"] == kind
        for line in self.session.lines:
            assert isinstance(json.loads(line), dict)


@pytest.mark.parametrize("victim", ["backend", "server"])
def test_after_a_sigkill_every_request_is_answered_once_and_sessions_go_on(runtime: Runtime, victim: str) -> None:
    runtime.grace = 5.0
    lives, effects = runtime.directory / "lives", runtime.directory / "effects"
    effects.touch()
    sessions = [runtime.ready(*SCRIPTED, "--lives", str(lives)) for _ in range(SESSIONS)]
    loads = [Load(session, number, effects) for number, session in enumerate(sessions)]
    under_way = threading.Barrier(SESSIONS + 1)
    with ThreadPoolExecutor(SESSIONS) as threads:
        work = [threads.submit(load.run, under_way) for load in loads]
        under_way.wait(60)
        for process in [runtime.backend()] if victim == "backend" else runtime.servers("scripted.py"):
            process.kill()
        for done in work:
            done.result()
    for load in loads:
        load.check()
    marks = effects.read_text(encoding="utf-8").split()
    assert len(marks) == len(set(marks)), "a call was executed twice"
    assert len({session.pid() for session in sessions}) == 1
    assert len(runtime.backends()) == 1
    assert not (lives / "overlaps").exists()
    assert all(session.stderr == "" for session in sessions)


def test_a_call_that_runs_when_the_backend_dies_is_answered_outcome_unknown_and_not_run_again(runtime: Runtime) -> None:
    effects = runtime.directory / "effects"
    session = runtime.ready()
    call = session.begin_call("effect", file=str(effects), mark="once", seconds=60)
    eventually("the call runs", effects.exists)
    runtime.backend().kill()
    error = session.response(call)["error"]
    assert error["code"] == OUTCOME_UNKNOWN
    assert error["data"]["mux"]["safeToRetry"] is False
    session.request(SAFE)
    assert session.call("echo", text="on") == "on"
    assert effects.read_text(encoding="utf-8") == "once\n"


def test_the_servers_of_a_killed_backend_die_with_it(runtime: Runtime) -> None:
    session = runtime.ready(*SCRIPTED, "--ignore-eof", "--ignore-sigterm")
    pid = session.pid()
    session.child.send_signal(signal.SIGSTOP)  # or it would start a backend that ends what the last one left
    runtime.backend().kill()
    eventually("the server is dead", lambda: not running(pid))
    session.child.send_signal(signal.SIGCONT)
    session.request(SAFE)


@pytest.mark.parametrize("detached", [False, True])
def test_grandchildren_of_a_killed_backends_server_end_when_the_sessions_recover(
    runtime: Runtime, detached: bool
) -> None:
    session = runtime.ready()
    grandchild = int(session.call("spawn", detached=detached))
    runtime.backend().kill()
    session.request(SAFE)
    eventually("the grandchild is dead", lambda: not running(grandchild))


def test_a_quiet_session_survives_many_backends(runtime: Runtime) -> None:
    session = runtime.ready()
    for _ in range(2):  # a third death within a minute is a crash loop
        backend = runtime.backend()
        backend.kill()
        assert session.request(SAFE)["tools"]
        assert session.call("echo", text="on") == "on"
        assert runtime.backend() != backend
    seen = json.loads(session.call("seen"))
    assert (seen["initialize"], seen["notifications/initialized"]) == (1, 1)


@pytest.mark.parametrize("how", ["crash", "exit", "close_stdout"])
def test_a_server_that_ends_in_a_call_costs_that_call_only(runtime: Runtime, how: str) -> None:
    first, second = runtime.ready(), runtime.ready()
    before = second.pid()
    arguments = {"code": 3, "stderr": ["out of luck"]} if how == "exit" else {}
    error = first.response(first.begin_call(how, **arguments))["error"]
    assert error["code"] == OUTCOME_UNKNOWN
    assert second.call("echo", text="on") == "on"
    assert second.pid() != before
