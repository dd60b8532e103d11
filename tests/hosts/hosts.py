"""How each real host is configured and run, offline: its model is on loopback, its one MCP server is `shared`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.hosts.fake_model import MODEL, SERVER, FakeModel

Json = dict[str, Any]

START_SECONDS = 120
"""How long hosts wait for a server to start, where that can be said: on a busy machine 30 s are not enough."""

TOOL_SECONDS = 3
"""How long a host that is `impatient` waits for a tool's answer."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a host is told."""

    home: Path
    model: FakeModel
    command: Sequence[str]
    impatient: bool = False


@dataclasses.dataclass(frozen=True)
class Host:
    """configure: writes its files, returns the variables that it needs. run: the words of one run, with the prompt."""

    name: str
    client: str
    configure: Callable[[Setup], dict[str, str]]
    run: Callable[[Setup], list[str]]
    listing: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return self.name


PROMPT = "call the tool"


def _write(path: Path, content: str | Json) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=2), encoding="utf-8")


def _stdio(setup: Setup) -> Json:
    return {"command": setup.command[0], "args": [*setup.command[1:]]}


def _opencode(setup: Setup) -> dict[str, str]:
    provider: Json = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{setup.model.url}/v1", "apiKey": "dummy"},
        "models": {MODEL: {"tool_call": True, "limit": {"context": 100_000, "output": 4_000}}},
    }
    server: Json = {"type": "local", "command": [*setup.command]}
    if setup.impatient:
        server["timeout"] = TOOL_SECONDS * 1000
    config: Json = {
        "model": f"fake/{MODEL}",
        "small_model": f"fake/{MODEL}",
        "share": "disabled",
        "autoupdate": False,
        "permission": {"*": "allow"},
        "provider": {"fake": provider},
        "mcp": {SERVER: server},
    }
    _write(setup.home / ".config" / "opencode" / "opencode.json", config)
    places = {"CONFIG": ".config", "DATA": ".local/share", "STATE": ".local/state", "CACHE": ".cache"}
    return {
        **{f"XDG_{name}_HOME": str(setup.home / place) for name, place in places.items()},
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    }


def _claude(setup: Setup) -> dict[str, str]:
    _write(setup.home / ".claude.json", {"mcpServers": {SERVER: {"type": "stdio", **_stdio(setup)}}})
    return {
        "ANTHROPIC_BASE_URL": setup.model.url,
        "ANTHROPIC_API_KEY": "dummy",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "ENABLE_TOOL_SEARCH": "false",  # else it shows a model the tools only when that looks for them
        "MCP_CONNECTION_NONBLOCKING": "false",  # else its first turn does not wait for a server that is slow to start
        "MCP_TIMEOUT": str(START_SECONDS * 1000),
        "IS_SANDBOX": "1",  # else it does not skip permissions as root
        **({"MCP_TOOL_TIMEOUT": str(TOOL_SECONDS * 1000)} if setup.impatient else {}),
    }


def _codex(setup: Setup) -> dict[str, str]:
    # a sandbox would have it ask before each call of a tool that is not marked read-only;
    # for a server that is not required the first turn waits only about a second
    config = f"""
model = "{MODEL}"
model_provider = "fake"
approval_policy = "never"
sandbox_mode = "danger-full-access"

[model_providers.fake]
name = "fake"
base_url = "{setup.model.url}/v1"
wire_api = "responses"
env_key = "FAKE_KEY"

[mcp_servers.{SERVER}]
command = {json.dumps(setup.command[0])}
args = {json.dumps([*setup.command[1:]])}
required = true
startup_timeout_sec = {START_SECONDS}
"""
    if setup.impatient:
        config += f"tool_timeout_sec = {TOOL_SECONDS}\n"
    _write(setup.home / ".codex" / "config.toml", config)
    return {"FAKE_KEY": "dummy"}


def _gemini(setup: Setup) -> dict[str, str]:
    timeout = {"timeout": TOOL_SECONDS * 1000} if setup.impatient else {}
    settings: Json = {
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "mcpServers": {SERVER: {**_stdio(setup), **timeout, "trust": True}},
    }
    _write(setup.home / ".gemini" / "settings.json", settings)
    return {"GEMINI_API_KEY": "dummy", "GOOGLE_GEMINI_BASE_URL": setup.model.url}


def _inspector(setup: Setup) -> dict[str, str]:
    server = {**_stdio(setup), "connectionTimeout": START_SECONDS * 1000}
    _write(setup.home / "inspector.json", {"mcpServers": {SERVER: server}})
    return {}


def _inspector_run(setup: Setup) -> list[str]:
    """It has no model: it makes the first call of the script."""
    step = setup.model.script[0]
    config = str(setup.home / "inspector.json")
    words = ["mcp-inspector", "--cli", "--config", config, "--server", SERVER, "--format", "json", "-q"]
    return [*words, "--method", "tools/call", "--tool-name", step.tool, "--tool-args-json", json.dumps(step.arguments)]


OPENCODE = Host("opencode", "opencode", _opencode, lambda _: ["opencode", "run", PROMPT], ("opencode", "mcp", "list"))
CLAUDE = Host(
    "claude-code",
    "claude-code",
    _claude,
    lambda _: ["claude", "-p", "--dangerously-skip-permissions", "--model", "claude-sonnet-4-5", PROMPT],
    ("claude", "mcp", "list"),
)
CODEX = Host("codex", "codex-mcp-client", _codex, lambda _: ["codex", "exec", "--skip-git-repo-check", PROMPT])
GEMINI = Host(
    "gemini-cli",
    "gemini-cli-mcp-client",
    _gemini,
    lambda _: ["gemini", "--skip-trust", "-y", "-m", "gemini-2.5-flash", "-p", PROMPT],
    ("gemini", "mcp", "list"),
)
INSPECTOR = Host("inspector", "inspector-cli", _inspector, _inspector_run)

HOSTS = (OPENCODE, CLAUDE, CODEX, GEMINI, INSPECTOR)
