"""Two sessions at once of the official Python client, with the official server: both major versions, both eras."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.runtime import Runtime

HERE = Path(__file__).parent
LEGACY = [(client, server, "legacy") for client in "12" for server in "12"]
MODERN = [("2", "2", "modern")]


@pytest.fixture(scope="module")
def conversations() -> dict[tuple[str, str, str], dict[str, Any]]:
    """What was said in each cell, once it was asked for."""
    return {}


@pytest.fixture
def cell(
    request: pytest.FixtureRequest,
    runtime: Runtime,
    legacy_python: str,
    conversations: dict[tuple[str, str, str], dict[str, Any]],
) -> dict[str, Any]:
    """What two sessions said and heard: version of the client, of the server, era."""
    client, server, era = request.param
    if request.param not in conversations:
        python = {"1": [legacy_python], "2": [sys.executable, "-W", "ignore"]}
        command = runtime.shim(*python[server], str(HERE / "servers" / "talk.py"))
        done = subprocess.run(
            [*python[client], str(HERE / "conversation.py"), era, *command],
            env=runtime.environment,
            cwd=runtime.project,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        conversations[request.param] = json.loads(done.stdout)
    return {**conversations[request.param], "client": client, "server": server, "era": era}


def cells(*chosen: tuple[str, str, str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("cell", chosen, indirect=True, ids=["-".join(one) for one in chosen])


@cells(*MODERN, *LEGACY)
def test_both_sessions_share_one_server_in_the_era_they_speak(cell: dict[str, Any]) -> None:
    assert cell["pids"][0] == cell["pids"][1]
    if cell["client"] == "2":
        assert (cell["version"] >= "2026") == (cell["era"] == "modern")


@cells(*MODERN, *LEGACY)
def test_each_session_gets_the_answers_to_its_own_calls(cell: dict[str, Any]) -> None:
    assert cell["echoes"] == [f"{name}{number}" for number in range(20) for name in "ab"]


@cells(*MODERN, *LEGACY)
def test_each_session_gets_its_own_progress_in_order(cell: dict[str, Any]) -> None:
    assert cell["counts"] == ["done", "done"]
    for name, steps, told in zip("ab", (30, 50), cell["progress"], strict=True):
        assert told == [[step + 1, steps, name] for step in range(steps)]


@cells(*MODERN, *LEGACY)
def test_a_cancel_ends_one_call_and_not_its_like(cell: dict[str, Any]) -> None:
    assert cell["cancel"] == {"cancelled": 1, "other": ["went on"], "after": "on"}


@cells(*MODERN, *LEGACY)
def test_a_log_message_reaches_who_caused_it_as_far_as_its_level_lets_it(cell: dict[str, Any]) -> None:
    if cell["era"] == "modern":  # both opted in to info
        expected = [[[level, f"{name} {level}"] for level in ("info", "error")] for name in "ab"]
    else:
        assert cell["log"]["level"] == "debug"
        expected = [[[level, f"a {level}"] for level in ("debug", "info", "error")], [["error", "b error"]]]
    assert cell["log"]["heard"] == expected


@cells(*LEGACY)
def test_a_question_reaches_the_one_session_that_is_at_work(cell: dict[str, Any]) -> None:
    alone = dict(cell["alone"])
    assert json.loads(alone.pop("roots")) == ["file:///b", "file:///shared"]
    assert alone == {"sample": "b: ?", "elicit": "b: ?"}
    assert cell["asked"][1][:3] == ["sampling", "elicitation", "roots"]


@cells(*LEGACY)
def test_with_two_sessions_at_work_a_question_is_refused_and_then_they_take_turns(cell: dict[str, Any]) -> None:
    together = cell["together"]
    assert "Several clients share this server" in together["refused"]
    assert together["turns"] == [f"{name}: {number}" for number in range(3) for name in "ab"]
    assert cell["asked"][0] == ["elicitation"] * 3


@cells(*LEGACY)
def test_an_update_reaches_the_sessions_that_subscribed(cell: dict[str, Any]) -> None:
    assert cell["subscriptions"]["seen"] == [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
    assert cell["subscriptions"]["at_server"] == ["note://one"]
    assert cell["subscriptions"]["at_end"] == []


@cells(*LEGACY)
def test_a_changed_list_is_told_to_both_once(cell: dict[str, Any]) -> None:
    assert cell["changes"] == [1, 1]


@cells(("1", "1", "legacy"))
def test_a_task_is_its_owners_alone(cell: dict[str, Any]) -> None:
    """Only version 1 has tasks."""
    assert cell["tasks"] == {"result": "later", "foreign": ["Task not found"] * 2, "a": True, "b": True}


@cells(*MODERN)
def test_each_listen_hears_changes_until_it_ends_and_log_messages_still_have_an_owner(cell: dict[str, Any]) -> None:
    assert cell["listens"] == {
        "heard": ["ToolsListChanged", "ToolsListChanged"],
        "log": [["info", "while both listen"]],
        "after": "ToolsListChanged",
    }


@cells(*MODERN)
def test_an_input_required_answer_is_answered_by_the_session_that_called(cell: dict[str, Any]) -> None:
    assert cell["alone"]["elicit"] == "b: ?"
    assert cell["asked"] == [[], ["elicitation"]]
