"""What mux-shim changes in the outcome of somebody else's checks, and why that is so."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

DIRECT, SHIM, BESIDE = "direct", "shim", "shim beside companions"
"""The ways in which a suite is run."""

PASSED = ("PASSED", "SUCCESS")


def failed(outcomes: Mapping[str, str]) -> list[str]:
    """The names of what did not pass."""
    return sorted(name for name, how in outcomes.items() if how not in PASSED)


def record(folder: Path, about: Mapping[str, Any], seen: Mapping[str, Mapping[str, str]]) -> None:
    """Write `baseline.json`: of each way, what did not pass. A way that was not gone this time stays as it was."""
    path = folder / "baseline.json"
    before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found = {way: failed(outcomes) for way, outcomes in seen.items()}
    baseline = {**about, "failed": {**before.get("failed", {}), **found}}
    path.write_text(json.dumps(baseline, indent=1) + "\n", encoding="utf-8")


def unexplained(folder: Path, seen: Mapping[str, Mapping[str, str]], subject: Callable[[str], str]) -> int:
    """Print every difference from the direct way with its reason from `differences.json`; return how many have none.

    subject: what of a check's name the reasons go by. A reason that nothing needed is printed, too.
    """
    reasons: dict[str, dict[str, str]] = json.loads((folder / "differences.json").read_text(encoding="utf-8"))
    count = 0
    for way in (SHIM, BESIDE):
        if way in seen:
            known = {**reasons["always"], **(reasons["companions"] if way == BESIDE else {})}
            count += _explain(way, seen[DIRECT], seen[way], known, subject)
    return count


def _explain(
    way: str, direct: Mapping[str, str], other: Mapping[str, str], known: dict[str, str], subject: Callable[[str], str]
) -> int:
    different = [name for name in sorted({*direct, *other}) if other.get(name) != direct.get(name)]
    for name in different:
        print(f"{name}: {direct.get(name, 'NOT RUN')} → {other.get(name, 'NOT RUN')}")
        print(f"    {known.get(subject(name), 'NOT EXPLAINED')}")
    for name in sorted(known.keys() - {subject(name) for name in different}):
        print(f"no difference this time: {name}")
    count = sum(subject(name) not in known for name in different)
    print(f"{way}: {len(different)} differences, {count} not explained")
    return count
