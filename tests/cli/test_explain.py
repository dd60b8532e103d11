"""`mux explain`: what is said of one server, of two sessions, and that no value is ever shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mux.cli.explain import screen
from mux.core import events
from mux.core.events import LaunchSpec
from mux.core.explain import explain
from mux.core.identity import Sharing
from mux.errors import UsageError
from tests.core.play import Play
from tests.support.runtime import Runtime

SECRET = "hunter2"


def spec(*argv: bytes, cwd: bytes = b"/p", **environment: str) -> LaunchSpec:
    variables = tuple(f"{name}={value}".encode() for name, value in sorted(environment.items()))
    words = argv or (b"server",)
    return LaunchSpec(words, b"/bin/" + words[0], cwd, (*variables, b"MUX_INSIDE=" + words[0]), 0o022, ())


class Explained(Play):
    def join(self, session: int, key: bytes, what: LaunchSpec, sharing: Sharing | None = None, **hello: Any) -> None:
        opened = events.SessionOpened(session, key, what, grace=30.0, sharing=sharing or Sharing())
        self.give(opened)
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "h", "version": "1"}}
        self.host(session, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {**params, **hello}})

    def parts(self, a: int, b: int) -> list[str]:
        (difference,) = explain(self.pool, a, b).differs
        return difference.parts


def test_two_sessions_that_share_differ_in_nothing() -> None:
    play = Explained()
    play.join(1, b"k", spec())
    play.join(2, b"k", spec())
    found = explain(play.pool, 1, 2)
    assert found.differs == []
    assert found.of.sessions == [1, 2]


def test_what_keeps_two_sessions_apart_is_named_without_a_value() -> None:
    play = Explained()
    play.join(1, b"a", spec(TOKEN=SECRET, SAME="1", PWD="/p"))
    play.join(2, b"b", spec(b"server", b"--x", cwd=b"/q", TOKEN="other", SAME="1", EMPTY="", PWD="/q"))
    assert play.parts(1, 2) == ["argv", "cwd", "environment EMPTY", "environment TOKEN"]


def test_what_hosts_say_of_themselves_is_named_by_its_path() -> None:
    play = Explained()
    play.join(1, b"k", spec())
    play.join(2, b"k", spec(), capabilities={"roots": {}}, clientInfo={"name": "h", "version": "2"})
    assert play.parts(1, 2) == ["initialize capabilities.roots", "initialize clientInfo.version"]


def test_sessions_that_do_not_share_and_clients_of_every_kind_are_named() -> None:
    play = Explained()
    for session, sharing in enumerate(
        (Sharing("session"), Sharing("session"), Sharing(), Sharing(clients="any"), Sharing(era="legacy")), 1
    ):
        play.join(session, b"k%d" % session, spec(), sharing)
    assert play.parts(1, 2) == ["session"]
    assert play.parts(1, 3) == ["scope", "session"]
    assert play.parts(3, 4) == ["clients"]
    assert play.parts(3, 5) == ["era"]


def test_of_one_session_all_others_of_its_program_are_compared_and_no_more() -> None:
    play = Explained()
    play.join(1, b"a", spec())
    play.join(2, b"b", spec(cwd=b"/q"))
    play.join(3, b"c", spec(b"other"))
    found = explain(play.pool, 1)
    assert [(entry.other.sessions, entry.parts) for entry in found.differs] == [([2], ["cwd"])]
    assert explain(play.pool, found.of.upstream, upstreams=True) == found


def test_a_number_that_there_is_not_is_refused() -> None:
    play = Explained()
    for arguments in ({"first": 7}, {"first": 7, "upstreams": True}):
        with pytest.raises(UsageError, match="mux status"):
            explain(play.pool, **arguments)  # type: ignore[arg-type]
    play.give(events.SessionOpened(1, b"k", spec(), grace=30.0))
    with pytest.raises(UsageError, match="has not said anything"):
        explain(play.pool, 1)


def test_the_command_says_what_would_make_two_sessions_share(runtime: Runtime) -> None:
    other = runtime.directory / "other"
    other.mkdir()
    runtime.ready(environment={"API_TOKEN": SECRET})
    runtime.ready(environment={"API_TOKEN": "letmein"}, cwd=other)
    runtime.ready(environment={"API_TOKEN": SECRET})
    socket = ("--socket", str(runtime.socket))
    apart = runtime.mux("explain", *socket, "1", "2")
    assert apart.returncode == 0, apart.stderr
    assert "environment API_TOKEN" in apart.stdout
    assert '[env] ignore = ["API_TOKEN"]' in apart.stdout
    assert "--scope project" in apart.stdout
    assert "PWD" not in apart.stdout
    assert "Both share this server." in runtime.mux("explain", *socket, "1", "3").stdout
    everything = runtime.mux("explain", *socket)
    assert "sessions 1, 3" in everything.stdout
    for said in (
        apart,
        everything,
        runtime.mux("explain", *socket, "--json"),
        runtime.mux("status", *socket, "--json"),
    ):
        assert SECRET not in said.stdout + said.stderr
        assert "letmein" not in said.stdout + said.stderr
    log = runtime.socket.with_suffix(".log").read_text()
    assert SECRET not in log


def test_the_command_refuses_what_there_is_not(runtime: Runtime) -> None:
    socket = ("--socket", str(runtime.socket))
    assert "no backend is running" in runtime.mux("explain", *socket, "1").stderr
    assert runtime.mux("explain", *socket).stdout == "No servers run.\n"
    runtime.ready()
    done = runtime.mux("explain", *socket, "9")
    assert done.returncode == 1
    assert "there is no session 9" in done.stderr
    assert runtime.mux("explain", *socket, "1", "2", "3").returncode == 2
    assert json.loads(runtime.mux("explain", *socket, "--json", "--servers", "1").stdout)[0]["of"]["sessions"] == [1]


def test_names_from_elsewhere_can_not_move_the_cursor() -> None:
    of = {"upstream": 1, "command": "a\x1b[2J", "cwd": "/\n/", "sessions": [], "apart": ""}
    of |= {"sharing": {"scope": "directory", "reason": "by\rdefault", "clients": "exact", "hint": "\x07"}}
    other = of | {"sharing": of["sharing"]}
    said = screen({"of": of, "differs": [{"other": other, "parts": ["environment \x1b[1mX"]}]})
    assert all(line.isprintable() for line in said.split("\n"))
