"""What a pool still holds: everything that can be reached from it, whoever holds it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from types import FunctionType, MethodType
from typing import Any

from mux.core.pool import Pool
from mux.core.questions import Question, Survey
from mux.core.router import Router
from mux.core.session import Call, Session
from mux.core.subscriptions import Topic

STATE = (Session, Call, Router, Question, Survey, Topic)
"""Nothing of these outlives the last session and its grace."""


def leftovers(pool: Pool) -> list[str]:
    """What keeps the pool from being as it began, in words; empty if it is."""
    found = [f"{type(thing).__name__} at {path}" for thing, path in _reachable(pool) if isinstance(thing, STATE)]
    found += [f"timer {name!r}" for name in pool.timers._when if name != "exit"]
    found += [f"{name}: {value!r}" for name, value in vars(pool).items() if name in _TABLES and value]
    return found


_TABLES = {"sessions", "routers", "_processes", "_out"}


def _reachable(root: object) -> Iterator[tuple[object, str]]:
    seen: set[int] = set()
    waiting: deque[tuple[object, str]] = deque([(root, "pool")])
    while waiting:
        thing, path = waiting.popleft()
        if id(thing) in seen or isinstance(thing, bytes | str | int | float | type | None):
            continue
        seen.add(id(thing))
        yield thing, path
        waiting.extend(_inside(thing, path))


def _inside(thing: Any, path: str) -> Iterator[tuple[object, str]]:
    if isinstance(thing, dict):
        for key, value in thing.items():
            yield key, f"{path} key"
            yield value, f"{path}[{key!r:.40}]"
    elif isinstance(thing, list | tuple | set | frozenset | deque):
        for number, value in enumerate(thing):
            yield value, f"{path}[{number}]"
    elif isinstance(thing, FunctionType):
        for cell in thing.__closure__ or ():
            yield cell.cell_contents, f"{path} closure"
    elif isinstance(thing, MethodType):
        yield thing.__self__, f"{path}.self"
    elif isinstance(thing, partial):
        yield (thing.func, thing.args, thing.keywords), path
    elif type(thing).__module__.startswith("mux."):
        slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
        for name in {*slots, *getattr(thing, "__dict__", {})}:
            if hasattr(thing, name):
                yield getattr(thing, name), f"{path}.{name}"
