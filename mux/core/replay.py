"""What becomes of a line that a shim sends again, because the backend that had it is gone. DESIGN: recovery.

A request whose effect is unknown is never executed again; a safe one is repeated at most once in the life of a session,
so that a poisonous request can not take every generation down.
"""

from __future__ import annotations

from enum import Enum

from mux.core.envelope import Answer, Message, Notification, Rejected
from mux.core.methods import REPEATABLE_NOTIFICATIONS, SAFE

REBUILT = frozenset(
    {
        "initialize",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "subscriptions/listen",
    }
)
"""Requests that set the state of a session: doing them twice is doing them once."""


class Fate(Enum):
    """What to do with a replayed line."""

    REBUILD = "restore the state that it set; the host has its answer"
    SERVE = "treat it as new"
    UNKNOWN = "answer that its outcome is unknown"
    FORGET = "acknowledge it"


def fate(message: Message, *, answered: bool, repeated: bool) -> Fate:
    """The rule for one replayed line."""
    if isinstance(message, Answer):
        return Fate.FORGET
    if isinstance(message, Rejected):
        return Fate.SERVE
    if isinstance(message, Notification):
        return Fate.REBUILD if message.method in REPEATABLE_NOTIFICATIONS else Fate.FORGET
    if answered:
        return Fate.REBUILD
    if message.method in REBUILT or (message.method in SAFE and not repeated):
        return Fate.SERVE
    return Fate.UNKNOWN
