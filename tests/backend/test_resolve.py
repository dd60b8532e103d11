"""From HELLO to a server: what is started, and under which key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mux.backend.resolve import duration, identify, resolve
from mux.core.events import SessionOpened
from mux.core.identity import differences
from mux.errors import Denied, UsageError
from mux.limits import GRACE_SECONDS
from tests.backend.place import Place, given_to

YEAR = 365 * 86_400


def test_a_server_is_started_as_the_host_would_have_started_it(place: Place) -> None:
    opened = resolve(7, place.hello("server", "--flag", environment=[b"TOKEN=t", b"SHLVL=3"], umask=0o077))
    assert opened.session == 7
    assert opened.spec.argv == (b"server", b"--flag")
    assert opened.spec.executable == os.fsencode(place.server)
    assert opened.spec.cwd == os.fsencode(place.repository)
    assert opened.spec.umask == 0o077
    assert opened.spec.limits == (b"RLIMIT_NOFILE=1024:4096",)
    assert given_to(opened) == {
        b"HOME": os.fsencode(place.home),
        b"PATH": os.fsencode(place.bin),
        b"PWD": os.fsencode(place.repository),
        b"TOKEN": b"t",
        b"MUX_INSIDE": opened.base_key.hex().encode(),
    }
    assert (opened.grace, opened.shared, opened.resumed) == (GRACE_SECONDS, True, False)


def test_equal_hellos_have_equal_keys_and_a_known_session_is_resumed(place: Place) -> None:
    first, again = resolve(1, place.hello()), resolve(2, place.hello(session=b"s"))
    assert first.base_key == again.base_key
    assert again.resumed


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"umask": 0o077}, "umask"),
        ({"limits": [b"RLIMIT_NOFILE=1:1"]}, "limit RLIMIT_NOFILE"),
        ({"environment": [b"TOKEN=t"]}, "environment TOKEN"),
    ],
)
def test_what_a_server_can_see_splits(place: Place, change: dict[str, object], part: str) -> None:
    a, b = identify(place.hello()), identify(place.hello(**change))  # type: ignore[arg-type]
    assert a.base_key() != b.base_key()
    assert differences(a, b) == [part]


def test_the_command_is_found_in_the_sessions_path_and_kept_as_found(place: Place, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(place.bin)
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "server").write_text("not executable")
    (tmp_path / "second" / "server").mkdir(parents=True)
    spec = resolve(1, place.hello(path=f"{tmp_path}/first:{tmp_path}/second:{link}")).spec
    assert spec.executable == os.fsencode(link / "server")


@pytest.mark.parametrize("entry", ["", ".", "bin"])
def test_an_entry_of_path_can_be_relative_to_the_session(place: Place, entry: str) -> None:
    server = place.command(place.sub / entry, "other")
    found = resolve(1, place.hello("other", cwd=place.sub, path=f"/nowhere:{entry}")).spec.executable
    assert os.path.samefile(found, server)
    assert os.path.isabs(found)


def test_a_command_with_a_slash_is_a_path_from_the_sessions_directory(place: Place) -> None:
    place.command(place.repository / "tools", "server")
    spec = resolve(1, place.hello("tools/server")).spec
    assert spec.executable == os.fsencode(place.repository / "tools" / "server")
    assert spec.argv == (b"tools/server",)


@pytest.mark.parametrize("path", ["", "/nowhere"])
def test_a_command_that_is_not_found_is_left_to_the_launch(place: Place, path: str) -> None:
    spec = resolve(1, place.hello("absent-command", path=path)).spec
    assert spec.executable == b"absent-command"


def test_without_path_the_systems_default_is_searched(place: Place) -> None:
    hello = place.hello("sh")
    hello.environment = (b"HOME=/",)
    opened = resolve(1, hello)
    assert opened.spec.executable in (b"/bin/sh", b"/usr/bin/sh")
    assert b"PATH" not in given_to(opened)


def test_a_host_with_a_random_directory_in_path_shares(place: Place, tmp_path: Path) -> None:
    keys = set()
    for n in range(2):
        own = place.command(tmp_path / "tmp" / "arg0" / f"codex-arg0Abc12{n}", "apply_patch").parent
        opened = resolve(n, place.hello(path=f"{own}:{place.bin}"))
        assert given_to(opened)[b"PATH"] == os.fsencode(place.bin)
        keys.add(opened.base_key)
    assert len(keys) == 1


def test_the_directory_in_which_the_command_stands_is_never_lost(place: Place, tmp_path: Path) -> None:
    own = place.command(tmp_path / "codex-arg0Abc123", "apply_patch").parent
    opened = resolve(1, place.hello("apply_patch", path=f"{own}:{place.bin}"))
    assert opened.spec.executable == os.fsencode(own / "apply_patch")
    assert given_to(opened)[b"PATH"] == os.fsencode(f"{own}:{place.bin}")


def test_shells_with_links_of_their_own_to_one_node_share_and_to_another_do_not(place: Place, tmp_path: Path) -> None:
    keys = []
    for n, version in enumerate(["v22", "v24", "v24"]):
        place.command(tmp_path / version / "bin", "node")
        link = tmp_path / "fnm_multishells" / f"{n}_1754531824712"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(tmp_path / version)
        opened = resolve(n, place.hello("node", path=f"{link}/bin:{place.bin}"))
        assert opened.spec.executable == os.fsencode(tmp_path / version / "bin" / "node")
        keys.append(opened.base_key)
    assert keys[0] != keys[1] == keys[2]


@pytest.mark.parametrize("options", [[b"scope=session"], [b"no-share="], [b"no-share"]])
def test_a_session_that_does_not_share_has_a_key_of_its_own_and_all_of_its_environment(
    place: Place, options: list[bytes]
) -> None:
    environment = [b"SHLVL=3", b"PWD=/elsewhere", b"OLDPWD=/old", b"TMUX=t", b"MUX_SCOPE=user"]
    a, b = (resolve(n, place.hello(options=options, environment=environment)) for n in (1, 2))
    assert a.base_key != b.base_key
    assert not a.shared
    kept = given_to(a)
    assert (kept[b"SHLVL"], kept[b"PWD"], kept[b"OLDPWD"], kept[b"TMUX"]) == (b"3", b"/elsewhere", b"/old", b"t")
    assert [name for name in kept if name.startswith(b"MUX_")] == [b"MUX_INSIDE"]


def test_the_last_of_an_option_counts_and_variables_and_unknown_options_do_not(place: Place) -> None:
    opened = resolve(
        1,
        place.hello(
            environment=[b"MUX_GRACE=nonsense", b"MUX_SCOPE=user"],
            options=[b"grace=5", b"grace=7s", b"scope=directory", b"of-another-version=1"],
        ),
    )
    assert opened.grace == 7
    assert opened.base_key == resolve(1, place.hello()).base_key


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30),
        ("0", 0),
        ("1.5", 1.5),
        ("90s", 90),
        ("15m", 900),
        ("1h", 3600),
        ("500ms", 0.5),
        ("1e+06", 1e6),
        ("9e+99", YEAR),
    ],
)
def test_a_duration_is_seconds_or_has_a_unit(text: str, seconds: float) -> None:
    assert duration(text, "grace") == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1d", "inf", "nan", "1e9", "9" * 400, "1 2", "٣"])
def test_a_malformed_duration_is_refused_with_the_name_of_the_option(place: Place, text: str) -> None:
    with pytest.raises(UsageError, match="grace"):
        resolve(1, place.hello(options=[b"grace=" + text.encode()]))


def test_an_unknown_scope_is_refused_with_the_ones_there_are(place: Place) -> None:
    with pytest.raises(UsageError, match="directory, project, user, session"):
        resolve(1, place.hello(options=[b"scope=\xff"]))


def test_no_command_and_a_relative_directory_are_refused(place: Place) -> None:
    hello = place.hello()
    hello.cwd = b"here"
    with pytest.raises(UsageError, match="directory"):
        resolve(1, hello)
    hello.argv = ()
    with pytest.raises(UsageError, match="command"):
        resolve(1, hello)


@pytest.mark.parametrize("option", [b"scope=directory", b"scope=project", b"scope=user", b"scope=session"])
def test_a_session_below_its_own_server_is_denied_and_another_is_not(place: Place, option: bytes) -> None:
    outer = resolve(1, place.hello(options=[option], environment=[b"SHLVL=1", b"OLDPWD=/", b"TMUX=t"]))
    inner = place.hello(options=[option])
    inner.cwd = outer.spec.cwd
    inner.environment = outer.spec.environment
    with pytest.raises(Denied):
        resolve(2, inner)
    inner.argv = (b"server", b"--other")
    above = given_to(resolve(3, inner))[b"MUX_INSIDE"]
    assert above.startswith(given_to(outer)[b"MUX_INSIDE"] + b":")


def test_the_servers_above_are_no_part_of_the_key(place: Place) -> None:
    assert resolve(1, place.hello(environment=[b"MUX_INSIDE=aa:bb"])).base_key == resolve(1, place.hello()).base_key


def test_variables_can_be_counted_and_ignored_by_the_configuration(place: Place) -> None:
    environment = [b"TMUX=t", b"MINE_A=1", b"MINE_B=2"]
    opened = resolve(
        1, place.hello(environment=environment, options=[b"env-count=TMUX", b"env-ignore=MINE_*", b"env-ignore=X"])
    )
    kept = given_to(opened)
    assert kept[b"TMUX"] == b"t"
    assert not [name for name in kept if name.startswith(b"MINE")]


def test_an_idle_timeout_of_the_session_overrules_what_is_known(place: Place) -> None:
    place.command(place.bin, "context-mode")
    assert resolve(1, place.hello("server")).idle_timeout is None
    assert resolve(1, place.hello("context-mode")).idle_timeout == 900
    assert resolve(1, place.hello("context-mode", options=[b"idle-timeout=0"])).idle_timeout == 0
    assert resolve(1, place.hello("server", options=[b"idle-timeout=5m"])).idle_timeout == 300


def test_a_browser_gets_a_server_for_each_session_and_says_why(place: Place) -> None:
    place.command(place.bin, "chrome-devtools-mcp")
    a, b = (resolve(n, place.hello("chrome-devtools-mcp")) for n in (1, 2))
    assert a.base_key != b.base_key
    assert (a.sharing.scope, b.shared) == ("session", False)
    assert "one selected page" in a.sharing.reason
    asked = resolve(3, place.hello("chrome-devtools-mcp", options=[b"scope=directory"]))
    assert asked.sharing.scope == "directory"


def test_for_clients_of_any_kind_is_another_key(place: Place) -> None:
    keys = {resolve(1, place.hello(options=[b"clients=" + kind])).base_key for kind in (b"exact", b"any", b"exact")}
    assert len(keys) == 2


def test_for_clients_of_any_kind_what_tells_the_kind_of_host_does_not_count_unless_asked_for(place: Place) -> None:
    def opened(environment: list[bytes], *options: bytes) -> SessionOpened:
        return resolve(1, place.hello(environment=[b"TOKEN=t", *environment], options=list(options)))

    opencode = [b"OPENCODE=1", b"AGENT=1"]
    claude = [b"CLAUDECODE=1", b"AI_AGENT=claude-code", b"CLAUDE_PROJECT_DIR=" + os.fsencode(place.repository)]
    for options, same in (((), False), ((b"clients=any",), True), ((b"clients=any", b"env-count=CLAUDE*"), False)):
        keys = {opened(environment, *options).base_key for environment in (opencode, claude)}
        assert (len(keys) == 1) == same, options
    given = given_to(opened(claude, b"clients=any"))
    assert given.keys() == {b"HOME", b"PATH", b"PWD", b"TOKEN", b"MUX_INSIDE"}


def test_sessions_that_differ_in_the_era_share_only_where_the_outcome_is_equal(place: Place) -> None:
    def key(*options: bytes) -> bytes:
        return resolve(1, place.hello(options=list(options))).base_key

    plain, legacy, modern = key(), key(b"era=legacy"), key(b"era=modern")
    assert len({plain, legacy, modern}) == 3
    assert key(b"era=both") == key(b"logs=share") == plain
    assert key(b"clients=any", b"era=legacy") == key(b"clients=any") != legacy
    assert key(b"clients=any", b"era=modern") == modern
