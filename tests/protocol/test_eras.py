"""Servers of each era behind hosts of each: the modern protocol, and hosts that try one era, then the other."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.servers.eras import LOG_LEVEL, SUBSCRIPTION, VERSION
from tests.support.processes import eventually
from tests.support.runtime import Runtime
from tests.support.session import Failed, Json, Session

ERAS = [sys.executable, str(Path(__file__).parent / "servers" / "eras.py")]
HOSTS = json.loads((Path(__file__).parents[1] / "hosts" / "first_messages.json").read_text(encoding="utf-8"))
HYBRIDS = [host for host, said in HOSTS.items() if any('"server/discover"' in line for line in said["first_lines"])]
PROBE = "server-discover-probe-1"

ENVELOPE: Json = {
    VERSION: "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def enveloped(params: Json | None = None, **meta: Any) -> Json:
    return {**(params or {}), "_meta": {**ENVELOPE, **meta}}


def call(tool: str, meta: Mapping[str, Any] | None = None, **arguments: Any) -> Json:
    return enveloped({"name": tool, "arguments": arguments}, **(meta or {}))


def said(session: Session, tool: str, **arguments: Any) -> Any:
    """What a modern session is told by one of the server's tools."""
    return json.loads(session.text(session.begin("tools/call", call(tool, **arguments))))


def listen(session: Session, number: Any) -> None:
    """Open a listen and wait for its acknowledgement."""
    params = enveloped({"notifications": {"toolsListChanged": True}})
    session.begin("subscriptions/listen", params, number=number)

    def acknowledged() -> bool:
        return any(
            said["method"].endswith("/acknowledged") and said["params"]["_meta"][SUBSCRIPTION] == number
            for said in session.notifications
        )

    eventually(f"the listen {number!r} is acknowledged", acknowledged)


def changes(session: Session) -> list[Any]:
    """The subscription ids under which the session heard of changed tools, in order."""
    found = [said for said in session.notifications if said["method"] == "notifications/tools/list_changed"]
    return [said["params"]["_meta"][SUBSCRIPTION] for said in found]


# --- hosts that try one era, then the other -----------------------------------------------------------------------


@pytest.mark.parametrize("server", ["modern", "dual", "legacy"])
@pytest.mark.parametrize("host", HYBRIDS)
def test_the_recorded_lines_of_a_hybrid_host_are_answered_as_the_server_itself_does(
    runtime: Runtime, host: str, server: str
) -> None:
    """Whatever the host goes on with fits the answer to its probe, or is refused by both in the same way."""
    answers = [replay(runtime, host, server, mode) for mode in ("direct", "shim")]
    assert answers[0] == answers[1]


def replay(runtime: Runtime, host: str, server: str, mode: str) -> list[Any]:
    session = runtime.session(*ERAS, server, mode=mode)
    found: list[Any] = []
    pinned_modern = False
    for line in HOSTS[host]["first_lines"]:
        message = json.loads(line)
        number = message.get("id")
        if message.get("method") == "initialize" and pinned_modern:
            break  # a host whose probe was answered goes on without it: what follows belongs to the other era
        session.write(line.encode() + b"\n")
        if message.get("method") == "subscriptions/listen":
            if pinned_modern:
                eventually("the listen is acknowledged", lambda number=number: heard(session, number))  # type: ignore[misc]
            else:
                found.append(session.response(number))
        elif number is not None and "method" in message:
            answer = session.response(number)
            if message["method"] == "server/discover":
                pinned_modern = "result" in answer
            if message.get("params", {}).get("name") == "pid":
                answer = {"id": number, "pid": "result" in answer}
            found.append(answer)
    assert session.finish() == 0
    assert session.stderr == ""
    return found


def heard(session: Session, number: Any) -> bool:
    return any(message["params"].get("_meta", {}).get(SUBSCRIPTION) == number for message in session.notifications)


@pytest.mark.parametrize("how", ["--silent", "--exits"])
def test_a_hybrid_host_gets_a_legacy_server_that_does_not_answer_its_probe(runtime: Runtime, how: str) -> None:
    hosts = [runtime.session(*ERAS, "legacy", how) for _ in range(2)]
    for session in hosts:
        session.begin("server/discover", enveloped(), number=PROBE)
    for session in hosts:
        assert session.initialize()["serverInfo"]["name"] == "eras"
    for session in hosts:
        assert "error" in session.response(PROBE)
        assert session.call("echo", text="hi") == "hi"
    assert hosts[0].pid() == hosts[1].pid()
    late = runtime.session(*ERAS, "legacy", how)
    late.begin("server/discover", enveloped(), number=PROBE)
    assert late.response(PROBE)["error"]["code"] == -32601
    late.initialize()
    assert late.pid() == hosts[0].pid()


def test_an_initialize_after_a_discover_that_a_dual_server_answered_gets_the_legacy_lane(runtime: Runtime) -> None:
    session = runtime.session(*ERAS, "dual")
    session.begin("server/discover", enveloped(), number=PROBE)
    assert "result" in session.response(PROBE)
    assert session.initialize()["serverInfo"]["name"] == "eras"
    assert json.loads(session.call("opened"))[0] == "initialize"


def test_sessions_of_both_eras_use_a_dual_server_at_once(runtime: Runtime) -> None:
    modern, legacy = runtime.session(*ERAS, "dual"), runtime.session(*ERAS, "dual")
    modern.begin("server/discover", enveloped(), number=PROBE)
    legacy.initialize()
    assert "result" in modern.response(PROBE)
    assert said(modern, "pid") != int(legacy.call("pid"))
    assert "initialize" not in said(modern, "opened")
    assert "server/discover" not in json.loads(legacy.call("opened"))


# --- modern -------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(runtime: Runtime) -> tuple[Session, Session]:
    """Two modern sessions on one server."""
    first, second = runtime.session(*ERAS, "modern"), runtime.session(*ERAS, "modern")
    assert said(first, "pid") == said(second, "pid")
    return first, second


@pytest.mark.parametrize("number", ["listen:0", 0, "0", 7])
def test_a_listen_hears_under_its_own_id_whatever_its_type_beside_an_equal_one(
    pair: tuple[Session, Session], number: Any
) -> None:
    first, second = pair
    first.begin("tools/call", call("echo", text="takes the number 0"), number="unused")
    for session in pair:
        listen(session, number)
    said(first, "change")
    for session in pair:
        eventually("both heard", lambda session=session: changes(session) == [number])  # type: ignore[misc]
    first.notify("notifications/cancelled", {"requestId": number})
    eventually("one listen is left", lambda: said(second, "listens") == 1)
    said(first, "change")
    eventually("the other heard again", lambda: changes(second) == [number, number])
    assert changes(first) == [number]


def test_the_end_of_a_listen_names_it_as_its_session_does(pair: tuple[Session, Session]) -> None:
    for session, number in zip(pair, (3, "3"), strict=True):
        listen(session, number)
    said(pair[0], "end")
    for session, number in zip(pair, (3, "3"), strict=True):
        assert session.result(number)["_meta"][SUBSCRIPTION] == number


def test_listens_of_a_session_that_is_gone_end(pair: tuple[Session, Session]) -> None:
    first, second = pair
    listen(first, 1)
    listen(second, 1)
    first.close()
    eventually("one listen is left", lambda: said(second, "listens") == 1)
    said(second, "change")
    eventually("the other heard", lambda: changes(second) == [1])


def test_an_input_required_answer_is_retried_with_the_state_and_input_of_each_session(
    pair: tuple[Session, Session],
) -> None:
    states = []
    for session, who in zip(pair, "ab", strict=True):
        session.begin("tools/call", call("ask", who=who), number=1)
        asked = session.result(1)
        assert asked["resultType"] == "input_required"
        assert asked["inputRequests"]["q"]["params"]["message"] == who
        states.append(asked["requestState"])
    for session, who, state in zip(pair, "ab", states, strict=True):
        given = {"q": {"action": "accept", "content": {"name": f"{who} himself"}}}
        params = {**call("ask", who=who), "requestState": state, "inputResponses": given}
        session.begin("tools/call", params, number=2)
    assert [session.text(2) for session in pair] == ["a himself", "b himself"]


def test_progress_and_cancels_of_modern_sessions_with_equal_ids_do_not_cross(pair: tuple[Session, Session]) -> None:
    for session, steps in zip(pair, (3, 5), strict=True):
        session.begin("tools/call", call("hang"), number=9)
        session.begin("tools/call", call("progress", {"progressToken": 0}, steps=steps), number=10)
    for session, steps in zip(pair, (3, 5), strict=True):
        session.result(10)
        told = [said["params"] for said in session.notifications if said["method"] == "notifications/progress"]
        assert told == [{"progressToken": 0, "progress": step + 1} for step in range(steps)]
    pair[0].notify("notifications/cancelled", {"requestId": 9})
    eventually("one cancel came", lambda: said(pair[0], "cancelled") == 1)
    pair[1].notify("notifications/cancelled", {"requestId": 8})
    assert said(pair[1], "cancelled") == 1


def test_a_log_message_goes_to_the_one_session_whose_request_asked_for_it(pair: tuple[Session, Session]) -> None:
    first, second = pair
    second.begin("tools/call", call("hang"), number=9)
    first.result(first.begin("tools/call", call("log", {LOG_LEVEL: "info"}, mine=True)))
    assert first.wait_notification("notifications/message")["params"]["data"] == {"mine": True}
    said(second, "pid")
    assert second.notifications == []


def test_a_modern_server_refuses_a_bare_initialize_as_it_does_directly(runtime: Runtime, mode: str) -> None:
    session = runtime.session(*ERAS, "modern", mode=mode)
    with pytest.raises(Failed) as refused:
        session.initialize()
    assert refused.value.error["code"] == -32022
    assert refused.value.error["data"]["supported"] == ["2026-07-28"]


@pytest.mark.parametrize(("declares", "processes"), [("", 1), ("session", 2), ("user", 1)])
def test_a_modern_server_declares_how_widely_it_may_be_shared(runtime: Runtime, declares: str, processes: int) -> None:
    found = []
    for _ in range(2):
        session = runtime.session(*ERAS, "modern", "--declare", declares)
        assert session.request("server/discover", enveloped())["supportedVersions"] == ["2026-07-28"]
        found.append(said(session, "pid"))
    assert len(set(found)) == processes
