"""What the multiplexer has to know of MCP methods. A method in none of these tables passes as it is."""

from __future__ import annotations

from enum import Enum


class Era(Enum):
    """Which protocol an upstream speaks. A stdio process is pinned to one by its opening request."""

    LEGACY = "legacy"
    """MCP up to 2025-11-25, opened by `initialize`."""
    MODERN = "modern"
    """MCP from 2026-07-28: stateless, `_meta` in each request."""
    PROBING = "probing"
    """Being asked by `server/discover` which of the two."""
    BARE = "bare"
    """One session that sends legacy requests without `initialize`: its own process, and all passes as it is."""


DISCOVER = "server/discover"
LISTEN = "subscriptions/listen"
SUBSCRIBE = "resources/subscribe"

SAFE = frozenset(
    {
        "completion/complete",
        "ping",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        DISCOVER,
        "tools/list",
    }
)
"""Requests without effect: sent again to the next generation when a server dies under them."""

SETS_STATE = frozenset({"initialize", "logging/setLevel", SUBSCRIBE, "resources/unsubscribe"})
"""Requests that set what a server knows of its client: doing them twice is doing them once. None is ever cancelled."""

REPEATABLE = SAFE | SETS_STATE | {LISTEN}
"""Requests that may be sent to the next generation when a server dies under them: safe, or the same when done twice."""

MAY_ASK = frozenset({"completion/complete", "prompts/get", "resources/read", "tasks/result", "tools/call"})
"""Requests during which a server may ask its client something. MCP 2025-11-25, "Sampling", "Elicitation"."""

REPEATABLE_NOTIFICATIONS = frozenset({"notifications/initialized", "notifications/roots/list_changed"})
"""Notifications of a host that are repeated if it is unknown whether they arrived."""

LIST_CHANGED = frozenset(
    {
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/tools/list_changed",
    }
)
"""Notifications of a server that concern every session."""

CAPABILITY_OF_QUESTION = {
    "elicitation/create": "elicitation",
    "roots/list": "roots",
    "sampling/createMessage": "sampling",
}
"""What a client must have declared to be asked."""
