"""The data on servers that are known."""

from __future__ import annotations

import shlex

import pytest

from mux.config.values import WIDTH
from mux.known import Known, about, entries

ALL = pytest.mark.parametrize("entry", entries(), ids=lambda entry: str(entry.names[0]))


@ALL
def test_an_entry_has_a_reason_and_evidence_for_all_that_it_says(entry: Known) -> None:
    assert entry.names
    assert all(name == name.lower() and "_" not in name for name in entry.names)
    assert entry.scope in ("", *WIDTH[:-1])
    assert entry.suggest in ("", *WIDTH[2:])
    assert not (entry.scope and entry.suggest)
    assert bool(entry.reason) >= bool(entry.scope or entry.suggest)
    assert entry.restart in ("", "safe")
    assert bool(entry.restart) == bool(entry.restart_reason)
    assert entry.scope or entry.suggest or entry.restart
    assert entry.evidence
    assert all(source.startswith("https://") for source in entry.evidence)
    assert not entry.reason.endswith(".")


@ALL
def test_what_bears_one_session_only_is_never_called_safe_to_stop(entry: Known) -> None:
    assert not (entry.scope == "session" and entry.restart)


def test_no_name_stands_twice() -> None:
    listed = [name for entry in entries() for name in entry.names]
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize(
    ("line", "scope", "suggest", "restart"),
    [
        ("npx @playwright/mcp@latest", "session", "", ""),
        ("npx -y @modelcontextprotocol/server-puppeteer", "session", "", ""),
        ("npx chrome-devtools-mcp@latest --isolated", "session", "", ""),
        ("npx @browsermcp/mcp", "session", "", ""),
        ("npx -y @wonderwhy-er/desktop-commander@latest", "session", "", ""),
        ("npx -y iterm-mcp", "session", "", ""),
        ("npx -y @modelcontextprotocol/server-sequential-thinking", "session", "", ""),
        ("context-mode", "project", "", "safe"),
        ("npx -y @modelcontextprotocol/server-filesystem /data", "", "", "safe"),
        ("npx -y @upstash/context7-mcp", "", "user", "safe"),
        ("uvx mcp-server-fetch", "", "user", "safe"),
        ("docker run -i --rm mcp/fetch", "", "user", "safe"),
    ],
)
def test_what_is_known_of_real_command_lines(line: str, scope: str, suggest: str, restart: str) -> None:
    entry = about(shlex.split(line))
    assert entry is not None
    assert (entry.scope, entry.suggest, entry.restart) == (scope, suggest, restart)


def test_of_several_names_the_one_that_bears_least_decides() -> None:
    entry = about(["sh", "-c", "uvx mcp-server-fetch; npx @playwright/mcp"])
    assert entry is not None
    assert entry.scope == "session"


def test_nothing_is_held_against_a_server_that_nobody_has_looked_at() -> None:
    assert about(["my-own-server"]) is None
    assert about([]) is None
