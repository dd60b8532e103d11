"""A server made with the official SDK: of whichever major version the interpreter has that runs this file."""

from __future__ import annotations

import importlib
import os
from importlib.metadata import version
from typing import Any

NEW = int(version("mcp").partition(".")[0]) >= 2


def echo(text: str) -> str:
    """Say it again."""
    return text


def pid() -> int:
    """The process that answers."""
    return os.getpid()


def build() -> Any:
    """The high-level server: the same class under the name and the path of each major version."""
    module, name = ("mcp.server", "MCPServer") if NEW else ("mcp.server.fastmcp", "FastMCP")
    server = getattr(importlib.import_module(module), name)("sdk")
    for tool in (echo, pid):
        server.tool()(tool)
    return server


if __name__ == "__main__":
    build().run("stdio")
