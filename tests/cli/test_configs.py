"""The configurations that the repository offers."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

CONFIGS = Path(__file__).parents[2] / "configs"


def commands(config: dict[str, Any]) -> list[list[str]]:
    """Every server's command line, in whichever of the hosts' forms."""
    servers = config.get("mcp") or config.get("mcpServers") or config["mcp_servers"]
    return [
        server["command"] if isinstance(server["command"], list) else [server["command"], *server["args"]]
        for server in servers.values()
    ]


@pytest.mark.parametrize("path", sorted(CONFIGS.iterdir()), ids=lambda path: path.name)
def test_each_puts_the_shim_before_a_command(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    config = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    assert commands(config) == [["mux-shim", "context-mode"]]
