"""A home of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.install.support import UserHome


@pytest.fixture
def home(tmp_path: Path) -> UserHome:
    return UserHome(tmp_path / "home")
