"""opencode itself, offline, with a scripted model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.fake_model import MODEL, FakeModel
from tests.support.installed import Node
from tests.support.processes import eventually
from tests.support.runtime import SCRIPTED, Runtime

Json = dict[str, Any]

RUN_SECONDS = 100.0

pytestmark = [pytest.mark.host, pytest.mark.npm, pytest.mark.timeout(240)]


def configure(runtime: Runtime, url: str, command: list[str]) -> dict[str, str]:
    """Write opencode's configuration with one MCP server; returns the environment to run it in."""
    provider: Json = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": url, "apiKey": "dummy"},
        "models": {MODEL: {"tool_call": True, "limit": {"context": 100_000, "output": 4_000}}},
    }
    config: Json = {
        "model": f"fake/{MODEL}",
        "small_model": f"fake/{MODEL}",
        "share": "disabled",
        "autoupdate": False,
        "permission": {"*": "allow"},
        "provider": {"fake": provider},
        "mcp": {"shared": {"type": "local", "command": command}},
    }
    folder = runtime.home / ".config" / "opencode"
    folder.mkdir(parents=True)
    (folder / "opencode.json").write_text(json.dumps(config), encoding="utf-8")
    places = {"CONFIG": ".config", "DATA": ".local/share", "STATE": ".local/state", "CACHE": ".cache"}
    return {
        **runtime.environment,
        **{f"XDG_{name}_HOME": str(runtime.home / place) for name, place in places.items()},
        "NO_PROXY": "127.0.0.1,localhost",
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    }


def start(node: Node, environment: dict[str, str], cwd: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(node.opencode), *words],
        env={**environment, "PATH": node.path, "PWD": str(cwd)},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_runs_at_once_in_one_directory_call_a_tool_of_one_server(runtime: Runtime, node_tools: Node) -> None:
    runtime.grace = 10.0  # the second may be slower to start than the first is to finish
    lives = runtime.directory / "lives"
    command = runtime.shim(*SCRIPTED, "--lives", str(lives))
    with FakeModel("shared_pid", {}) as model:
        environment = configure(runtime, model.url, command)
        # two first starts at once spoil opencode's own database: one goes before, without the server
        first = start(node_tools, environment, runtime.project, "session", "list")
        assert first.communicate(timeout=RUN_SECONDS)[0] == ""
        hosts = [start(node_tools, environment, runtime.project, "run", "call the tool") for _ in range(2)]
        said = [host.communicate(timeout=RUN_SECONDS)[0] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], said
    assert "shared_pid" in model.offered, said
    told = [text.partition("The tool said: ")[2].split() for text in said]
    server = (lives / "lives").read_text(encoding="utf-8").split()[0]
    assert [words and words[0] for words in told] == [server, server], said
    assert len((lives / "lives").read_text(encoding="utf-8").splitlines()) == 1
    eventually("both sessions are over", lambda: runtime.status()["sessions"] == [])
