"""Who shares with whom under each scope, with the environments that real hosts give; the values are made up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.core.test_environment import HOSTS, Host, claude_code, opencode
from tests.support.runtime import SCRIPTED, Runtime
from tests.support.session import Session

DIRECTORIES = 16
MIRROR = [sys.executable, str(Path(__file__).parents[1] / "upstreams" / "mirror.py")]
TOKEN = "NPM_TOKEN"
hosts = pytest.mark.parametrize("host", HOSTS, ids=lambda host: str(host.__name__))


def environment(runtime: Runtime, host: Host, n: int, cwd: Path) -> dict[str, str]:
    """What `host` gives its nth session in `cwd`, in this test's world."""
    found = {name.decode(): value.decode() for name, value in host(n).items()}
    kept = {name: value for name, value in found.items() if not name.startswith("MUX_")}
    kept |= {"HOME": str(runtime.home), "PATH": f"{found['PATH']}:{runtime.environment['PATH']}"}
    if "PWD" in kept:
        kept["PWD"] = str(cwd)
    if "CLAUDE_PROJECT_DIR" in kept:
        kept["CLAUDE_PROJECT_DIR"] = str(cwd)
    return kept


@pytest.fixture
def directories(runtime: Runtime) -> list[Path]:
    """Directories of one repository."""
    (runtime.project / ".git").mkdir()
    found = [runtime.project / f"d{n}" / "below" for n in range(DIRECTORIES)]
    for directory in found:
        directory.mkdir(parents=True)
    return found


def sessions(runtime: Runtime, host: Host, directories: list[Path], *command: str, scope: str) -> list[Session]:
    return [
        runtime.ready(*command, options=["--scope", scope], cwd=cwd, environment=environment(runtime, host, n, cwd))
        for n, cwd in enumerate(directories)
    ]


@hosts
def test_two_sessions_of_a_host_in_one_directory_share(runtime: Runtime, host: Host) -> None:
    first, second = sessions(runtime, host, [runtime.project, runtime.project], scope="directory")
    assert first.pid() == second.pid()


def mirrored(runtime: Runtime, given: dict[str, str]) -> tuple[int, dict[str, str]]:
    """The process that a session with that environment gets, and the environment that this one has."""
    runtime.environment, before = {**given, "MUXTEST_RUN": runtime.environment["MUXTEST_RUN"]}, runtime.environment
    try:
        session = runtime.ready(*MIRROR)
    finally:
        runtime.environment = before
    answer: dict[str, Any] = session.request("tools/list")
    return answer["pid"], answer["seen"]["environment"]


@hosts
def test_a_token_splits_and_nothing_private_to_a_session_reaches_a_server(runtime: Runtime, host: Host) -> None:
    """A token that differs, is empty, or is missing on one side."""
    plain, same, other, empty, missing = (environment(runtime, host, n, runtime.project) for n in range(1, 6))
    other[TOKEN] = "another"
    empty[TOKEN] = ""
    del missing[TOKEN]
    found = [mirrored(runtime, given) for given in (plain, same, other, empty, missing)]
    assert found[0][0] == found[1][0]
    assert len({pid for pid, _ in found}) == 4
    tokens = [seen.get(TOKEN) for _, seen in found]
    assert tokens == [plain[TOKEN], plain[TOKEN], "another", "", None]
    for _, seen in found:
        assert not [name for name, value in seen.items() if "private" in value]


@pytest.mark.parametrize("host", [opencode, claude_code])
def test_with_scope_user_one_server_at_home_serves_all_directories(
    runtime: Runtime, directories: list[Path], host: Host
) -> None:
    found = sessions(runtime, host, directories, scope="user")
    assert len({session.pid() for session in found}) == 1
    assert found[-1].call("cwd") == found[-1].call("environment", name="PWD") == str(runtime.home)
    if host is claude_code:
        assert found[-1].call("environment", name="CLAUDE_PROJECT_DIR") == str(runtime.home)


@pytest.mark.parametrize("host", [opencode, claude_code])
def test_with_scope_directory_each_has_its_own_in_its_directory(
    runtime: Runtime, directories: list[Path], host: Host
) -> None:
    found = sessions(runtime, host, directories, scope="directory")
    assert len({session.pid() for session in found}) == DIRECTORIES
    assert [session.call("cwd") for session in found] == [str(cwd) for cwd in directories]
    assert [session.call("environment", name="PWD") for session in found] == [str(cwd) for cwd in directories]


def test_with_scope_project_one_server_at_the_root_and_a_worktree_has_its_own(
    runtime: Runtime, directories: list[Path]
) -> None:
    worktree = runtime.directory / "worktree"
    (worktree / "below").mkdir(parents=True)
    (worktree / ".git").write_text("gitdir: elsewhere")
    *found, apart = sessions(runtime, claude_code, [*directories, worktree / "below"], scope="project")
    assert len({session.pid() for session in found}) == 1
    assert found[0].call("cwd") == found[0].call("environment", name="CLAUDE_PROJECT_DIR") == str(runtime.project)
    assert apart.call("cwd") == str(worktree)


def test_a_relative_path_in_the_command_line_keeps_directories_apart_under_user(
    runtime: Runtime, directories: list[Path]
) -> None:
    """As in `server-filesystem .`"""
    found = sessions(runtime, opencode, directories[:3], *SCRIPTED, "--name", ".", scope="user")
    assert len({session.pid() for session in found}) == 3
    assert [session.call("cwd") for session in found] == [str(cwd) for cwd in directories[:3]]


def test_with_scope_session_each_has_its_own_and_all_of_its_environment(runtime: Runtime) -> None:
    found = sessions(runtime, claude_code, [runtime.project] * 2, scope="session")
    assert found[0].pid() != found[1].pid()
    assert found[1].call("environment", name="CLAUDE_CODE_SESSION_ID") == "private-1"
