"""A home directory full of hosts' configuration files, and `mux` as a process in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")

WHERE = {
    "opencode": ".config/opencode/opencode.jsonc",
    "claude-code": ".claude.json",
    "claude-code-project": "project/.mcp.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".config/Code/User/mcp.json",
    "zed": ".config/zed/settings.json",
    "windsurf": ".codeium/windsurf/mcp_config.json",
    "claude-desktop": ".config/Claude/claude_desktop_config.json",
}
"""Folder of the corpus → where its files belong on Linux."""


def _tabs(data: bytes) -> bytes:
    return data.replace(b"  ", b"\t")


VARIANTS: dict[str, Callable[[bytes], bytes]] = {
    "as-it-is": lambda data: data,
    "crlf": lambda data: data.replace(b"\n", b"\r\n"),
    "mark": lambda data: b"\xef\xbb\xbf" + data,
    "mark-and-crlf": lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"),
    "tabs": _tabs,
    "no-last-line-feed": lambda data: data.rstrip(b"\n"),
}
"""What editors and platforms make of one text."""


def files_of(folder: str) -> list[Path]:
    """The corpus of one host."""
    return sorted((CORPUS / folder).iterdir())


class UserHome:
    """A home with a project and an installed mux-shim, which nothing ever starts here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.project = path / "project"
        (self.project / ".git").mkdir(parents=True)
        self.shim = str(path / "bin" / "mux-shim")
        (path / "bin").mkdir()
        Path(self.shim).write_text("#!/bin/sh\nexit 1\n")
        Path(self.shim).chmod(0o755)

    def put(self, where: str, content: bytes | str) -> Path:
        """Write a file below the home."""
        path = self.path / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def configs(self) -> dict[str, bytes]:
        """Every file of the home but backups and the shim."""
        return {
            str(path.relative_to(self.path)): path.read_bytes()
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and not path.is_relative_to(self.backups) and path != Path(self.shim)
        }

    @property
    def backups(self) -> Path:
        return self.path / ".local" / "state" / "mux" / "backups"

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.path), "PATH": os.defpath, "PYTHONUTF8": "1"}

    def command(self, *words: str, named: bool = True) -> list[str]:
        """`mux WORDS`, which names this home's shim where it installs, unless it is not `named`."""
        shim = ["--shim", self.shim] if named and words[0] == "install" and "--shim" not in words else []
        return [sys.executable, "-m", "mux", *words, *shim]

    def mux(self, *words: str, named: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it in the project."""
        return subprocess.run(
            self.command(*words, named=named),
            env=self.environment | environment,
            cwd=self.project,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
