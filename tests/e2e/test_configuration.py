"""The configuration as sessions feel it: files, trust, known servers, limits, a terminal, and the way out of it all."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import eventually
from tests.support.runtime import SCRIPTED, Runtime, program
from tests.support.session import Failed, Session

CHROME = "chrome-devtools-mcp"
"""A server that is known to bear one session only; here it is the scripted one under that name."""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o644)
    return path


def user_file(runtime: Runtime, text: str) -> Path:
    return write(runtime.home / ".config" / "mux" / "config.toml", text)


def named(runtime: Runtime, name: str) -> str:
    """The scripted server as a program called `name`."""
    path = write(runtime.directory / "bin" / name, f'#!/bin/sh\nexec {SCRIPTED[0]} {SCRIPTED[1]} "$@"\n')
    path.chmod(0o755)
    return str(path)


def upstreams(runtime: Runtime) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = runtime.status()["upstreams"]
    return found


# --- files ------------------------------------------------------------------------------------


def test_a_section_of_the_users_file_widens_its_server_and_no_other(runtime: Runtime) -> None:
    user_file(runtime, '[[server]]\nmatch = "documentation"\nscope = "user"')
    other = runtime.directory / "other"
    other.mkdir()
    command, plain = named(runtime, "documentation"), named(runtime, "plain")
    pids = [runtime.ready(command, cwd=cwd).pid() for cwd in (runtime.project, other)]
    assert pids[0] == pids[1]
    assert runtime.ready(plain).pid() != runtime.ready(plain, cwd=other).pid()
    (shared,) = [upstream for upstream in upstreams(runtime) if "documentation" in str(upstream["command"])]
    assert shared["scope"] == "user"
    assert "config.toml [[server]]" in shared["scope_reason"]


def test_variables_are_ignored_and_counted_as_the_users_file_says(runtime: Runtime) -> None:
    user_file(runtime, '[env]\nignore = ["BUILD_*"]\ncount = ["SHLVL"]')
    first = runtime.ready(environment={"BUILD_ID": "1", "SHLVL": "1"})
    second = runtime.ready(environment={"BUILD_ID": "2", "SHLVL": "1"})
    third = runtime.ready(environment={"BUILD_ID": "2", "SHLVL": "2"})
    assert first.pid() == second.pid() != third.pid()
    assert first.call("environment", name="BUILD_ID") == "null"
    assert third.call("environment", name="SHLVL") == "2"


def test_a_malformed_file_costs_one_line_and_no_session(runtime: Runtime) -> None:
    path = user_file(runtime, 'grace = "soon"\nscope = [')
    session = runtime.ready()
    assert session.call("echo", text="served") == "served"
    assert session.stderr.count("\n") == 1
    assert str(path) in session.stderr


def test_an_untrusted_project_gets_no_socket_of_its_own_and_no_environment(runtime: Runtime) -> None:
    """As a repository would that wants to see the tokens of whoever opens it."""
    evil = runtime.directory / "evil"
    evil.mkdir(mode=0o700)
    write(runtime.project / "mux.toml", f'socket = "{evil}/s.sock"\n[env]\ncount = ["*"]\nignore = ["PATH"]')
    session = runtime.ready(environment={"SHLVL": "7"})
    assert session.call("environment", name="SHLVL") == "null"
    assert list(evil.iterdir()) == []
    assert f"`mux trust {runtime.project}` allows it" in session.stderr


def test_a_trusted_project_has_its_own_socket_and_its_limits_until_the_file_changes(runtime: Runtime) -> None:
    own = runtime.directory / "own"
    own.mkdir(mode=0o700)
    path = write(
        runtime.project / "mux.toml", f'socket = "{own}/s.sock"\ngrace = 0.3\n[limits]\nsession_in_flight = 1\n'
    )
    assert runtime.mux("trust", str(runtime.project)).returncode == 0
    shim = [program("mux-shim"), *SCRIPTED]
    session = Session(shim, environment=runtime.environment, cwd=runtime.project)
    runtime.sessions.append(session)
    session.initialize()
    assert (own / "s.sock").exists()
    slow, fast = session.begin_call("sleep", seconds=1), session.begin_call("echo", text="after")
    assert (session.text(slow), session.text(fast)) == ("slept", "after")
    order = [json.loads(line).get("id") for line in session.lines]
    assert order.index(slow) < order.index(fast), "one at a time, as its limits say"
    path.write_text(path.read_text() + "\n")
    state = json.loads(runtime.mux("config", "--json").stdout)
    assert state["settings"]["socket"]["source"] == "default"
    assert state["files"][-1]["state"] == "project's file, not trusted"
    session.finish()
    eventually("the project's backend has left", lambda: not (own / "s.sock").exists())


# --- known servers ----------------------------------------------------------------------------


def test_a_browser_is_not_shared_and_the_status_says_why(runtime: Runtime) -> None:
    command = named(runtime, CHROME)
    first, second = runtime.ready(command), runtime.ready(command, environment={"MUX_SCOPE": "user"})
    assert first.pid() != second.pid()
    assert {upstream["scope"] for upstream in upstreams(runtime)} == {"session"}
    assert "one selected page" in upstreams(runtime)[0]["scope_reason"]
    screen = runtime.mux("status", "--socket", str(runtime.socket)).stdout
    assert "session" in screen


def test_a_browser_is_shared_where_the_command_line_says_so(runtime: Runtime) -> None:
    command = named(runtime, CHROME)
    first, second = (runtime.ready(command, options=["--scope", "directory"]) for _ in range(2))
    assert first.pid() == second.pid()


def test_a_server_that_declares_it_gets_one_process_for_each_session(runtime: Runtime) -> None:
    first, second = (runtime.ready(*SCRIPTED, "--declare", "session") for _ in range(2))
    assert first.pid() != second.pid()
    assert {upstream["apart"] for upstream in upstreams(runtime)} == {"it declares that it bears one session only"}


def test_a_server_that_declares_a_directory_gets_one_process_for_each_and_starts_there(runtime: Runtime) -> None:
    """Whatever wider scope somebody has asked for."""
    cwds = [runtime.project / name for name in ("a", "b", "a")]
    for cwd in cwds:
        cwd.mkdir(exist_ok=True)
    found = [runtime.ready(*SCRIPTED, "--declare", "directory", options=["--scope", "user"], cwd=cwd) for cwd in cwds]
    assert [session.call("cwd") for session in found] == [str(cwd) for cwd in cwds]
    assert [session.call("environment", name="PWD") for session in found] == [str(cwd) for cwd in cwds]
    assert found[0].pid() == found[2].pid() != found[1].pid()
    used = [upstream for upstream in upstreams(runtime) if upstream["sessions"]]
    assert {(upstream["scope"], upstream["scope_reason"]) for upstream in used} == {
        ("directory", "declared by the server itself")
    }


# --- clients of every kind --------------------------------------------------------------------


def test_hosts_of_every_kind_share_one_server_that_must_exist_once(runtime: Runtime) -> None:
    lives = runtime.directory / "lives"
    command = (*SCRIPTED, "--lives", str(lives))
    versions = ("2025-11-25", "2025-06-18", "2024-11-05")
    found = [runtime.session(*command, options=["--clients", "any"]) for _ in versions]
    for session, version in zip(found, versions, strict=True):
        told = session.initialize(version=version, client={"name": version, "version": "1"})
        assert told["protocolVersion"] == version
    assert len({session.pid() for session in found}) == 1
    assert json.loads(found[0].call("seen"))["initialize"] == 1
    assert len((lives / "lives").read_text().splitlines()) == 1


def test_for_clients_of_every_kind_is_not_shared_with_one_that_shows_itself(runtime: Runtime) -> None:
    assert runtime.ready(options=["--clients", "any"]).pid() != runtime.ready().pid()


# --- limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [-1, 0, 1])
def test_a_message_passes_up_to_the_limit_and_is_answered_beyond_it(runtime: Runtime, beside: int) -> None:
    limit = 1 << 20
    user_file(runtime, f"[limits]\nmessage_bytes = {limit}")
    session = runtime.ready()
    call = {
        "jsonrpc": "2.0",
        "id": "big",
        "method": "tools/call",
        "params": {"name": "size", "arguments": {"text": ""}},
    }
    padding = limit + beside - len(json.dumps(call))
    call["params"] = {"name": "size", "arguments": {"text": "x" * padding}}
    assert len(json.dumps(call)) == limit + beside
    session.send(call)
    if beside <= 0:
        assert session.text("big") == str(padding)
    else:
        with pytest.raises(Failed, match="-31003"):
            session.result("big")
    assert session.call("echo", text="and on") == "and on"


def test_a_shim_with_a_higher_limit_than_its_backend_gets_an_error_and_lives_on(runtime: Runtime) -> None:
    user_file(runtime, "[limits]\nmessage_bytes = 1000000")
    low = runtime.ready()
    user_file(runtime, '[limits]\nmessage_bytes = "8 MiB"')
    high = runtime.ready()
    for session in (low, high):
        number = session.begin_call("size", text="x" * 2_000_000)
        with pytest.raises(Failed, match="-31003"):
            session.result(number)
        assert session.call("echo", text="and on") == "and on"
    assert low.pid() == high.pid()


def test_beyond_the_limit_of_sessions_a_server_runs_directly(runtime: Runtime) -> None:
    user_file(runtime, "[limits]\nsessions = 2")
    shared = [runtime.ready(), runtime.ready()]
    direct = runtime.ready()
    assert shared[0].pid() == shared[1].pid() != direct.pid()
    assert "2 sessions" in direct.stderr


@pytest.mark.parametrize(("size", "served"), [(10_000, True), (20_000, False)])
def test_a_hello_beyond_the_limit_means_a_direct_run_at_once(runtime: Runtime, size: int, *, served: bool) -> None:
    (runtime.directory / "limits").mkdir()
    limited = subprocess.Popen(
        [program("mux-backend"), "--foreground", "--socket", str(runtime.socket), "--limit", "hello_bytes=16384"],
        env=runtime.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually("it serves", runtime.socket.exists)
        environment = {name: "" for name in runtime.environment if name not in ("PATH", "HOME", "MUXTEST_RUN")}
        session = runtime.ready(environment={**environment, "LONG": "x" * size})
        assert (session.call("environment", name="MUX_INSIDE") != "null") == served
        assert ("directly" in session.stderr) != served
        session.finish()
    finally:
        limited.terminate()
        limited.communicate()


# --- ways out ---------------------------------------------------------------------------------


def test_a_server_that_starts_itself_through_the_shim_does_not_wait_for_itself(runtime: Runtime) -> None:
    """As when an agent that is served as a server opens its own configuration: it would join itself, and wait."""
    script, marker = runtime.directory / "agent", runtime.directory / "once"
    inner = " ".join(runtime.shim(str(script)))
    write(
        script,
        f"#!/bin/sh\nif [ ! -e {marker} ]; then : > {marker}; exec {inner}; fi\nexec {SCRIPTED[0]} {SCRIPTED[1]}\n",
    )
    script.chmod(0o755)
    session = runtime.ready(str(script))
    assert session.call("echo", text="served") == "served"
    assert len(upstreams(runtime)) == 1


def test_no_share_gives_a_server_of_its_own_that_sees_everything(runtime: Runtime) -> None:
    first, second = (runtime.ready(options=["--no-share"], environment={"SHLVL": str(n)}) for n in (1, 2))
    assert first.pid() != second.pid()
    assert second.call("environment", name="SHLVL") == "2"


def test_at_a_terminal_it_says_in_two_lines_what_it_is_and_relays_what_is_typed(runtime: Runtime) -> None:
    master, slave = pty.openpty()
    shim = subprocess.Popen(
        runtime.shim(*SCRIPTED),
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=runtime.environment,
        cwd=runtime.project,
        start_new_session=True,
    )
    os.close(slave)
    try:
        assert shim.stdout is not None
        assert shim.stderr is not None
        os.write(master, b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        assert select.select([shim.stdout], [], [], 30)[0]
        assert json.loads(shim.stdout.readline())["id"] == 1
        os.write(master, b"\x04")
        assert shim.wait(30) == 0
        said = shim.stderr.read().decode()
        assert said.count("\n") == 2
        assert "in place of" in said
        assert "JSON-RPC" in said
    finally:
        shim.kill()
        shim.communicate()
        os.close(master)


def test_without_a_terminal_it_says_nothing(runtime: Runtime) -> None:
    assert runtime.ready().stderr == ""
