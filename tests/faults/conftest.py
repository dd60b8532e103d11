from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.support import FULL

HERE = Path(__file__).parent
FULL_SECONDS = 3 * 3600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the full profile every loop has time."""
    if FULL:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.timeout(FULL_SECONDS))


@pytest.fixture
def lives(tmp_path: Path) -> Path:
    """Where servers stamp their lives."""
    return tmp_path / "lives"
