"""One MCP server process for every session. Importing `mux` loads nothing but its version."""

__version__ = "0.1.0"
