"""Limits that a user can change: what each may be, and that a change reaches whoever uses them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from mux import limits
from mux.config.values import limit
from mux.errors import UsageError

ROOT = Path(__file__).parents[2]
OURS = [path for path in sorted((ROOT / "mux").rglob("*.py")) if path.name != "limits.py"]


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_keeps_a_limit_of_his_own_that_a_user_can_change(path: Path) -> None:
    changing = {name.upper() for name in limits.CONFIGURABLE} | {"JOURNAL_BYTES"}
    taken = [
        alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "mux.limits"
        for alias in node.names
    ]
    assert not changing & set(taken)


@pytest.mark.parametrize("name", limits.CONFIGURABLE)
def test_each_limit_takes_its_least_and_its_most_and_nothing_beyond(name: str) -> None:
    least, most = limits.CONFIGURABLE[name]
    assert least <= getattr(limits, name.upper()) <= most
    as_written = str if name.endswith("_seconds") else int
    assert limit(name, as_written(least)) == least
    assert limit(name, as_written(most)) == most
    for beyond in (0, most + 1):
        with pytest.raises(UsageError, match="between"):
            limit(name, as_written(beyond))


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("message_bytes", "16 MiB", 16 << 20),
        ("message_bytes", "16MB", 16_000_000),
        ("message_bytes", "1GiB", 1 << 30),
        ("message_bytes", 300_000, 300_000),
        ("message_bytes", "300000", 300_000),
        ("kept_lines", 7, 7),
        ("host_slow_seconds", "2m", 120.0),
        ("host_slow_seconds", 1.5, 1.5),
    ],
)
def test_a_limit_is_a_number_a_size_or_a_time(name: str, written: object, value: float) -> None:
    assert limit(name, written) == value


@pytest.mark.parametrize("written", [True, "many", "", "1 TiB", "-1", 1.5, [], {}, None, "1e9", "9" * 99])
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(UsageError):
        limit("message_bytes", written)


def test_a_change_is_seen_by_all_and_the_journal_still_holds_the_largest_line() -> None:
    code = (
        "from mux import limits; from mux.core.quota import Quota; from mux.shim.splitter import Splitter;"
        "from mux.shim.journal import Journal;"
        "limits.configure({'message_bytes': 300000, 'session_in_flight': 1});"
        "print(limits.SESSION_IN_FLIGHT, Splitter()._limit, Journal()._limit)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["1", "300000", str(300_000 + 256 * 1024)]
