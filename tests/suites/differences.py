"""What mux-shim changes in the outcome of somebody else's checks, and why that is so."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PASSED = ("PASSED", "SUCCESS")


def failed(outcomes: Mapping[str, str]) -> list[str]:
    """The names of what did not pass."""
    return sorted(name for name, how in outcomes.items() if how not in PASSED)


def record(folder: Path, about: Mapping[str, Any], seen: Mapping[str, Mapping[str, str]], companions: int) -> None:
    """Write `baseline.json`. What was recorded with another number of companions stays."""
    path = folder / "baseline.json"
    before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found = {mode: failed(outcomes) for mode, outcomes in seen.items()}
    if companions:
        found[f"shim beside {companions} companions"] = found.pop("shim")
    baseline = {**about, "failed": {**before.get("failed", {}), **found}}
    path.write_text(json.dumps(baseline, indent=1) + "\n", encoding="utf-8")


def unexplained(
    folder: Path,
    direct: Mapping[str, str],
    shim: Mapping[str, str],
    *,
    companions: bool,
    subject: Callable[[str], str],
) -> int:
    """Print every difference with its reason from `differences.json`; return how many have none.

    subject: what of a check's name the reasons go by. A reason that nothing needs any more is printed, too.
    """
    reasons: dict[str, dict[str, str]] = json.loads((folder / "differences.json").read_text(encoding="utf-8"))
    known = {**reasons["always"], **(reasons["companions"] if companions else {})}
    different = [name for name in sorted(direct) if shim.get(name, "NOT RUN") != direct[name]]
    different += [name for name in sorted(shim) if name not in direct]
    for name in different:
        print(f"{name}: {direct.get(name, 'NOT RUN')} → {shim.get(name, 'NOT RUN')}")
        print(f"    {known.get(subject(name), 'NOT EXPLAINED')}")
    for name in sorted(known.keys() - {subject(name) for name in different}):
        print(f"no difference any more: {name}")
    count = sum(subject(name) not in known for name in different)
    print(f"{len(different)} differences, {count} not explained")
    return count
