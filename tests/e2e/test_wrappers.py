"""A wrapper as COMMAND is shared like the server in it, and its whole tree ends with it."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.installed import Node
from tests.support.processes import eventually, running
from tests.support.runtime import SCRIPTED, Runtime, program


@pytest.mark.parametrize("stubborn", [[], ["--ignore-eof"], ["--ignore-eof", "--ignore-sigterm"]])
def test_a_shell_around_a_server_ends_with_it(runtime: Runtime, stubborn: list[str]) -> None:
    command = ["sh", "-c", f"{shlex.join([*SCRIPTED, *stubborn])}; true"]
    first, second = runtime.ready(*command), runtime.ready(*command)
    pid = first.pid()
    assert second.pid() == pid
    assert psutil.Process(pid).ppid() != runtime.backend().pid
    first.finish()
    second.finish()
    runtime.expect_empty()
    assert not running(pid)


@pytest.mark.parametrize("detached", [False, True])
def test_what_a_server_started_ends_with_it(runtime: Runtime, detached: bool) -> None:
    session = runtime.ready()
    grandchild = int(session.call("spawn", detached=detached))
    session.finish()
    runtime.expect_empty()
    assert not running(grandchild)


@pytest.mark.parametrize("detached", [False, True])
def test_a_grandchild_that_holds_stdout_does_not_hold_up_the_end(runtime: Runtime, detached: bool) -> None:
    session = runtime.ready()
    grandchild = int(session.call("spawn", detached=detached, hold_stdout=True))
    error = session.response(session.begin_call("exit", code=1))["error"]
    assert error["code"] == -31002
    assert session.call("echo", text="on") == "on"
    eventually("the grandchild is dead", lambda: not running(grandchild))


@pytest.mark.npm
def test_npx_is_shared_and_ends_whole(runtime: Runtime, node_tools: Node) -> None:
    if shutil.which("npx") is None:
        pytest.skip("npx is not installed")
    package = "@modelcontextprotocol/server-everything"
    where = {"cwd": node_tools.root, "environment": {**node_tools.environment, "PWD": str(node_tools.root)}}
    sessions = [runtime.ready("npx", "-y", package, **where) for _ in range(3)]
    assert [session.call("echo", message="hi") for session in sessions] == ["Echo: hi"] * 3
    assert len([name for name in runtime.servers("npx") if name.parent() == runtime.backend()]) <= 1
    assert len(runtime.backend().children()) == 1
    for session in sessions:
        assert session.finish() == 0
    runtime.expect_empty()


def test_uvx_is_shared_and_ends_whole(runtime: Runtime) -> None:
    uvx = program("uvx")
    if not Path(uvx).exists():
        pytest.skip("uvx is not installed")
    environment = {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(runtime.directory / "uv"), "UV_PYTHON_DOWNLOADS": "never"}
    command = [uvx, "--python", sys.executable, "python", SCRIPTED[1]]
    sessions = [runtime.ready(*command, environment=environment) for _ in range(3)]
    assert len({session.pid() for session in sessions}) == 1
    assert len(runtime.backend().children()) == 1
    for session in sessions:
        assert session.finish() == 0
    runtime.expect_empty()
