"""`mux status` tells what is shared, and starts nothing."""

from __future__ import annotations

from tests.support.processes import eventually
from tests.support.runtime import SCRIPTED, Runtime


def test_status_shows_backend_servers_and_sessions(runtime: Runtime) -> None:
    sessions = [runtime.ready() for _ in range(3)]
    call = sessions[0].begin_call("sleep", seconds=2)
    state = eventually("a call is in flight", lambda: (s := runtime.status()) and s["upstreams"][0]["in_flight"] and s)
    assert state["backend"]["pid"] == runtime.backend().pid
    assert state["backend"]["socket"] == str(runtime.socket)
    assert len(state["upstreams"]) == 1
    upstream = state["upstreams"][0]
    assert upstream["pid"] == sessions[1].pid()
    assert SCRIPTED[-1] in upstream["command"]
    assert upstream["cwd"] == str(runtime.project)
    assert upstream["sessions"] == 3
    assert upstream["in_flight"] == 1
    assert upstream["memory"]["rss"] > 0
    assert {session["pid"] for session in state["sessions"]} == {session.child.pid for session in sessions}
    assert {session["upstream"] for session in state["sessions"]} == {upstream["id"]}
    sessions[0].text(call)


def test_status_for_people_names_the_server_and_no_secret(runtime: Runtime) -> None:
    runtime.ready(environment={"API_TOKEN": "s3cr3t-value"})
    shown = runtime.mux("status", "--socket", str(runtime.socket))
    assert shown.returncode == 0
    assert "scripted.py" in shown.stdout
    assert "s3cr3t-value" not in shown.stdout + str(runtime.status())


def test_status_starts_no_backend(runtime: Runtime) -> None:
    assert runtime.status()["backend"] is None
    assert runtime.backends() == []
    assert not runtime.socket.exists()
