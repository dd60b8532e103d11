"""A server or its backend is replaced: what sessions had set is in force again, and what may be new is said once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.park.support import SOON, expect_sleep
from tests.protocol.test_eras import ERAS, call, changes, enveloped, listen
from tests.support.processes import eventually, running
from tests.support.runtime import SCRIPTED, Runtime
from tests.support.session import Session

SHARED, OWN = "file:///shared", "file:///own"


def kill_server(runtime: Runtime) -> None:
    for server in runtime.servers(".py"):
        server.kill()


def kill_backend(runtime: Runtime) -> None:
    runtime.backend().kill()


def restart_server(runtime: Runtime) -> None:
    for upstream in runtime.status()["upstreams"]:
        assert runtime.mux("restart", str(upstream["id"]), "--socket", str(runtime.socket)).returncode == 0


def restart_backend(runtime: Runtime) -> None:
    assert runtime.mux("restart", "--socket", str(runtime.socket)).returncode == 0


END = pytest.mark.parametrize("end", [kill_server, kill_backend, restart_server, restart_backend])
AWAKE = pytest.mark.parametrize("options", [("--park-after", "0"), SOON], ids=["awake", "asleep"])


def replaced(
    runtime: Runtime, end: Callable[[Runtime], None], sessions: list[Session], options: Any = (), params: Any = None
) -> None:
    """The server's life ends, and each session has an answer of the next. They sleep before, if they ever do."""
    before = runtime.servers(".py")
    for session in sessions if options is SOON else ():
        expect_sleep(session)
    end(runtime)
    eventually("the server is dead", lambda: not any(running(process.pid) for process in before))
    for session in sessions:
        session.request("tools/list", params)


def said(session: Session) -> list[Any]:
    """What the host was told unasked; fails if it was told anything else than its answers, each once.

    It numbers its requests from 0.
    """
    answers = session.answers()
    assert {key: len(found) for key, found in answers.items()} == {str(number): 1 for number in range(len(answers))}
    assert len(session.lines) == len(answers) + len(session.notifications)
    return [(one["method"].removeprefix("notifications/"), one.get("params")) for one in session.notifications]


# --- what may have changed ----------------------------------------------------------------------


@END
@AWAKE
def test_each_session_hears_once_of_each_list_whose_changes_its_server_announces(
    runtime: Runtime, end: Callable[[Runtime], None], options: Any
) -> None:
    kinds: list[list[str]] = [["tools", "resources"], ["tools", "resources"], []]
    sessions = [runtime.ready(*SCRIPTED, "--announces", *announced, options=options) for announced in kinds]
    assert sessions[0].pid() == sessions[1].pid() != sessions[2].pid()
    replaced(runtime, end, sessions, options)
    for session, announced in zip(sessions, kinds, strict=True):
        assert session.call("echo", text="on") == "on"
        assert said(session) == [(f"{kind}/list_changed", None) for kind in announced]


def test_an_idle_server_comes_back_unseen(runtime: Runtime) -> None:
    session = runtime.ready(options=["--idle-timeout", "0.1"])
    before = session.pid()
    eventually("it is stopped", lambda: not runtime.servers("scripted.py"))
    assert session.pid() != before
    assert said(session) == []


@AWAKE
def test_a_server_that_says_something_else_of_itself_than_before_is_logged_once(runtime: Runtime, options: Any) -> None:
    """Its name is that of the life that the shell counts; the first backend knows both, the next what shims kept."""
    count = 'echo x >>"$0"; exec "$@" --name "$(wc -l <"$0")"'
    command = ("sh", "-c", count, str(runtime.directory / "lives"), *SCRIPTED)
    sessions = [runtime.ready(*command, options=options) for _ in range(2)]
    log = runtime.directory / "s.log"
    for found, end in enumerate((kill_server, kill_backend), 1):
        replaced(runtime, end, sessions, options)
        assert log.read_text(encoding="utf-8").count(" upstream.differs ") == found


# --- what was set -------------------------------------------------------------------------------


@AWAKE
def test_subscriptions_and_levels_are_in_force_again_and_the_host_sees_nothing_of_it(
    runtime: Runtime, options: Any
) -> None:
    first, second, other = sessions = [runtime.ready(*SCRIPTED, "--announces", options=options) for _ in range(3)]
    for session, uri, level in ((first, SHARED, "debug"), (second, SHARED, "error")):
        session.request("resources/subscribe", {"uri": uri})
        session.request("logging/setLevel", {"level": level})
    first.request("resources/subscribe", {"uri": OWN})
    updates = [("resources/updated", {"uri": uri}) for uri in (SHARED, OWN)]
    heard = {first: [*updates, log("debug")], second: [updates[0], log("error")], other: [log("info")]}
    for lives, end in enumerate((None, kill_server, kill_backend), 1):
        if end:
            before = other.pid()
            replaced(runtime, end, sessions, options)
            assert other.pid() != before
        for uri in (SHARED, OWN):
            assert other.call("update", uri=uri) == "sent"
        for session, level in ((first, "debug"), (second, "info"), (second, "error"), (other, "info")):
            assert session.call("log", level=level) == "debug", "the most verbose level that any of them has set"
        for session in sessions:
            session.request("ping")
            assert said(session) == heard[session] * lives


@END
def test_a_listen_goes_on_and_hears_once_of_the_list_that_may_have_changed(
    runtime: Runtime, end: Callable[[Runtime], None]
) -> None:
    numbers = ("one", 7)
    sessions = [runtime.session(*ERAS, "modern") for _ in numbers]
    for session, number in zip(sessions, numbers, strict=True):
        listen(session, number)
    replaced(runtime, end, sessions, params=enveloped())
    for times in (1, 2):
        for session, number in zip(sessions, numbers, strict=True):
            session.request("tools/list", enveloped())
            assert changes(session) == [number] * times
            assert len(session.notifications) == 1 + times, "the acknowledgement, and no other"
        sessions[0].request("tools/call", call("change"))


def log(level: str) -> Any:
    return ("message", {"level": level, "data": "said"})
