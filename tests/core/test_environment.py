"""The names are those that real hosts and terminals were seen to set; the values are made up."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.core.environment import Names, prepare, stable_path, untouched, variables, without_links
from mux.core.noise import FORMER_DIRECTORIES, NOISE, PROJECT_DIRECTORIES

HERE = b"/home/u/project"
CODEX_ENTRY = b"/home/u/.codex/tmp/arg0/codex-arg0Zx%dFMO"
VENDOR_ENTRY = b"/home/u/.npm/lib/node_modules/@openai/codex/vendor/x86_64-unknown-linux-musl/path"
SYSTEM = b"/usr/local/bin:/usr/bin:/bin"

Environment = dict[bytes, bytes]
Host = Callable[[int], Environment]


def shell(n: int) -> Environment:
    """A login shell in a terminal: what differs between two of them, and what does not."""
    return {
        b"HOME": b"/home/u",
        b"USER": b"u",
        b"LANG": b"C.UTF-8",
        b"TERM": b"xterm-256color",
        b"PATH": SYSTEM,
        b"SSH_AUTH_SOCK": b"/run/user/1000/agent",
        b"NPM_TOKEN": b"abc",
        b"PWD": HERE,
        b"OLDPWD": b"/home/u/old-%d" % n,
        b"INIT_CWD": b"/home/u/init-%d" % n,
        b"SHLVL": b"%d" % n,
        b"_": b"/usr/bin/private-%d" % n,
        b"TERM_SESSION_ID": b"private-%d" % n,
        b"TERM_PROGRAM": [b"iTerm.app", b"vscode"][n % 2],
        b"WINDOWID": b"private-%d" % n,
        b"TMUX": b"/tmp/tmux-1000/default,7,private-%d" % n,
        b"TMUX_PANE": b"%%private-%d" % n,
        b"STY": b"private-%d.pts-0" % n,
        b"SSH_CONNECTION": b"10.0.0.1 private-%d 10.0.0.2 22" % n,
        b"SSH_TTY": b"/dev/pts/private-%d" % n,
        b"GPG_TTY": b"/dev/pts/private-%d" % n,
        b"KITTY_WINDOW_ID": b"private-%d" % n,
        b"XDG_SESSION_ID": b"private-%d" % n,
        b"MUX_GRACE": b"private-%d" % n,
        b"MUX_INSIDE": b"private-%d" % n,
    }


def opencode(n: int) -> Environment:
    return shell(n) | {b"OPENCODE": b"1", b"OPENCODE_PID": b"private-%d" % n, b"AGENT": b"1"}


def claude_code(n: int) -> Environment:
    return shell(n) | {
        b"CLAUDE_PROJECT_DIR": HERE,
        b"CLAUDE_CODE_SESSION_ID": b"private-%d" % n,
        b"CLAUDE_CODE_LAUNCHED_BY_SESSION_IDS": b"private-%d" % n,
        b"CLAUDE_CODE_CHILD_NOTES_DIR": b"/tmp/claude-0/private-%d/started" % n,
        b"CLAUDE_CODE_MESSAGING_TOKEN": b"private-%d" % n,
        b"CLAUDE_CODE_MESSAGING_SOCKET": b"/tmp/private-%d.sock" % n,
        b"CLAUDE_CODE_ENTRYPOINT": b"cli",
        b"CLAUDECODE": b"1",
        b"AI_AGENT": b"claude-code",
    }


def codex(n: int) -> Environment:
    return {
        b"HOME": b"/home/u",
        b"LANG": b"C.UTF-8",
        b"PATH": b":".join([CODEX_ENTRY % n, VENDOR_ENTRY, SYSTEM]),
        b"SHELL": b"/bin/bash",
        b"TERM": b"xterm-256color",
        b"TMPDIR": b"/tmp",
        b"SSL_CERT_FILE": b"/etc/ssl/ca.pem",
        b"NPM_TOKEN": b"configured",
    }


def gemini_cli(n: int) -> Environment:
    return shell(n) | {b"GEMINI_CLI": b"1", b"GEMINI_CLI_IDE_SERVER_PORT": b"private-%d" % n}


def inspector(n: int) -> Environment:
    names = (b"HOME", b"PATH", b"TERM", b"USER", b"NPM_TOKEN")
    return {name: value for name, value in shell(n).items() if name in names} | {b"LOGNAME": b"u", b"SHELL": b"/bin/sh"}


HOSTS: list[Host] = [opencode, claude_code, codex, gemini_cli, inspector]
hosts = pytest.mark.parametrize("host", HOSTS, ids=lambda host: str(host.__name__))


def given_to(found: Environment, *, cwd: bytes = HERE, session_cwd: bytes = HERE) -> Environment:
    path = stable_path(found.get(b"PATH", b"").split(b":"), None)
    return variables(prepare(found, cwd=cwd, session_cwd=session_cwd, path=path))


@hosts
def test_two_sessions_of_a_host_in_one_directory_are_alike(host: Host) -> None:
    assert given_to(host(1)) == given_to(host(2))


@hosts
def test_nothing_private_to_a_session_reaches_the_server(host: Host) -> None:
    entries = prepare(host(1), cwd=HERE, session_cwd=HERE, path=stable_path(host(1)[b"PATH"].split(b":"), None))
    assert not [entry for entry in entries if b"private" in entry or entry.startswith((b"MUX_", b"OLDPWD", b"INIT_"))]
    assert not [entry for entry in entries if b"codex-arg0" in entry]


@hosts
@pytest.mark.parametrize("value", [b"other", b"", None])
def test_a_token_that_differs_or_is_empty_or_missing_splits(host: Host, value: bytes | None) -> None:
    other = host(2)
    if value is None:
        del other[b"NPM_TOKEN"]
    else:
        other[b"NPM_TOKEN"] = value
    assert given_to(host(1)) != given_to(other)


def test_an_empty_and_a_missing_token_are_different() -> None:
    assert given_to({b"NPM_TOKEN": b""}) != given_to({})


def test_two_kinds_of_host_are_told_apart() -> None:
    found = [given_to(host(1)) for host in HOSTS]
    assert all(a != b for at, a in enumerate(found) for b in found[:at])


@pytest.mark.parametrize(
    "name",
    [
        b"SSH_AUTH_SOCK",
        b"CLAUDECODE",
        b"CLAUDE_CODE_ENTRYPOINT",
        b"CLAUDE_CODE_OAUTH_TOKEN",
        b"OPENCODE",
        b"OPENCODE_CONFIG",
        b"OPENCODE_API_KEY",
        b"AGENT",
        b"GEMINI_CLI",
        b"AI_AGENT",
        b"VSCODE_GIT_IPC_HANDLE",
        b"TERM",
        b"DISPLAY",
        b"NVIM",
        b"HOME",
        b"LD_PRELOAD",
        b"NODE_OPTIONS",
        b"npm_config_registry",
        b"CONTEXT_MODE_PROJECT_DIR",
        b"HTTPS_PROXY",
    ],
)
def test_what_changes_a_server_counts_and_reaches_it(name: bytes) -> None:
    assert given_to({name: b"1"})[name] == b"1"
    assert given_to({name: b"1"}) != given_to({name: b"2"})


def test_the_servers_directory_is_the_one_it_starts_in_whatever_the_host_says() -> None:
    stale = {b"PWD": b"/where/the/host/was/started", b"OLDPWD": b"/x", b"INIT_CWD": b"/y"}
    assert given_to(stale) == given_to({}) == {b"PWD": HERE}


@pytest.mark.parametrize("value", [HERE, HERE + b"/"])
def test_a_project_directory_that_is_the_sessions_becomes_the_servers(value: bytes) -> None:
    found = {b"CLAUDE_PROJECT_DIR": value}
    assert given_to(found)[b"CLAUDE_PROJECT_DIR"] == HERE
    assert given_to(found, cwd=b"/home/u")[b"CLAUDE_PROJECT_DIR"] == b"/home/u"
    assert b"CLAUDE_PROJECT_DIR" not in given_to({})


def test_a_project_directory_elsewhere_is_the_users_choice_and_splits() -> None:
    """As when a wrapper changes the directory first: the variable alone then says which project is meant."""
    a, b = (given_to({b"CLAUDE_PROJECT_DIR": name}, session_cwd=b"/opt/server") for name in (b"/p1", b"/p2"))
    assert a != b
    assert a[b"CLAUDE_PROJECT_DIR"] == b"/p1"


def test_a_session_in_a_sub_directory_gets_the_project_under_a_wider_scope() -> None:
    found = {b"CLAUDE_PROJECT_DIR": b"/p/sub", b"PWD": b"/p/sub"}
    elsewhere = {b"CLAUDE_PROJECT_DIR": b"/p", b"PWD": b"/p"}
    assert given_to(found, cwd=b"/p", session_cwd=b"/p/sub") == given_to(elsewhere, cwd=b"/p", session_cwd=b"/p")


def test_names_can_be_added_either_way_and_ignore_wins() -> None:
    found = {b"TMUX": b"t", b"TMUX_PANE": b"p", b"MINE": b"1", b"MINE_TOO": b"2", b"MUX_SCOPE": b"user", b"PWD": b"/x"}
    entries = prepare(
        found, cwd=HERE, session_cwd=HERE, ignore=[b"MINE*", b"TMUX_PANE"], count=[b"TMUX*", b"MUX_SCOPE"]
    )
    assert entries == (b"PWD=" + HERE, b"TMUX=t")
    assert prepare(found, cwd=HERE, session_cwd=HERE, ignore=[b"*"]) == ()
    assert b"PWD=/x" in prepare(found, cwd=HERE, session_cwd=HERE, count=[b"PWD"])


def test_a_directory_made_for_one_process_does_not_stay_in_path_unless_command_is_there() -> None:
    entries = [CODEX_ENTRY % 1, b"/tmp/xfs-0a1b2c3d", b"/usr/bin", b"", b"/usr/bin", b"/opt/codex-arg0"]
    assert stable_path(entries, None) == [b"/usr/bin", b"", b"/usr/bin", b"/opt/codex-arg0"]
    assert stable_path(entries, CODEX_ENTRY % 1)[0] == CODEX_ENTRY % 1


def test_a_link_made_for_one_shell_counts_as_its_target() -> None:
    def target(link: bytes) -> bytes:
        assert link == b"/run/user/1000/fnm_multishells/31191_1754531824712"
        return b"/home/u/.local/share/fnm/node-versions/v24/installation"

    path = b"/run/user/1000/fnm_multishells/31191_1754531824712/bin:/usr/bin"
    assert without_links(path, target) == [b"/home/u/.local/share/fnm/node-versions/v24/installation/bin", b"/usr/bin"]


def test_of_a_name_given_twice_the_first_counts_as_for_getenv() -> None:
    assert variables([b"A=1", b"A=2", b"B==", b"C=", b"nothing", b"=odd", b"", b"\xff=\xfe"]) == {
        b"A": b"1",
        b"B": b"=",
        b"C": b"",
        b"\xff": b"\xfe",
    }


def test_nothing_but_our_own_is_taken_from_a_server_that_is_not_shared() -> None:
    found = shell(1)
    kept = variables(untouched(found))
    assert kept == {name: value for name, value in found.items() if not name.startswith(b"MUX_")}


names = st.sampled_from(
    [b"PWD", b"PATH", b"OLDPWD", b"CLAUDE_PROJECT_DIR", b"SHLVL", b"MUX_INSIDE", b"TOKEN", b"\xff", b"KITTY_PID"]
)
values = st.sampled_from([b"", b"x", HERE, b"/home/u", b"/bin:" + CODEX_ENTRY % 1, b"a=b", b"\xfe"])


@given(st.dictionaries(names, values), st.sampled_from([HERE, b"/home/u"]))
def test_a_server_below_a_server_has_the_same_environment(found: Environment, cwd: bytes) -> None:
    once = given_to(found, cwd=cwd)
    assert given_to(once, cwd=cwd, session_cwd=cwd) == once


@given(st.permutations([b"B=2", b"A=1", b"A=", b"AB=3", b"\xff=4"]))
def test_the_order_of_variables_does_not_reach_the_server(entries: list[bytes]) -> None:
    unique = [entry for entry in entries if entry != b"A="]
    given = prepare(variables(unique), cwd=HERE, session_cwd=HERE)
    assert given == (b"A=1", b"AB=3", b"B=2", b"PWD=" + HERE, b"\xff=4")


def test_the_list_of_noise_names_no_credential_and_no_kind_of_host() -> None:
    noise = Names(name for group in NOISE.values() for name in group)
    everything = [name for group in NOISE.values() for name in group]
    assert len(everything) == len(set(everything))
    assert not (FORMER_DIRECTORIES | PROJECT_DIRECTORIES) & set(everything)
    for name in (
        b"SSH_AUTH_SOCK",
        b"GITHUB_TOKEN",
        b"OPENAI_API_KEY",
        b"AWS_SESSION_TOKEN",
        b"CLAUDECODE",
        b"OPENCODE",
    ):
        assert name not in noise
