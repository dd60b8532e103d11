"""Who shares a server with whom, and that sharing shows to nobody."""

from __future__ import annotations

import json

import pytest

from tests.support.processes import eventually
from tests.support.runtime import SCRIPTED, Runtime


def test_two_sessions_of_one_directory_share_one_process(runtime: Runtime) -> None:
    first, second = runtime.ready(), runtime.ready()
    assert first.pid() == second.pid()
    assert len(runtime.servers("scripted.py")) == 1


def test_initialize_and_initialized_go_up_once(runtime: Runtime) -> None:
    sessions = [runtime.ready() for _ in range(5)]
    seen = json.loads(sessions[-1].call("seen"))
    assert (seen["initialize"], seen["notifications/initialized"]) == (1, 1)


@pytest.mark.parametrize("names", ["its own", "another", "none"])
def test_sessions_of_two_directories_do_not_share_whatever_pwd_says(runtime: Runtime, names: str) -> None:
    other = runtime.directory / "other"
    other.mkdir()
    pwd = {"its own": str(other), "another": str(runtime.project), "none": None}[names]
    first = runtime.ready(environment={"PWD": None} if names == "none" else {})
    second = runtime.ready(cwd=other, environment={"PWD": pwd})
    assert first.pid() != second.pid()
    assert second.call("cwd") == str(other)


@pytest.mark.parametrize("theirs", ["another", "", None])
def test_sessions_with_different_tokens_do_not_share(runtime: Runtime, theirs: str | None) -> None:
    first = runtime.ready(environment={"API_TOKEN": "one"})
    second = runtime.ready(environment={} if theirs is None else {"API_TOKEN": theirs})
    assert first.pid() != second.pid()
    assert first.call("environment", name="API_TOKEN") == "one"
    assert second.call("environment", name="API_TOKEN") == ("null" if theirs is None else theirs)


@pytest.mark.parametrize("name", ["OPENCODE_PID", "CLAUDE_CODE_SESSION_ID", "SHLVL", "TERM_SESSION_ID"])
def test_noise_of_a_terminal_or_session_does_not_split(runtime: Runtime, name: str) -> None:
    first, second = runtime.ready(environment={name: "1"}), runtime.ready(environment={name: "2"})
    assert first.pid() == second.pid()
    assert first.call("environment", name=name) == "null"


def test_options_of_the_multiplexer_do_not_reach_the_server(runtime: Runtime) -> None:
    first, second = runtime.ready(environment={"MUX_GRACE": "1s"}), runtime.ready()
    assert first.pid() == second.pid()
    assert first.call("environment", name="MUX_GRACE") == "null"


def test_two_kinds_of_host_get_a_server_each(runtime: Runtime) -> None:
    first, second = runtime.session(), runtime.session()
    assert (
        first.initialize(version="2025-06-18", client={"name": "a", "version": "1"})["protocolVersion"] == "2025-06-18"
    )
    assert (
        second.initialize(version="2025-11-25", client={"name": "b", "version": "1"})["protocolVersion"] == "2025-11-25"
    )
    assert first.pid() != second.pid()


def test_a_session_that_asks_for_a_server_of_its_own_gets_it(runtime: Runtime) -> None:
    assert runtime.ready().pid() != runtime.ready(options=["--scope", "session"]).pid()


def test_equal_ids_and_progress_tokens_of_two_sessions_do_not_cross(runtime: Runtime) -> None:
    first, second = runtime.ready(), runtime.ready()
    for _ in range(50):
        mine, theirs = first.begin_call("progress", 0, steps=3), second.begin_call("progress", 0, steps=2)
        assert mine == theirs
        first.text(mine)
        second.text(theirs)
        first.text(first.begin_call("echo", text="first"))
        assert second.call("echo", text="second") == "second"
    for session, steps in ((first, 3), (second, 2)):
        totals = {message["params"]["total"] for message in session.notifications}
        assert totals == {steps}
        assert len(session.notifications) == 50 * steps
        assert all(len(found) == 1 for found in session.answers().values())


def test_a_leaving_sessions_calls_are_cancelled_and_nobody_elses(runtime: Runtime) -> None:
    first, second = runtime.ready(), runtime.ready()
    mine = second.begin_call("sleep", seconds=1)
    first.begin_call("sleep", seconds=30)
    first.call("echo", text="the call before has gone up")
    first.kill_group()
    eventually("the server was told", lambda: second.call("cancelled") == "1")
    assert second.text(mine) == "slept"


def test_a_cancel_cancels_only_the_own_request(runtime: Runtime) -> None:
    first, second = runtime.ready(), runtime.ready()
    mine, theirs = first.begin_call("sleep", seconds=1), second.begin_call("sleep", seconds=1)
    first.notify("notifications/cancelled", {"requestId": mine})
    first.notify("notifications/cancelled", {"requestId": "never used"})
    eventually("the cancel went up", lambda: first.call("cancelled") == "1")
    assert second.text(theirs) == "slept"


def test_sessions_that_come_during_the_grace_find_the_same_server(runtime: Runtime) -> None:
    runtime.grace = 20.0
    first = runtime.ready()
    pid = first.pid()
    first.finish()
    assert runtime.ready().pid() == pid


def test_no_two_servers_of_a_key_live_at_once_while_sessions_come_and_go(runtime: Runtime) -> None:
    runtime.grace = 0.0
    lives = runtime.directory / "lives"
    for _ in range(15):
        with runtime.ready(*SCRIPTED, "--lives", str(lives)) as session:
            session.pid()
    runtime.expect_empty()
    assert not (lives / "overlaps").exists()
