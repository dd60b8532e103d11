"""Servers that are known: which must not be shared wider than a session, which may be stopped when idle.

The data is in `known.toml`, each entry with its reason and its evidence. It narrows by itself; what would widen is only
suggested.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from mux.config.names import names, normal

_DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "known.toml")

SAFE = "safe"


class Known(NamedTuple):
    """What is known of one server. scope: the widest that it can bear, "" for any. suggest: a wider one to consider.

    restart: "safe" if it may be stopped when idle. reason, restart_reason, caveat: sentences for a person.
    """

    names: tuple[str, ...]
    scope: str = ""
    suggest: str = ""
    restart: str = ""
    reason: str = ""
    restart_reason: str = ""
    caveat: str = ""
    evidence: tuple[str, ...] = ()


@cache
def entries() -> tuple[Known, ...]:
    """The whole list."""
    with open(_DATA, "rb") as file:
        table = tomllib.load(file)
    return tuple(_entry(entry) for entry in table["server"])


def _entry(table: dict[str, Any]) -> Known:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    return Known(**values)


@cache
def _by_name() -> dict[str, Known]:
    return {normal(name): entry for entry in entries() for name in entry.names}


def about(argv: Sequence[str]) -> Known | None:
    """What is known of the server that `argv` starts; of several that it names, the one that bears the least."""
    table = _by_name()
    found = sorted({table[name] for name in names(argv) if name in table}, key=_bears)
    return found[0] if found else None


def _bears(entry: Known) -> tuple[bool, bool, tuple[str, ...]]:
    """Sorts the narrow before the wide, and those that must not be stopped before those that may."""
    return entry.scope != "session", entry.restart == SAFE, entry.names
