"""`mux install` and `mux uninstall` as a person meets them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mux.cli.install import program
from mux.cli.install.hosts import HOSTS, Home, places
from mux.cli.main import main
from mux.errors import MuxError
from tests.cli.install.support import UserHome

CURSOR = ".cursor/mcp.json"
GEMINI = ".gemini/settings.json"
CONFIG = '{"mcpServers": {"a": {"command": "a", "args": ["b"]}}}\n'


def argv(path: Path, name: str = "a") -> list[str]:
    server = json.loads(path.read_text())["mcpServers"][name]
    return [server["command"], *server.get("args", ())]


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_without_yes_the_change_is_shown_and_nothing_is_written(home: UserHome, words: tuple[str, ...]) -> None:
    home.put(CURSOR, CONFIG)
    before = home.configs()
    done = home.mux("install", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert f'+{{"mcpServers": {{"a": {{"command": "{home.shim}", "args": ["a", "b"]}}}}}}' in done.stdout
    assert "Nothing is written yet: `mux install --shim" in done.stdout
    assert home.configs() == before
    assert not home.backups.exists()


def test_the_command_that_it_names_does_it(home: UserHome) -> None:
    path = home.put(CURSOR, CONFIG)
    shown = home.mux("install", "cursor", "--server", "a").stdout
    line = shown.partition("Nothing is written yet: `")[2].partition("`")[0]
    words = line.split()
    assert words[:1] == ["mux"]
    assert home.mux(*words[1:]).returncode == 0
    assert argv(path) == [home.shim, "a", "b"]


def test_what_was_done_and_what_comes_next_is_said(home: UserHome) -> None:
    home.put(CURSOR, CONFIG)
    home.put(GEMINI, CONFIG)
    done = home.mux("install", "--yes")
    assert "Wrote ~/.cursor/mcp.json; what it was is in ~/.local/state/mux/backups/" in done.stdout
    assert "2 servers shared. Restart Gemini CLI and Cursor" in done.stdout
    assert "`mux uninstall` takes this back" in done.stdout


def test_only_the_named_hosts_are_touched(home: UserHome) -> None:
    cursor, gemini = home.put(CURSOR, CONFIG), home.put(GEMINI, CONFIG)
    assert home.mux("install", "--yes", "gemini").returncode == 0
    assert argv(cursor) == ["a", "b"]
    assert argv(gemini) == [home.shim, "a", "b"]


def test_a_projects_file_is_touched_only_when_asked_and_names_the_shim_by_name(home: UserHome) -> None:
    path = home.put("project/.mcp.json", CONFIG)
    done = home.mux("install", "--yes")
    assert "Not touched: ~/project/.mcp.json belongs to a project; --project includes it." in done.stdout
    assert path.read_text() == CONFIG
    done = home.mux("install", "--yes", "--project", named=False)
    assert done.returncode == 0
    assert argv(path) == ["mux-shim", "a", "b"]
    assert "needs mux-shim on their PATH" in done.stdout


def test_a_projects_files_are_found_from_below_up_to_its_root(home: UserHome) -> None:
    deep = home.project / "src" / "deep"
    deep.mkdir(parents=True)
    for where in ("project/.mcp.json", "project/src/opencode.json", "project/src/deep/.cursor/mcp.json", ".mcp.json"):
        home.put(where, CONFIG)
    found = [place.path for place in places(HOSTS, Home.of(home.environment, "linux"), str(deep)) if place.shared]
    assert sorted(os.path.relpath(path, home.path) for path in found) == [
        "project/.mcp.json",
        "project/src/deep/.cursor/mcp.json",
        "project/src/opencode.json",
    ]


def test_a_home_that_is_the_project_counts_each_file_once(home: UserHome) -> None:
    home.put(CURSOR, CONFIG)
    (home.path / ".git").mkdir()
    found = places(HOSTS, Home.of(home.environment, "linux"), str(home.path))
    assert [(place.host.name, place.shared) for place in found] == [("cursor", False)]


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, [".config/Claude/claude_desktop_config.json", ".config/Code/User/mcp.json"]),
        ("linux", {"XDG_CONFIG_HOME": "/x"}, ["/x/Claude/claude_desktop_config.json", "/x/Code/User/mcp.json"]),
        (
            "darwin",
            {},
            [
                "Library/Application Support/Claude/claude_desktop_config.json",
                "Library/Application Support/Code/User/mcp.json",
            ],
        ),
        ("win32", {"APPDATA": "/r"}, ["/r/Claude/claude_desktop_config.json", "/r/Code/User/mcp.json"]),
    ],
)
def test_each_platform_has_its_places(platform: str, environment: dict[str, str], expected: list[str]) -> None:
    home = Home.of({"HOME": "/home/me"} | environment, platform)
    found = [host.user(home)[0] for host in HOSTS if host.name in ("claude-desktop", "vscode")]
    assert sorted(found) == sorted(os.path.join("/home/me", path) for path in expected)


@pytest.mark.parametrize(
    ("variable", "host", "where"),
    [
        ("CLAUDE_CONFIG_DIR", "claude-code", ".claude.json"),
        ("CODEX_HOME", "codex", "config.toml"),
        ("OPENCODE_CONFIG", "opencode", ""),
        ("XDG_CONFIG_HOME", "zed", "zed/settings.json"),
    ],
)
def test_a_hosts_own_variable_is_obeyed(variable: str, host: str, where: str) -> None:
    (row,) = (row for row in HOSTS if row.name == host)
    assert os.path.join("/moved", where).rstrip("/") in row.user(Home.of({"HOME": "/h", variable: "/moved"}, "linux"))


def test_what_is_known_to_suffer_is_left_alone_unless_it_is_named(home: UserHome) -> None:
    path = home.put(CURSOR, '{"mcpServers": {"a": {"command": "npx", "args": ["@playwright/mcp@latest"]}}}')
    done = home.mux("install", "--yes")
    assert done.returncode == 0
    assert "left alone: it drives one browser" in done.stdout
    assert "`--server a` shares it all the same" in done.stdout
    assert argv(path)[0] == "npx"
    done = home.mux("install", "--yes", "--server", "a")
    assert argv(path) == [home.shim, "--scope", "directory", "npx", "@playwright/mcp@latest"]
    assert home.mux("uninstall", "--yes").returncode == 0
    assert argv(path) == ["npx", "@playwright/mcp@latest"]


def test_a_wider_scope_is_proposed_where_it_is_known_to_be_right(home: UserHome) -> None:
    home.put(CURSOR, '{"mcpServers": {"a": {"command": "uvx", "args": ["mcp-server-time"]}}}')
    shown = home.mux("install").stdout
    assert '"--scope", "user", "uvx", "mcp-server-time"' in shown
    assert "shared, with --scope user: it tells the time" in shown


@pytest.mark.parametrize(
    ("where", "content", "said"),
    [
        (
            CURSOR,
            '{"mcpServers": {\n  "a": {"command": "a"}',
            "line 2, column 24: the file ends here; expected ',' or '}'",
        ),
        (CURSOR, '{\r\n\t"a" 1}', "line 2, column 6: expected ':'"),
        (CURSOR, '\ufeff{"ü": tru}', "line 1, column 7: expected a value"),
        (CURSOR, '{"a": "b\n"}', "line 1, column 7: this string does not end on its line"),
        (CURSOR, '{"a": 1} x', "line 1, column 10: nothing may follow"),
        (CURSOR, "{\n/* a", "line 2, column 1: this comment does not end"),
        (CURSOR, "[]", "line 1, column 1: expected an object"),
        (CURSOR, '{"a": ' + "[" * 300, "nested deeper than 200 levels"),
        (CURSOR, "{'a': 1}", "line 1, column 2: expected a key in double quotes"),
        (CURSOR, b'{\n"a": "\xff"}', "line 2, byte 7: not UTF-8"),
        (".codex/config.toml", 'a = 1\nb = "c\n', "line 2, column 7: Illegal character '\\n'"),
        (".codex/config.toml", "a = [1", "Unclosed array, at the end of the file"),
        (".codex/config.toml", "a = " + "[" * 3000, "nested too deeply"),
        (".codex/config.toml", "[a]\n[a]\n", "line 2, column 3: Cannot declare"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_refused_at_its_place(
    home: UserHome, where: str, content: str | bytes, said: str
) -> None:
    path = home.put(where, content)
    other = home.put(GEMINI, CONFIG)
    done = home.mux("install", "--yes")
    assert done.returncode == 1
    assert done.stderr.startswith(f"mux: {path} ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert argv(other)[0] == home.shim  # one bad file does not hinder the others


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("install", "gemni"), "there is no host 'gemni'. Did you mean gemini?"),
        (("install", "xyzzy"), "There are: opencode, claude-code"),
        (("install", "--shim", "relative/mux-shim"), "an absolute path of a program"),
        (("install", "--shim", "/bin/true"), "has another name"),
        (("install", "--server", "nobody"), "no file has a server called nobody"),
        (("uninstall", "--server", "nobody"), "no file has a server called nobody"),
        (("install", "--yes", "--dry-run"), "not allowed with"),
        (("uninstall", "--shim", "mux-shim"), "unrecognized arguments"),
    ],
)
def test_a_wrong_command_line_ends_with_two(home: UserHome, words: tuple[str, ...], said: str) -> None:
    home.put(CURSOR, CONFIG)
    done = home.mux(*words)
    assert done.returncode == 2
    assert said in done.stderr


def test_where_there_is_nothing_it_says_where_it_looked(home: UserHome) -> None:
    done = home.mux("install", "gemini")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "No configuration file was found: ~/.gemini/settings.json. Add a server to your host first, then repeat this.\n"
    )
    assert "No configuration file was found." in home.mux("install").stdout


def test_values_that_may_be_secret_are_not_shown(home: UserHome) -> None:
    home.put(
        ".claude.json",
        '{"primaryApiKey": "sk-1",\n"mcpServers": {"a": {"command": "a", "env": {"T": "sk-2"}},\n'
        '"r": {"type": "http", "url": "https://x?key=sk-3", "headers": {"Authorization": "sk-4"}}}}',
    )
    home.put(".codex/config.toml", 'key = "sk-5"\n[mcp_servers.a]\nenv = {T="""\nsk-6\n"""}\ncommand = "a"\n')
    done = home.mux("install")
    assert "2 servers in 2 files" in done.stdout
    assert "sk-" not in done.stdout


def test_a_line_that_is_too_long_is_cut_to_the_change(home: UserHome) -> None:
    filler = ", ".join(f'"k{number}": {number}' for number in range(3000))
    home.put(CURSOR, f'{{{filler}, "mcpServers": {{"a": {{"command": "here"}}}}, {filler.replace("k", "m")}}}')
    done = home.mux("install")
    assert '"here"' in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 400


def test_nothing_in_a_file_can_move_the_cursor(home: UserHome) -> None:
    home.put(CURSOR, '{"mcpServers": {"a\\u001b[2J": {"command": "a", "args": ["\u009b2J", "\\u001b]0;x"]}}}')
    done = home.mux("install")
    assert "would be shared" in done.stdout
    assert not {"\x1b", "\x9b"} & set(done.stdout)


def test_a_reader_that_leaves_early_sees_to_it_that_nothing_is_written(home: UserHome) -> None:
    servers = ",\n".join(f'"server-{number}": {{"command": "c{number}"}}' for number in range(2000))
    path = home.put(CURSOR, f'{{"mcpServers": {{\n{servers}\n}}}}\n')
    before = path.read_bytes()
    process = subprocess.Popen(
        home.command("install", "--yes"), env=home.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 1)
    process.stdout.close()
    assert process.stderr is not None
    stderr = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 1
    assert stderr == b"mux: nobody reads the changes any more, so nothing is written. Let the output through\n"
    assert path.read_bytes() == before


def test_a_big_file_is_no_trouble(home: UserHome) -> None:
    history = [{"display": f"question {number} " + "ü" * 100, "pasted": {"x": [1, None]}} for number in range(10_000)]
    text = json.dumps({"projects": {"/p": {"history": history}}, "mcpServers": {"a": {"command": "a"}}}, indent=2)
    path = home.put(".claude.json", text)
    assert home.mux("install", "--yes").returncode == 0
    assert argv(path) == [home.shim, "a"]
    assert home.mux("uninstall", "--yes").returncode == 0
    assert path.read_text(encoding="utf-8") == text


def test_a_link_on_path_is_preferred_to_the_place_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "venv" / "bin" / "mux-shim"
    own.parent.mkdir(parents=True)
    own.touch(0o755)
    monkeypatch.setattr(program, "_beside", lambda _: str(own))
    links, others = tmp_path / "links", tmp_path / "others"
    links.mkdir()
    others.mkdir()
    (others / "mux-shim").touch(0o755)
    path = os.pathsep.join(map(str, ("", "relative", others, own.parent, links)))
    assert program.installed({"PATH": path}) == str(own)
    (links / "mux-shim").symlink_to(own)
    assert program.installed({"PATH": path}) == str(links / "mux-shim")


def test_a_program_in_a_cache_is_named_in_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / ".cache" / "uv" / "archive-v0" / "x" / "bin" / "mux-shim"
    monkeypatch.setattr(program, "_beside", lambda _: str(own))
    with pytest.raises(MuxError, match="may be emptied at any time"):
        program.installed({"PATH": "", "HOME": str(tmp_path)})


def test_an_installation_without_a_shim_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_beside", lambda _: None)
    with pytest.raises(MuxError, match="`--shim PATH` names one"):
        program.installed({})


def test_the_shim_that_is_named_is_the_one_beside_mux(home: UserHome) -> None:
    path = home.put(CURSOR, CONFIG)
    done = home.mux("install", "--yes", named=False)
    assert (done.returncode, done.stderr) == (0, "")
    named = argv(path)[0]
    assert os.path.isabs(named)
    assert os.access(named, os.X_OK)


def test_on_windows_nothing_is_installed_yet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert main(["install"]) == 1
    assert "shares nothing yet" in capsys.readouterr().err
