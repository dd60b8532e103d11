"""TypeScript's SDK on both ends, server-everything and the inspector, through real shims."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.installed import Node
from tests.support.processes import eventually
from tests.support.runtime import Runtime
from tests.support.session import Session

pytestmark = pytest.mark.npm

HERE = Path(__file__).parent
EVERYTHING = ["mcp-server-everything", "stdio"]


@pytest.fixture
def scripts(node_tools: Node, runtime: Runtime) -> Path:
    """The scripts, where Node finds the packages that they import."""
    (runtime.directory / "node_modules").symlink_to(node_tools.root / "node_modules")
    for script in (HERE / "node").glob("*.mjs"):
        (runtime.directory / script.name).write_bytes(script.read_bytes())
    return runtime.directory


def run(runtime: Runtime, node_tools: Node, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**runtime.environment, **node_tools.environment},
        cwd=runtime.project,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.mark.parametrize(("version", "era"), [("1", "legacy"), ("2", "legacy"), ("2", "auto"), ("2", "modern")])
def test_two_typescript_clients_share_a_typescript_server(
    runtime: Runtime, node_tools: Node, scripts: Path, version: str, era: str
) -> None:
    shim = runtime.shim("node", str(scripts / "server.mjs"))
    done = run(runtime, node_tools, "node", str(scripts / "conversation.mjs"), version, era, *shim)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["pids"][0] == said["pids"][1]
    assert "elicit" in said["tools"]
    assert said["echoes"] == [f"{name}{number}" for number in range(20) for name in "ab"]
    for name, steps, heard in zip("ab", (30, 50), said["progress"], strict=True):
        assert heard == [[step + 1, name] for step in range(steps)]
    assert said["elicit"] == ["a: ?", "b: !"]
    assert said["asked"] == [1, 1]
    assert (said["mine"], said["other"], said["cancelled"]) == ("aborted", "went on", 1)


def capable(runtime: Runtime, node_tools: Node, who: str, capabilities: Mapping[str, Any]) -> Session:
    """A session of server-everything that is willing to answer what it declares."""
    session = runtime.session(*EVERYTHING, environment=node_tools.environment)
    content = {"type": "text", "text": f"said by {who}"}
    session.willing["roots/list"] = {"roots": [{"uri": f"file:///{who}", "name": who}]}
    session.willing["sampling/createMessage"] = {"role": "assistant", "content": content, "model": "m"}
    session.willing["elicitation/create"] = {"action": "accept", "content": {"name": who, "check": True}}
    client = {"name": "raw", "version": "1"}
    opening = {"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": client}
    session.result(session.begin("initialize", opening))
    session.notify("notifications/initialized")
    return session


def tools(session: Session) -> set[str]:
    return {tool["name"] for tool in session.request("tools/list")["tools"]}


def test_server_everything_offers_each_session_the_tools_for_what_it_declared(
    runtime: Runtime, node_tools: Node
) -> None:
    able = capable(runtime, node_tools, "able", {"roots": {}, "sampling": {}, "elicitation": {}})
    plain = capable(runtime, node_tools, "plain", {})
    eventually("the tools that depend on it are there", lambda: len(tools(able)) > len(tools(plain)))
    found = tools(able) - tools(plain)
    assert {name for name in found if "sampling" in name}
    assert {name for name in found if "elicitation" in name}
    assert {name for name in found if "roots" in name}


def test_server_everything_asks_each_session_its_own_questions(runtime: Runtime, node_tools: Node) -> None:
    everything: dict[str, Any] = {"roots": {}, "sampling": {}, "elicitation": {}}
    first, second = (capable(runtime, node_tools, who, everything) for who in ("first", "second"))
    for session in (first, second):
        eventually("it can sample", lambda session=session: "trigger-sampling-request" in tools(session))  # type: ignore[misc]
    for session, who in ((first, "first"), (second, "second")):
        number = session.begin_call("trigger-sampling-request", prompt="hi", maxTokens=5)
        assert f"said by {who}" in json.dumps(session.result(number))
        asked = session.begin_call("trigger-elicitation-request")
        assert who in json.dumps(session.result(asked))
    assert [question["method"] for question in first.questions].count("sampling/createMessage") == 1


@pytest.mark.parametrize(("era", "version"), [("legacy", "1"), ("auto", "2"), ("modern", "2")])
def test_the_inspector_calls_a_tool(runtime: Runtime, node_tools: Node, scripts: Path, era: str, version: str) -> None:
    server = EVERYTHING if version == "1" else ["node", str(scripts / "server.mjs")]
    given = ["--method", "tools/call", "--tool-name", "echo", "--tool-arg"]
    told = "message=hi" if version == "1" else "text=hi"
    options = ["--protocol-era", era, "--format", "json", "-q"]
    done = run(runtime, node_tools, "mcp-inspector", "--cli", *runtime.shim(*server), *given, told, *options)
    assert done.returncode == 0, done.stderr
    assert "hi" in json.dumps(json.loads(done.stdout))


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_inspectors_load_is_answered_without_an_error(
    runtime: Runtime, node_tools: Node, scripts: Path, era: str
) -> None:
    command = runtime.shim("node", str(scripts / "server.mjs"))
    given = ["--method", "tools/call", "--tool-name", "echo", "--tool-arg", "text=hi", "--protocol-era", era]
    load = ["--load", "--load-concurrency", "20", "--load-requests", "1000", "--format", "json", "-q"]
    done = run(runtime, node_tools, "mcp-inspector", "--cli", *command, *given, *load)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["result"]
    assert (report["ok"], report["toolErrors"], report["errors"]) == (1000, 0, 0)
