"""How model providers are spoken to, one module for each; `of` finds the one that a request is for.

A dialect has two functions: `read(asked)` says what a host's request means, `answer(turn, asked)` is the response's
body as server-sent events, (event name or none, data).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterator
from typing import Any, Protocol

Json = dict[str, Any]
Event = tuple[str | None, Json | str]


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a host tells its model: the tools that it has, what the calls of this conversation returned, its start.

    prompt: what the user, or a parent agent, said first; only where a host has agents.
    """

    offered: tuple[str, ...]
    results: tuple[str, ...]
    prompt: str = ""


@dataclasses.dataclass(frozen=True)
class Call:
    """A tool's name as the host offered it, and the arguments."""

    tool: str
    arguments: Json


Turn = Call | str
"""What a model does: it calls a tool, or says something and has finished."""


_numbers = itertools.count(1)


def identifier(kind: str) -> str:
    """Never given before: a host that meets a call's identifier again takes it for the old call."""
    return f"{kind}_{next(_numbers)}"


class Dialect(Protocol):
    """What each module of this package is."""

    def read(self, asked: Json) -> Asked: ...

    def answer(self, turn: Turn, asked: Json) -> Iterator[Event]: ...


def text(content: Any) -> str:
    """A tool's result as words, however the dialect wraps it."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(text(part.get("text", part)) if isinstance(part, dict) else text(part) for part in content)
    return json.dumps(content)
