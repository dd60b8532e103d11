"""`mux status` without a backend, and its screen."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from mux.cli.fleet import Fleet
from mux.cli.main import main
from mux.cli.private import PrivateBackend
from mux.cli.status import screen
from mux.cli.text import Progress

STATE = {
    "backend": {
        "version": "0.1.0",
        "pid": 100,
        "uptime_seconds": 75.0,
        "memory": {"rss": 30_000_000, "pss": 20_000_000, "private": 17_600_000},
        "socket": "/run/user/1000/mux/mux-1.sock",
    },
    "upstreams": [
        {
            "id": 1,
            "pid": 101,
            "command": ["npx", "-y", "a b"],
            "cwd": "/home/me/project",
            "sessions": 2,
            "in_flight": 3,
            "uptime_seconds": 70,
            "memory": {"rss": 80_000_000, "pss": 75_000_000, "private": 61_000_000},
            "state": "ready",
            "generation": 1,
        }
    ],
    "sessions": [
        {
            "id": "s1",
            "pid": 200,
            "host": "opencode",
            "version": "1.18",
            "cwd": "/home/me/project",
            "in_flight": 3,
            "since_seconds": 5,
            "upstream": 1,
        },
    ],
}


def test_the_screen_says_what_runs_and_what_it_costs() -> None:
    said = screen(STATE)
    for word in (
        "pid 100",
        "1m15s",
        "17.6 MB",
        "mux-1.sock",
        "npx -y 'a b'",
        "61.0 MB",
        "ready",
        "opencode 1.18",
        "200",
    ):
        assert word in said


@pytest.mark.parametrize("state", [{}, {"backend": None}, {"upstreams": [{}], "sessions": [{}]}, {"upstreams": 5}])
def test_what_a_backend_does_not_send_is_no_error(state: dict[str, object]) -> None:
    assert "backend" in screen(state)


def test_a_host_cannot_write_to_the_terminal() -> None:
    session = {"host": "\x1b[2J", "cwd": "/a\nb"}
    upstream = {"command": ["\x1b]0;x\x07"], "cwd": "/"}
    assert "\x1b" not in screen({"sessions": [session], "upstreams": [upstream]})
    assert "/a?b" in screen({"sessions": [session], "upstreams": [upstream]})


def test_no_backend_is_a_sentence_and_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o700)
    assert main(["status", "--socket", f"{tmp_path}/x.sock"]) == 0
    assert capsys.readouterr().out.startswith(f"No backend is running at {tmp_path}/x.sock.")
    assert list(tmp_path.iterdir()) == []


def test_no_backend_is_null_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o700)
    assert main(["status", "--json", "--socket", f"{tmp_path}/x.sock"]) == 0
    assert json.loads(capsys.readouterr().out) == {"backend": None, "upstreams": [], "sessions": []}


def test_a_directory_that_is_open_to_others_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o755)
    assert main(["status", "--socket", f"{tmp_path}/x.sock"]) == 1
    assert "open to others" in capsys.readouterr().err


def test_live_sessions_are_shown_with_the_server_that_they_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    argv = [sys.executable, "-m", "mux.cli.demo_server"]
    with (
        PrivateBackend() as backend,
        Fleet("Test", [*backend.shim, *argv], [str(one), str(two)], Progress(io.StringIO())) as fleet,
    ):
        fleet.start(3)
        main_process, servers = backend.processes()
        shims = {client.pid for client in fleet.clients}
        assert main(["status", "--json", "--socket", backend.socket]) == 0
        state = json.loads(capsys.readouterr().out)
        assert main(["status", "--socket", backend.socket]) == 0
        said = capsys.readouterr().out
    assert state["backend"]["pid"] == main_process.pid
    assert state["backend"]["socket"] == backend.socket
    assert {upstream["pid"] for upstream in state["upstreams"]} == {server.pid for server in servers}
    assert {(upstream["cwd"], upstream["sessions"]) for upstream in state["upstreams"]} == {
        (str(one), 1),
        (str(two), 2),
    }
    assert {session["pid"] for session in state["sessions"]} == shims
    assert all(upstream["memory"]["private"] > 0 for upstream in state["upstreams"])
    assert said.count("mux-demo ") == 3
    assert "mux.cli.demo_server" in said


def test_a_server_that_is_shared_otherwise_than_by_default_is_remarked_on() -> None:
    def upstream(**more: object) -> dict[str, object]:
        return {**STATE["upstreams"][0], **more}  # type: ignore[dict-item,index]

    known = upstream(id=1, scope="session", scope_reason="known server: it drives one browser", clients="exact")
    wide = upstream(id=2, scope="user", scope_reason="asked for by --scope", clients="any")
    plain = upstream(id=3, scope="directory", scope_reason="by default", clients="exact", hint="--scope user would do")
    apart = upstream(id=4, scope="directory", scope_reason="by default", apart="it declares it")
    said = screen(STATE | {"upstreams": [known, wide, plain, apart]})
    assert "server 1: not shared: known server: it drives one browser" in said
    assert "server 2: shared within user: asked for by --scope" in said
    assert "server 2: for clients of every kind" in said
    assert "server 3: --scope user would do" in said
    assert "server 4: no other session joins it: it declares it" in said
    assert "by default" not in said
