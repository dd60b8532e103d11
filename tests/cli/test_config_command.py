"""`mux config`: each value with its source."""

from __future__ import annotations

import json

import pytest

from tests.support.runtime import Runtime


def write(runtime: Runtime, text: str) -> None:
    path = runtime.home / ".config" / "mux" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o644)


def test_without_a_file_everything_is_a_default(runtime: Runtime) -> None:
    done = runtime.mux("config")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("socket", "grace", "idle_timeout", "scope", "clients", "era", "logs", "fallback"):
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(name)]
        assert line.endswith("default")


def test_each_value_has_its_source(runtime: Runtime) -> None:
    write(
        runtime, 'grace = "2m"\n[env]\nignore = ["A"]\n[limits]\nsessions = 7\n[[server]]\nmatch = "x"\nscope = "user"'
    )
    runtime.environment["MUX_FALLBACK"] = "error"
    found = json.loads(runtime.mux("config", "--json", "--", "npx", "x@1").stdout)
    path = str(runtime.home / ".config" / "mux" / "config.toml")
    assert found["settings"]["grace"] == {"value": "120", "source": path}
    assert found["settings"]["fallback"] == {"value": "error", "source": "MUX_FALLBACK"}
    assert found["settings"]["scope"]["source"] == f"{path} [[server]] match = 'x'"
    assert found["limits"]["sessions"] == {"value": 7, "source": path}
    assert found["limits"]["kept_lines"] == {"value": 4096, "source": "default"}
    assert found["env"]["ignore"] == {"A": path}
    assert (found["sharing"]["scope"], found["complaints"]) == ("user", [])
    said = runtime.mux("config", "npx", "x@1").stdout
    assert "limits.sessions" in said
    assert f"shared within: user, asked for by {path}" in said


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_what_does_not_count_is_named_and_fails_the_command(runtime: Runtime, arguments: list[str]) -> None:
    write(runtime, "grace = -1")
    done = runtime.mux("config", *arguments)
    assert done.returncode == 1
    assert "grace is a time such as" in (done.stdout if arguments else done.stderr)


def test_a_known_server_is_named_with_what_it_can_bear(runtime: Runtime) -> None:
    said = runtime.mux("config", "npx", "@playwright/mcp@latest").stdout
    assert "shared within: session, known server" in said
    said = runtime.mux("config", "uvx", "mcp-server-fetch").stdout
    assert "--scope user would share it wider" in said
    assert "may be stopped when idle" in said


def test_the_schema_is_printed(runtime: Runtime) -> None:
    assert json.loads(runtime.mux("config", "--schema").stdout)["type"] == "object"


def test_status_looks_where_the_sessions_of_this_place_would(runtime: Runtime) -> None:
    write(runtime, f'socket = "{runtime.directory}/elsewhere.sock"')
    assert "elsewhere.sock" in runtime.mux("status").stdout
