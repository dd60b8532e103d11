"""Configuration files as people have them: what sharing does to each, and that unsharing undoes it to the byte."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from mux.cli.install import servers
from mux.cli.install.hosts import HOSTS, Place, format_of
from mux.cli.install.plan import Install, Uninstall, make
from tests.cli.install.support import CORPUS, VARIANTS, WHERE, UserHome, files_of

SHIM = "/home/me/.local/bin/mux-shim"

SHARED: dict[str, dict[str, list[str]]] = {
    "opencode/commented.jsonc": {
        "context-mode": [SHIM, "context-mode"],
        "everything": [SHIM, "npx", "-y", "@modelcontextprotocol/server-everything"],
    },
    "opencode/odd.jsonc": {
        "a b/ç": [SHIM, "uvx", "mcp-server-git"],
        "dup": [SHIM, "third"],
        "escaped": [SHIM, r"C:\tools\server.exe", 'say "hi" // no comment', "/* nor this */"],
        "through": [SHIM, "mux-shim-not", "x"],
    },
    "opencode/minified.json": {
        "context-mode": [SHIM, "context-mode"],
        "fs": [SHIM, "npx", "-y", "@modelcontextprotocol/server-filesystem", "/home/me"],
    },
    "opencode/empty.json": {},
    "opencode/comment-only.jsonc": {},
    "claude-code/state.json": {
        "context-mode": [SHIM, "context-mode"],
        "bare": [SHIM, "/usr/local/bin/bare-server"],
        "time": [SHIM, "--scope", "user", "uvx", "mcp-server-time", "--local-timezone=Europe/Zürich"],
        "postgres (/home/me/src/alpha)": [
            SHIM, "npx", "-y", "@modelcontextprotocol/server-postgres", "postgresql://me:pässwörd@localhost/alpha",
        ],
    },
    "claude-code/minified.json": {
        "a": [SHIM, "a"],
        "b": [SHIM, "b"],
        "c": [SHIM, "c", "x"],
        "d": [SHIM, "d"],
        "a (/p)": [SHIM, "a"],
    },
    "claude-code/fresh.json": {},
    "claude-code-project/team.json": {
        "docs": [SHIM, "npx", "-y", "some-docs-server", "--root", "${PROJECT_ROOT:-.}"],
        "db": [SHIM, "${HOME}/bin/db-server"],
    },
    "codex/config.toml": {
        "context-mode": [SHIM, "context-mode"],
        "everything": [SHIM, "npx", "-y", "@modelcontextprotocol/server-everything"],
    },
    "codex/dotted.toml": {
        "dotted": [SHIM, "dotted-server"],
        "spaced out": [SHIM, "spaced", "a", "b"],
        "env-first": [SHIM, "e"],
        "late": [SHIM, "late"],
    },
    "codex/odd.toml": {
        "inline": [SHIM, "inline-server", "--a", 'b"c'],
        "bare": [SHIM, "bare-server"],
        "none": [SHIM, "no-args"],
        "nested": [SHIM, "multi-line-command"],
        "literal": [SHIM, "triple'quoted"],
        "tabbed": [SHIM, "tabbed"],
        "last": [SHIM, "last"],
    },
    "codex/no-servers.toml": {},
    "gemini/settings.json": {
        "context-mode": [SHIM, "context-mode"],
        "python": [SHIM, "python3", "-m", "my_server"],
    },
    "cursor/mcp.json": {
        "memory": [SHIM, "--scope", "user", "npx", "-y", "@modelcontextprotocol/server-memory"],
        "context7": [SHIM, "--scope", "user", "npx", "-y", "@upstash/context7-mcp"],
    },
    "vscode/mcp.json": {
        "fetch": [SHIM, "--scope", "user", "uvx", "mcp-server-fetch"],
        "mine": [SHIM, "node", "${workspaceFolder}/server.js", "--key=${input:key}"],
        "alone": [SHIM, "alone"],
    },
    "zed/settings.json": {
        "local": [SHIM, "some-command", "arg-1", "arg-2"],
        "older": [SHIM, "/opt/older/server", "--stdio"],
        "older-bare": [SHIM, "bare"],
    },
    "windsurf/mcp_config.json": {
        "github": [
            SHIM, "docker", "run", "-i", "--rm", "-e", "GITHUB_PERSONAL_ACCESS_TOKEN",
            "ghcr.io/github/github-mcp-server",
        ],
    },
    "claude-desktop/claude_desktop_config.json": {
        "filesystem": [
            SHIM, "npx", "-y", "@modelcontextprotocol/server-filesystem", "/Users/me/Desktop", "/Users/me/Müsli & Co",
        ],
        "sqlite": [SHIM, "uv", "--directory", "/srv/sqlite", "run", "mcp-server-sqlite"],
    },
}  # fmt: skip
"""What each file's hosts start after an installation; every other server stays as it is."""

FILES = [path for folder in WHERE for path in files_of(folder)]
NAMES = [str(path.relative_to(CORPUS)) for path in FILES]


def place_of(path: Path, folder: str) -> Place:
    host = next(host for host in HOSTS if folder in (host.name, f"{host.name}-project"))
    return Place(host, str(path), shared=folder.endswith("-project"))


def installed(place: Place) -> str:
    return make(place, Install(place, SHIM, forced=False, named=frozenset()), ()).new


def effective(place: Place, text: str) -> dict[str, list[str]]:
    """What the host would start, by server."""
    root = format_of(place.path).parse(text)
    return {server.name: list(server.argv) for server in servers.find(root, place.host.tables) if server.argv}


def is_plain_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def test_the_corpus_is_whole() -> None:
    assert sorted(SHARED) == sorted(NAMES)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_exactly_the_right_servers_are_shared(path: Path, variant: str, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    copy.write_bytes(VARIANTS[variant](path.read_bytes()))
    place = place_of(copy, path.parent.name)
    before = effective(place, copy.read_bytes().decode())
    expected = before | SHARED[str(path.relative_to(CORPUS))]
    assert effective(place, installed(place)) == expected


@pytest.mark.parametrize("path", [path for path in FILES if is_plain_json(path)], ids=lambda path: path.name)
def test_plain_json_stays_plain_json(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    json.loads(installed(place_of(copy, path.parent.name)))


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".toml"], ids=lambda path: path.name)
def test_the_tree_of_a_toml_file_is_what_tomllib_reads(path: Path) -> None:
    text = path.read_bytes().decode()
    expected = tomllib.loads(text).get("mcp_servers", {})
    found: dict[str, Any] = {}
    for server in servers.find(format_of(path.name).parse(text), (("mcp_servers",),)):
        content = expected[server.name]
        found[server.name] = content
        if server.argv:
            assert [content["command"], *content.get("args", ())] == list(server.argv)
    assert found == expected


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_unsharing_restores_the_bytes_and_sharing_twice_is_sharing_once(
    path: Path, variant: str, tmp_path: Path
) -> None:
    original = VARIANTS[variant](path.read_bytes())
    copy = tmp_path / path.name
    copy.write_bytes(original)
    place = place_of(copy, path.parent.name)
    once = installed(place).encode()
    copy.write_bytes(once)
    assert installed(place).encode() == once
    assert make(place, Uninstall(place), ()).new.encode() == original


@pytest.mark.parametrize("variant", ["as-it-is", "mark-and-crlf", "tabs"])
@pytest.mark.parametrize("number", range(max(len(files_of(folder)) for folder in WHERE)))
def test_a_whole_home_makes_the_round_trip(home: UserHome, variant: str, number: int) -> None:
    for folder, where in WHERE.items():
        files = files_of(folder)
        home.put(where, VARIANTS[variant](files[number % len(files)].read_bytes()))
    before = home.configs()

    done = home.mux("install", "--yes", "--project")
    assert (done.returncode, done.stderr) == (0, "")
    shared = home.configs()
    assert all(home.shim.encode() in shared[WHERE[folder]] for folder in ("gemini", "cursor", "vscode", "zed"))

    again = home.mux("install", "--yes", "--project")
    assert (again.returncode, again.stderr) == (0, "")
    assert "Nothing to do" in again.stdout
    assert home.configs() == shared

    undone = home.mux("uninstall", "--yes", "--project")
    assert (undone.returncode, undone.stderr) == (0, "")
    assert home.configs() == before
