"""`mux install`: put mux-shim into the hosts' own configuration files. The package has all of it, and the way back."""

from __future__ import annotations

from mux.cli.install.command import add_install as add_parser

__all__ = ["add_parser"]
