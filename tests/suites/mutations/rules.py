"""What `rules.toml` says."""

from __future__ import annotations

from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[3]
CORE = "tests/core/"


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule. file: from the root. text: what makes it hold. instead: without it. fails: tests, from the root."""

    row: str
    file: str
    text: str
    instead: str
    fails: list[str]


class _Rules(msgspec.Struct, forbid_unknown_fields=True):
    rule: list[Rule]


def rules() -> list[Rule]:
    """All of them, in their order."""
    known = msgspec.toml.decode((Path(__file__).parent / "rules.toml").read_bytes(), type=_Rules).rule
    return [
        msgspec.structs.replace(rule, file=f"mux/{rule.file}", fails=[CORE + test for test in rule.fails])
        for rule in known
    ]
