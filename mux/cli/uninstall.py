"""`mux uninstall`: the way back from `mux install`."""

from __future__ import annotations

from mux.cli.install.command import add_uninstall as add_parser

__all__ = ["add_parser"]
