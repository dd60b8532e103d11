"""The server that the conformance suite expects, from the SDK's source, over stdio."""

from __future__ import annotations

from mcp_everything_server.server import mcp

if __name__ == "__main__":
    mcp.run("stdio")
