"""The main job: many sessions, one server, and nothing afterwards."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.processes import describe
from tests.support.runtime import SCRIPTED, SDK, Runtime
from tests.support.session import Session

ROUNDS = int(os.environ.get("MUX_TEST_ROUNDS") or 2)
SESSIONS = 26

CASES = {
    "context-mode": (["context-mode"], "context-mode", "ctx_stats", {}),
    "server-everything": (["mcp-server-everything", "stdio"], "mcp-server-everything", "echo", {"message": "hi"}),
    "sdk-2": ([sys.executable, SDK], "sdk.py", "echo", {"text": "hi"}),
    "sdk-1": (["legacy", SDK], "sdk.py", "echo", {"text": "hi"}),
}


def shake_hands(sessions: list[Session]) -> None:
    """All at once."""
    with ThreadPoolExecutor(len(sessions)) as threads:
        list(threads.map(Session.initialize, sessions))


def leave(runtime: Runtime, sessions: list[Session]) -> None:
    """All at once; then, with no help, nothing may be left."""
    for session in sessions:
        session.end_input()
    for session in sessions:
        assert session.finish() == 0
        assert session.stderr == ""
    runtime.expect_empty()


@pytest.mark.parametrize("case", CASES)
def test_26_sessions_share_one_process_and_leave_nothing(
    runtime: Runtime, request: pytest.FixtureRequest, case: str
) -> None:
    command, name, tool, arguments = CASES[case]
    environment: dict[str, str] = {}
    if not case.startswith("sdk"):
        environment = request.getfixturevalue("node_tools").environment
    if command[0] == "legacy":
        command = [request.getfixturevalue("legacy_python"), *command[1:]]
    sessions = [runtime.session(*command, environment=environment) for _ in range(SESSIONS)]
    shake_hands(sessions)
    lists: list[Any] = [session.request("tools/list") for session in sessions]
    assert all(listed == lists[0] for listed in lists)
    assert tool in [found["name"] for found in lists[0]["tools"]]
    calls = [session.begin_call(tool, **arguments) for session in sessions]
    assert all(session.text(call) for session, call in zip(sessions, calls, strict=True))
    servers = runtime.servers(name)
    assert len(servers) == 1, describe(servers)
    assert servers[0].parent() == runtime.backend()
    leave(runtime, sessions)


@pytest.mark.rounds
@pytest.mark.timeout(60 + 30 * ROUNDS)
def test_100_cold_starts_at_once_make_one_backend_and_one_server(runtime: Runtime) -> None:
    lives = runtime.directory / "lives"
    for number in range(ROUNDS):
        sessions = [runtime.session(*SCRIPTED, "--lives", str(lives)) for _ in range(100)]
        shake_hands(sessions)
        assert len({session.pid() for session in sessions}) == 1
        assert len(runtime.backends()) == 1
        leave(runtime, sessions)
        assert len((lives / "lives").read_text(encoding="utf-8").splitlines()) == number + 1
    assert not (lives / "overlaps").exists()
