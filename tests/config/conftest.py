from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from mux.config import Settings, load


class Place:
    """A home with a project in it, and what applies there."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.project = self.home / "project"
        self.sub = self.project / "a" / "b"
        self.sub.mkdir(parents=True)
        (self.project / ".git").mkdir()
        self.user = self.home / ".config" / "mux" / "config.toml"
        self.user.parent.mkdir(parents=True)
        self.file = self.project / "mux.toml"
        self.environment = {"HOME": str(self.home)}

    def write(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o644)

    def load(
        self,
        *command: str,
        cwd: Path | None = None,
        options: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Settings:
        words: Sequence[str] = command or ("server",)
        where = str(cwd or self.sub)
        return load({**self.environment, **(environment or {})}, where, options or {}, words)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    os.umask(0o022)
    return Place(tmp_path)
