"""How widely the server of a session is shared, and what is said about why."""

from __future__ import annotations

import pytest

from mux.backend.sharing import choose, idle_timeout, known
from mux.core.identity import Sharing
from mux.errors import UsageError
from mux.limits import IDLE_SECONDS

BROWSER = known([b"npx", b"@playwright/mcp@latest"])
PROJECT = known([b"context-mode"])
DOCUMENTATION = known([b"npx", b"-y", b"@upstash/context7-mcp"])


@pytest.mark.parametrize(
    ("options", "scope", "says"),
    [
        ({}, "directory", "by default"),
        ({"scope": "user"}, "user", "asked for by --scope"),
        ({"scope": "project", "scope-source": "/c.toml [[server]]"}, "project", "asked for by /c.toml [[server]]"),
        ({"default-scope": "user", "default-scope-source": "MUX_SCOPE"}, "user", "asked for by MUX_SCOPE"),
        ({"no-share": "1", "scope": "user"}, "session", "--no-share"),
        ({"narrow": "session", "narrow-source": "/p/mux.toml"}, "session", "narrowed by /p/mux.toml"),
        ({"scope": "user", "narrow": "project"}, "project", "narrowed by the project"),
        ({"scope": "project", "narrow": "user"}, "project", "asked for by --scope"),
        ({"narrow": "user"}, "directory", "by default"),
    ],
)
def test_of_a_server_that_nobody_knows(options: dict[str, str], scope: str, says: str) -> None:
    chosen = choose(options, None)
    assert (chosen.scope, chosen.hint) == (scope, "")
    assert says in chosen.reason


@pytest.mark.parametrize(
    ("options", "scope"),
    [
        ({}, "session"),
        ({"default-scope": "user"}, "session"),
        ({"scope": "directory"}, "directory"),
        ({"scope": "user"}, "user"),
        ({"narrow": "directory"}, "session"),
        ({"scope": "user", "narrow": "session"}, "session"),
    ],
)
def test_a_browser_is_shared_only_where_somebody_means_this_very_server(options: dict[str, str], scope: str) -> None:
    chosen = choose(options, BROWSER)
    assert chosen.scope == scope
    if options in ({}, {"default-scope": "user"}):
        assert "known server: it drives one browser" in chosen.reason
        assert "--scope" in chosen.reason


def test_a_default_for_all_stops_at_what_a_server_can_bear() -> None:
    assert choose({"default-scope": "user"}, PROJECT).scope == "project"
    assert choose({"default-scope": "directory"}, PROJECT).scope == "directory"
    assert choose({}, PROJECT).scope == "directory"


def test_a_wider_scope_is_suggested_and_never_taken() -> None:
    chosen = choose({}, DOCUMENTATION)
    assert chosen.scope == "directory"
    assert "--scope user would share it wider" in chosen.hint
    assert choose({"scope": "directory"}, DOCUMENTATION).hint == ""
    assert choose({"default-scope": "user"}, DOCUMENTATION) == Sharing("user", "asked for by the configuration")
    assert choose({"narrow": "session"}, DOCUMENTATION).hint == ""


@pytest.mark.parametrize(
    "options", [{"scope": "x"}, {"default-scope": "x"}, {"narrow": "x"}, {"clients": "x"}, {"era": "x"}, {"logs": "x"}]
)
def test_what_there_is_not_is_refused_with_what_there_is(options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="is none of"):
        choose(options, None)


def test_in_the_modern_era_alone_clients_of_every_kind_are_one_kind() -> None:
    assert choose({"era": "modern"}, None) == choose({"era": "modern", "clients": "any"}, None)
    assert choose({"era": "legacy"}, None).clients == "exact"
    assert choose({"era": "modern", "no-share": "1"}, None).only == "modern"


def test_log_messages_are_shared_only_where_that_is_asked_for() -> None:
    assert (choose({}, None).logs, choose({"logs": "share"}, None).logs) == ("own", "share")


def test_only_what_loses_nothing_is_stopped_by_itself() -> None:
    assert idle_timeout(DOCUMENTATION) == idle_timeout(PROJECT) == IDLE_SECONDS
    assert idle_timeout(BROWSER) is None
    assert idle_timeout(None) is None
