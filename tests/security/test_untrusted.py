"""A mux.toml that comes with a repository, and wants more than it may have. The user's own file says where we meet."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.security.support import NOBODY, listening, root_only, started
from tests.support.runtime import SCRIPTED, Runtime, program
from tests.support.session import Session

SECRET = "canary-7f3a-of-the-repository"


@pytest.fixture(autouse=True)
def users_choice(runtime: Runtime) -> Path:
    """The user's file: its socket counts wherever nobody with more to say names another."""
    path = runtime.home / ".config" / "mux" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(f'socket = "{runtime.socket}"\ngrace = {runtime.grace}\n')
    path.chmod(0o644)
    return path


def repository(runtime: Runtime, text: str) -> Path:
    path = runtime.project / "mux.toml"
    path.write_text(text)
    path.chmod(0o644)
    return path


def session(runtime: Runtime, *options: str, cwd: Path | None = None, **environment: str) -> Session:
    found = Session(
        [program("mux-shim"), *options, *SCRIPTED],
        environment={**runtime.environment, **environment},
        cwd=cwd or runtime.project,
    )
    runtime.sessions.append(found)
    found.initialize()
    return found


def says_how_to_allow_it(runtime: Runtime, found: Session, what: str) -> None:
    assert what in found.stderr
    assert f"not trusted; `mux trust {runtime.project}` allows it" in found.stderr
    assert found.stderr.count("\n") == 1


def test_it_can_not_have_the_environment_sent_to_a_socket_of_its_own(runtime: Runtime) -> None:
    elsewhere = Runtime(runtime.directory / "elsewhere")
    repository(runtime, f'socket = "{elsewhere.socket}"')
    with listening(elsewhere, "none") as heard:
        one = session(runtime, API_TOKEN=SECRET)
        says_how_to_allow_it(runtime, one, "socket = '/")
        assert len(runtime.status()["sessions"]) == 1, "it is served where the user said"
    assert heard == {"connections": 0, "bytes": 0, "descriptors": 0}

    assert runtime.mux("trust", str(runtime.project)).returncode == 0
    with listening(elsewhere, "none") as heard:
        trusting = started(runtime, [program("mux-shim"), *SCRIPTED], API_TOKEN=SECRET)
        trusting.initialize()  # the intruder welcomes nobody, so the server runs directly in the end
    assert heard["bytes"] > len(SECRET), "which is what trusting it means"
    shutil.rmtree(elsewhere.directory)


@pytest.mark.parametrize("where", ["./run/s.sock", "../s.sock", "run/s.sock", "~/s.sock"])
def test_no_path_counts_however_it_is_written(runtime: Runtime, where: str) -> None:
    (runtime.project / "run").mkdir(mode=0o700)
    repository(runtime, f'socket = "{where}"')
    says_how_to_allow_it(runtime, session(runtime), f"socket = '{where}'")
    assert len(runtime.status()["sessions"]) == 1
    assert not list(runtime.project.rglob("*.sock"))


def test_it_can_not_let_a_server_see_what_is_private_to_a_session(runtime: Runtime) -> None:
    repository(runtime, '[env]\ncount = ["*"]')
    one = session(runtime, CLAUDE_CODE_MESSAGING_TOKEN=SECRET)
    says_how_to_allow_it(runtime, one, "[env]")
    assert one.call("environment", name="CLAUDE_CODE_MESSAGING_TOKEN") == "null"


def test_it_can_not_join_sessions_with_different_tokens(runtime: Runtime) -> None:
    repository(runtime, '[env]\nignore = ["API_TOKEN"]')
    one, other = (session(runtime, API_TOKEN=f"{SECRET}-{n}") for n in (1, 2))
    says_how_to_allow_it(runtime, one, "[env]")
    assert one.pid() != other.pid()
    assert other.call("environment", name="API_TOKEN") == f"{SECRET}-2"


@pytest.mark.parametrize(
    "text",
    ['scope = "user"', '[[server]]\nmatch = "*"\nscope = "user"', '[[server]]\nmatch = "scripted"\nscope = "project"'],
)
def test_it_can_not_share_wider(runtime: Runtime, text: str) -> None:
    (runtime.project / ".git").mkdir()
    below = runtime.project / "below"
    below.mkdir()
    repository(runtime, text)
    one, other = session(runtime, cwd=below), session(runtime)
    if "scripted" not in text:
        says_how_to_allow_it(runtime, one, "scope = 'user'")
    assert one.pid() != other.pid()
    assert one.call("cwd") == str(below)


def test_it_can_not_make_hosts_of_every_kind_one(runtime: Runtime) -> None:
    repository(runtime, 'clients = "any"')
    one = session(runtime)
    says_how_to_allow_it(runtime, one, "clients = 'any'")
    assert {upstream["clients"] for upstream in runtime.status()["upstreams"]} == {"exact"}


def test_it_can_not_overrule_that_a_server_must_not_run_by_itself(runtime: Runtime, users_choice: Path) -> None:
    users_choice.write_text(f'socket = "{runtime.directory}/none/below/s.sock"\nfallback = "error"\n')
    repository(runtime, 'fallback = "direct"')
    found = started(runtime, [program("mux-shim"), *SCRIPTED])
    assert found.wait() == 1
    assert "not started, as fallback = error asks" in found.stderr
    assert f"`mux trust {runtime.project}` allows it" in found.stderr


def test_it_can_not_shrink_what_others_are_served_with(runtime: Runtime) -> None:
    repository(runtime, "[limits]\nsessions = 1")
    one, other = session(runtime), session(runtime)
    says_how_to_allow_it(runtime, one, "[limits]")
    assert one.pid() == other.pid()


def test_it_may_share_narrower_and_that_needs_no_word(runtime: Runtime) -> None:
    repository(runtime, 'scope = "session"')
    one, other = session(runtime), session(runtime)
    assert one.stderr == ""
    assert one.pid() != other.pid()


@pytest.mark.parametrize("whose", [pytest.param("foreign", marks=root_only), "writable"])
def test_a_file_that_others_could_have_written_counts_for_nothing_trusted_or_not(runtime: Runtime, whose: str) -> None:
    path = repository(runtime, 'scope = "session"')
    assert runtime.mux("trust", str(runtime.project)).returncode == 0
    if whose == "foreign":
        os.chown(path, NOBODY, NOBODY)
    else:
        path.chmod(0o666)
    one, other = session(runtime), session(runtime)
    assert one.pid() == other.pid()
    assert f"{path}: is ignored" in one.stderr
    assert runtime.mux("trust", str(runtime.project)).returncode != 0
