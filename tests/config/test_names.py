"""By which names a server is known, whatever starts it."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.config.names import names


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("context-mode", "context-mode"),
        ("/usr/local/bin/context-mode --x", "context-mode"),
        ("Context_Mode.EXE", "context-mode"),
        ("npx @playwright/mcp@latest --headless", "@playwright/mcp"),
        ("npx -y @playwright/mcp@0.0.41", "@playwright/mcp"),
        ("npx --yes --registry https://r.example @playwright/mcp", "@playwright/mcp"),
        ("npx -y -p @upstash/context7-mcp@1.2 context7-mcp", "@upstash/context7-mcp"),
        ("npx --package=@upstash/context7-mcp -- context7-mcp", "context7-mcp"),
        ("/opt/node/bin/npx.cmd -y chrome-devtools-mcp@1", "chrome-devtools-mcp"),
        ("npm exec -y -- @playwright/mcp", "@playwright/mcp"),
        ("pnpm dlx chrome-devtools-mcp", "chrome-devtools-mcp"),
        ("yarn dlx chrome-devtools-mcp@2.1", "chrome-devtools-mcp"),
        ("bunx @playwright/mcp", "@playwright/mcp"),
        ("bun x @playwright/mcp", "@playwright/mcp"),
        ("deno run -A npm:@playwright/mcp@1", "@playwright/mcp"),
        ("uvx mcp-server-fetch", "mcp-server-fetch"),
        ("uvx mcp_server_fetch==2025.4.7", "mcp-server-fetch"),
        ("uvx mcp-server-fetch[all]>=1", "mcp-server-fetch"),
        ("uvx --python 3.12 --with httpx mcp-server-fetch@latest", "mcp-server-fetch"),
        ("uvx --from git+https://github.com/oraios/serena@v1 serena start", "serena"),
        ("uv tool run mcp-server-fetch", "mcp-server-fetch"),
        ("uv run --directory /x mcp-server-fetch", "mcp-server-fetch"),
        ("uv run python -m mcp_server_fetch", "mcp-server-fetch"),
        ("pipx run --spec mcp-server-fetch==1 fetch", "mcp-server-fetch"),
        ("python -m mcp_server_fetch", "mcp-server-fetch"),
        ("/usr/bin/python3.12 -I -X utf8 -m mcp_server_fetch.main", "mcp-server-fetch"),
        ("node /x/node_modules/@playwright/mcp/cli.js", "@playwright/mcp"),
        ("node --enable-source-maps /x/node_modules/context-mode/start.mjs", "context-mode"),
        ("/x/node_modules/.bin/context-mode", "context-mode"),
        ("node /home/u/my-server.js", "my-server"),
        ("docker run -i --rm -e A=b -v /a:/b mcp/playwright:latest --x", "mcp/playwright"),
        ("docker run --rm -it --network host mcr.microsoft.com/playwright/mcp", "mcr.microsoft.com/playwright/mcp"),
        ("podman run -i localhost:5000/mcp/fetch@sha256:00", "localhost:5000/mcp/fetch"),
        ("env A=1 B=2 npx @playwright/mcp", "@playwright/mcp"),
        ("env -u A timeout 5 nice -n 5 npx @playwright/mcp", "@playwright/mcp"),
        ("sh -c 'cd /x && A=1 exec npx -y @playwright/mcp@1 --x'", "@playwright/mcp"),
        ("bash -lc 'npx @playwright/mcp | tee log'", "@playwright/mcp"),
        ("cmd /c npx -y @playwright/mcp", "@playwright/mcp"),
        ("sudo -u me docker run mcp/fetch", "mcp/fetch"),
        ("mise exec -- npx @playwright/mcp", "@playwright/mcp"),
        ("go run github.com/x/my-server@latest", "my-server"),
    ],
)
def test_it_is_known_by_its_own_name(line: str, name: str) -> None:
    assert name in names(shlex.split(line))


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("npx -y other @playwright/mcp", "@playwright/mcp"),
        ("my-server --browser @playwright/mcp", "@playwright/mcp"),
        ("uvx --with mcp-server-fetch other", "mcp-server-fetch"),
        ("node server.js context-mode", "context-mode"),
        ("docker run mcp/other mcp/playwright", "mcp/playwright"),
        ("python -m other context-mode", "context-mode"),
    ],
)
def test_what_it_is_told_or_given_is_no_name_of_it(line: str, name: str) -> None:
    assert name not in names(shlex.split(line))


@pytest.mark.parametrize(
    "line", ["", "npx", "npx -y", "sh", "sh -c", "docker run", "docker ps", "env", "timeout", "uvx --from"]
)
def test_a_command_line_that_names_nothing_has_no_name(line: str) -> None:
    assert names(shlex.split(line)) == frozenset()


WORDS = st.sampled_from(
    [
        "npx",
        "uvx",
        "env",
        "sh",
        "-c",
        "-y",
        "--from",
        "docker",
        "run",
        "timeout",
        "'",
        "a b",
        "@x/y@1",
        "",
        "/",
        "-",
        "--",
        "=",
    ]
)


@given(st.lists(WORDS | st.text(max_size=5), max_size=12))
def test_no_command_line_is_an_error(argv: list[str]) -> None:
    assert all(name == name.lower() for name in names(argv))
