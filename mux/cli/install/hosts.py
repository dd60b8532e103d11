"""Where each host keeps its MCP servers. A new host is one more row."""

from __future__ import annotations

import dataclasses
import glob
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from mux.cli.install.jsonc import JSONC
from mux.cli.install.syntax import Format
from mux.cli.install.toml import TOML


@dataclasses.dataclass(frozen=True)
class Home:
    """Whose files, and on what platform.

    `config`: the XDG directory, which some hosts use everywhere. `application`: where the platform wants it.
    """

    home: str
    config: str
    application: str
    environment: Mapping[str, str]

    @classmethod
    def of(cls, environment: Mapping[str, str], platform: str = sys.platform) -> Home:
        """The home that `environment` describes."""
        home = environment.get("HOME") or os.path.expanduser("~")
        config = environment.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
        if platform == "darwin":
            application = os.path.join(home, "Library", "Application Support")
        elif platform == "win32":
            application = environment.get("APPDATA") or os.path.join(home, "AppData", "Roaming")
        else:
            application = config
        return cls(home, config, application, environment)

    def named(self, variable: str, otherwise: str) -> str:
        """The directory that `variable` names, or `otherwise` below the home."""
        return self.environment.get(variable) or os.path.join(self.home, otherwise)


@dataclasses.dataclass(frozen=True)
class Host:
    """One host. `tables`: the keys down to its servers, "*" for any key.

    `user`: its files of a user, whether they exist or not. `project`: those of a project, below its directory.
    """

    name: str
    title: str
    tables: Sequence[Sequence[str]]
    user: Callable[[Home], Sequence[str]]
    project: Sequence[str] = ()


def format_of(path: str) -> Format:
    """By the name: hosts decide the same way."""
    return TOML if path.endswith(".toml") else JSONC


def _opencode(home: Home) -> list[str]:
    named = home.environment.get("OPENCODE_CONFIG")
    directories = [os.path.join(home.config, "opencode"), os.path.join(home.home, ".opencode")]
    names = ("opencode.json", "opencode.jsonc", "config.json")
    return [os.path.join(directory, name) for directory in directories for name in names] + ([named] if named else [])


def _claude_code(home: Home) -> list[str]:
    return [os.path.join(home.named("CLAUDE_CONFIG_DIR", ""), ".claude.json")]


def _codex(home: Home) -> list[str]:
    return [os.path.join(home.named("CODEX_HOME", ".codex"), "config.toml")]


def _gemini(home: Home) -> list[str]:
    return [os.path.join(home.named("GEMINI_CLI_HOME", ""), ".gemini", "settings.json")]


def _cursor(home: Home) -> list[str]:
    return [os.path.join(home.home, ".cursor", "mcp.json")]


def _vscode(home: Home) -> list[str]:
    found: list[str] = []
    for product in ("Code", "Code - Insiders", "VSCodium"):
        user = os.path.join(home.application, product, "User")
        found.append(os.path.join(user, "mcp.json"))
        found += sorted(glob.glob(os.path.join(glob.escape(user), "profiles", "*", "mcp.json")))
    return found


def _zed(home: Home) -> list[str]:
    windows = os.path.join(home.application, "Zed", "settings.json")
    return [os.path.join(home.config, "zed", "settings.json"), *([windows] if "APPDATA" in home.environment else [])]


def _windsurf(home: Home) -> list[str]:
    return [os.path.join(home.home, ".codeium", "windsurf", "mcp_config.json")]


def _claude_desktop(home: Home) -> list[str]:
    return [os.path.join(home.application, "Claude", "claude_desktop_config.json")]


_MCP_SERVERS = (("mcpServers",),)

HOSTS = (
    Host(
        "opencode",
        "opencode",
        (("mcp",),),
        _opencode,
        ("opencode.json", "opencode.jsonc", ".opencode/opencode.json", ".opencode/opencode.jsonc"),
    ),
    Host(
        "claude-code",
        "Claude Code",
        (*_MCP_SERVERS, ("projects", "*", "mcpServers")),
        _claude_code,
        (".mcp.json",),
    ),
    Host("codex", "Codex", (("mcp_servers",),), _codex, (".codex/config.toml",)),
    Host("gemini", "Gemini CLI", _MCP_SERVERS, _gemini, (".gemini/settings.json",)),
    Host("cursor", "Cursor", _MCP_SERVERS, _cursor, (".cursor/mcp.json",)),
    Host("vscode", "VS Code", (("servers",),), _vscode, (".vscode/mcp.json",)),
    Host("zed", "Zed", (("context_servers",),), _zed, (".zed/settings.json",)),
    Host("windsurf", "Windsurf", _MCP_SERVERS, _windsurf),
    Host("claude-desktop", "Claude Desktop", _MCP_SERVERS, _claude_desktop),
)


@dataclasses.dataclass(frozen=True)
class Place:
    """A file that exists. `shared`: it belongs to a project, and so perhaps to a team."""

    host: Host
    path: str
    shared: bool


def places(hosts: Sequence[Host], home: Home, directory: str) -> list[Place]:
    """Every file of `hosts` that exists: the user's, and those of the project around `directory`; each file once."""
    seen: set[tuple[Sequence[Sequence[str]], str]] = set()
    found: list[Place] = []
    for host in hosts:
        candidates = [(path, False) for path in host.user(home)]
        candidates += [
            (os.path.join(parent, *name.split("/")), True) for parent in _project(directory) for name in host.project
        ]
        for path, shared in candidates:
            mark = (host.tables, os.path.realpath(path))
            if os.path.lexists(path) and mark not in seen:
                seen.add(mark)
                found.append(Place(host, path, shared))
    return found


def _project(directory: str) -> list[str]:
    """`directory` and its parents up to the root of its repository; alone if it is in none."""
    parents = [directory]
    while not os.path.lexists(os.path.join(parents[-1], ".git")):
        parent = os.path.dirname(parents[-1])
        if parent == parents[-1]:
            return [directory]
        parents.append(parent)
    return parents
