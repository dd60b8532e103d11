"""What applies to a session, and who said so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mux.config import Settings, load, project_file
from mux.config.trust import trust
from tests.config.conftest import Place

ROOT = Path(__file__).parents[2]


def source(settings: Settings, name: str) -> tuple[str, str]:
    setting = settings.found[name]
    return setting.value, setting.source


def trusted(place: Place, text: str) -> None:
    place.write(place.file, text)
    trust(str(place.file), text.encode(), place.environment)


def test_without_a_file_nothing_is_found_and_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from mux.config import load;"
        f"s = load({{'HOME': {str(tmp_path)!r}}}, {str(tmp_path)!r}, {{}}, ['server']);"
        "heavy = {'tomllib', 're', 'hashlib', 'fnmatch', 'shlex'};"
        "print(s.found, s.complaints, sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.strip() == "{} [] []", done.stderr


def test_the_stronger_source_wins_and_is_named(place: Place) -> None:
    place.write(place.user, 'grace = 1\nscope = "user"\nfallback = "error"\nidle_timeout = 1\nsocket = "mine"')
    trusted(place, 'grace = 2\nscope = "project"\nfallback = "direct"\nidle_timeout = 2')
    settings = place.load(environment={"MUX_GRACE": "3", "MUX_SCOPE": "session"}, options={"grace": "4"})
    assert source(settings, "grace") == ("4", "--grace")
    assert source(settings, "scope") == ("session", "MUX_SCOPE")
    assert source(settings, "idle-timeout") == ("2", str(place.file))
    assert source(settings, "fallback") == ("direct", str(place.file))
    assert source(settings, "socket") == ("mine", str(place.user))
    assert settings.complaints == []


@pytest.mark.parametrize(
    ("written", "value"),
    [("30", "30"), ("1.5", "1.5"), ('"90s"', "90"), ('"15m"', "900"), ('"1h"', "3600"), ("0", "0")],
)
def test_a_time_is_a_number_or_has_a_unit(place: Place, written: str, value: str) -> None:
    place.write(place.user, f"grace = {written}")
    assert place.load().get("grace") == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('grace = "soon"', "grace is a time such as 30, 90s or 15m, not 'soon'"),
        ("grace = -1", "not '-1'"),
        ("grace = true", "grace is text, not True"),
        ("grace = inf", "not 'inf'"),
        ('scope = "galaxy"', "directory or project or user or session, not 'galaxy'"),
        ("scope = 3", "scope is text, not 3"),
        ('clients = "some"', "exact or any"),
        ('era = "any"', "both or legacy or modern"),
        ("logs = true", "logs is text"),
        ('socket = ""', "a path or a name"),
        ("color = 1", "color = 1 is ignored: there is no such setting"),
        ("idle-timeout = 1", "idle-timeout = 1 is ignored: there is no such setting"),
        ("no_share = true", "no_share = True is ignored: there is no such setting"),
        ("env = 1", "env = 1 is ignored: it is a table"),
        ('[env]\nignore = "A"', "[env] ignore = 'A' is ignored: it is a list of names"),
        ('[env]\nignore = ["A=B"]', "[env] ignore: 'A=B' is ignored: it is no name of a variable"),
        ("[env]\ncount = [1]", "[env] count: 1 is ignored"),
        ("[env]\ncolour = []", "[env] colour = [] is ignored: there are count and ignore"),
        ("limits = 1", "limits = 1 is ignored: it is a table"),
        ("[limits]\nmessage_bytes = 1", "[limits] message_bytes is between 262144 and 1073741824, not 1: ignored"),
        ('[limits]\nkept_lines = "many"', "[limits] kept_lines is a whole number, not 'many': ignored"),
        ("[limits]\nspeed = 1", "[limits] speed = 1 is ignored: there is no such limit"),
        ("server = 1", "server = 1 is ignored: it is written [[server]]"),
        ("[server]\nmatch = 'x'", "server = {'match': 'x'} is ignored: it is written [[server]]"),
        ("server = [1]", "[[server]] 1 is ignored: it is no table"),
        ("[[server]]\nscope = 'user'", "[[server]] 1: match = None is ignored"),
        ("[[server]]\nmatch = [1]", "[[server]] 1: match = [1] is ignored"),
        ("[[server]]\nmatch = '*'\nsocket = 'x'", "[[server]] 1: socket = 'x' is ignored: a server has no"),
        ("[[server]]\nmatch = '*'\nscope = 'x'", "[[server]] 1: scope is directory or"),
        ("grace = ", "is ignored, it is no TOML"),
        ("a = " + "[" * 5000, "is ignored, it is no TOML"),
        ('"\\u001b[31m" = 1', "?"),
    ],
)
def test_what_is_malformed_counts_as_absent_and_one_line_names_it(place: Place, text: str, says: str) -> None:
    place.write(place.user, text)
    settings = place.load()
    assert not settings.found
    (complaint,) = settings.complaints
    assert complaint.startswith(f"{place.user}: ")
    assert says in complaint
    assert "\n" not in complaint
    assert len(complaint) < 400


@pytest.mark.parametrize("content", [b"\xff\xfe", b"grace = 5\0", b"x" * (1 << 20) + b" = 1"])
def test_a_file_of_bytes_that_are_no_text_is_named_and_ignored(place: Place, content: bytes) -> None:
    place.user.write_bytes(content)
    settings = place.load()
    assert (settings.found, len(settings.complaints)) == ({}, 1)


def test_the_rest_of_a_file_counts_beside_what_is_malformed(place: Place) -> None:
    place.write(place.user, 'grace = "soon"\nscope = "project"')
    settings = place.load()
    assert settings.get("scope") == "project"
    assert len(settings.complaints) == 1


@pytest.mark.parametrize("kind", ["directory", "fifo", "broken link", "unreadable"])
def test_what_is_no_file_costs_one_line_and_no_time(place: Place, kind: str) -> None:
    if kind == "directory":
        place.user.mkdir()
    elif kind == "fifo":
        os.mkfifo(place.user)
    elif kind == "broken link":
        place.user.symlink_to("nowhere")
    else:
        place.write(place.user, "grace = 1")
        place.user.chmod(0)
        if os.geteuid() == 0:
            pytest.skip("root reads everything")
    settings = place.load()
    assert (settings.found, len(settings.complaints)) == ({}, 1)


@pytest.mark.parametrize("which", ["user", "file"])
@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_can_write_to_is_none_and_the_line_says_what_to_do(
    place: Place, which: str, mode: int
) -> None:
    path: Path = getattr(place, which)
    place.write(path, 'scope = "session"')
    path.chmod(mode)
    settings = place.load()
    assert (settings.found, settings.narrow) == ({}, None)
    assert "chmod go-w" in settings.complaints[0]


def test_a_file_of_another_user_is_none(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    place.write(place.file, 'scope = "session"')
    os.chown(place.file, 12345, -1)
    settings = place.load()
    assert settings.narrow is None
    assert "belongs to uid 12345" in settings.complaints[0]


def test_a_malformed_variable_is_named_and_ignored(place: Place) -> None:
    settings = place.load(
        environment={"MUX_GRACE": "soon", "MUX_SCOPE": "", "MUX_NO_SHARE": "0", "MUX_CLIENTS": "x", "MUX_ERA": "x"}
    )
    assert not settings.found
    assert [line.split()[0] for line in settings.complaints] == ["MUX_GRACE", "MUX_CLIENTS", "MUX_ERA"]


# --- which project file -----------------------------------------------------------------------


def test_the_nearest_file_upward_counts_and_none_above_the_repository(place: Place) -> None:
    assert project_file(str(place.sub)) is None
    place.write(place.home / "mux.toml", "grace = 1")
    assert project_file(str(place.sub)) is None
    place.write(place.file, "grace = 1")
    assert project_file(str(place.sub)) == str(place.file)
    place.write(place.sub.parent / "mux.toml", "grace = 1")
    assert project_file(str(place.sub)) == str(place.sub.parent / "mux.toml")
    assert project_file(str(place.project)) == str(place.file)


def test_outside_of_a_repository_only_the_directory_itself_is_looked_at(place: Place) -> None:
    place.write(place.home / "mux.toml", "grace = 1")
    below = place.home / "below"
    below.mkdir()
    assert project_file(str(below)) is None
    assert project_file(str(place.home)) == str(place.home / "mux.toml")


def test_a_worktree_is_a_project_of_its_own(place: Place) -> None:
    worktree = place.project / "worktree"
    worktree.mkdir()
    (worktree / ".git").write_text("gitdir: elsewhere")
    place.write(place.file, "grace = 1")
    assert project_file(str(worktree)) is None


def test_a_directory_that_is_gone_has_no_project_and_a_user_without_a_home_no_file(place: Place) -> None:
    place.write(place.user, "grace = 5")
    assert load(place.environment, None, {}, ["s"]).get("grace") == "5"
    assert load({"HOME": "not/absolute"}, None, {}, ["s"]).found == {}


# --- sections for servers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ["context-mode"],
        ["/opt/bin/context-mode", "--x"],
        ["npx", "-y", "context-mode@latest"],
        ["node", "/x/node_modules/context-mode/start.mjs"],
    ],
)
def test_a_section_applies_to_its_server_however_it_is_started(place: Place, command: list[str]) -> None:
    place.write(place.user, 'grace = 1\n[[server]]\nmatch = "Context_Mode"\nscope = "project"\ngrace = "2m"')
    settings = place.load(*command)
    assert settings.get("grace") == "120"
    assert settings.found["scope"].own
    assert "[[server]] match = 'Context_Mode'" in settings.found["scope"].source
    assert place.load("another").get("grace") == "1"
    assert place.load("another").get("scope") is None


def test_the_last_section_that_matches_counts(place: Place) -> None:
    place.write(
        place.user, '[[server]]\nmatch = "*"\ngrace = 1\nfallback = "error"\n[[server]]\nmatch = ["a", "b*"]\ngrace = 2'
    )
    assert [place.load(name).get("grace") for name in ("a", "bcd", "c")] == ["2", "2", "1"]
    assert place.load("a").get("fallback") == "error"


# --- what a project may -----------------------------------------------------------------------


def test_a_project_that_is_not_trusted_may_name_a_socket_and_share_narrower(place: Place) -> None:
    place.write(place.file, 'socket = "project-7"\nclients = "exact"\n[[server]]\nmatch = "server"\nscope = "session"')
    settings = place.load(environment={})
    assert settings.get("socket") == "project-7"
    assert settings.narrow is not None
    assert settings.narrow.value == "session"
    assert settings.complaints == []
    hello = list(settings.hello())
    assert "narrow=session" in hello
    assert "clients=exact" in hello
    assert not [option for option in hello if option.startswith("scope=")]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('socket = "/tmp/evil/s.sock"', "socket = '/tmp/evil/s.sock'"),
        ('socket = "./s.sock"', "socket"),
        ('socket = "../x"', "socket"),
        ('socket = ".."', "socket"),
        ('socket = ".hidden"', "socket"),
        ('socket = "a\\u0000b"', "socket"),
        ('socket = "' + "x" * 33 + '"', "socket"),
        ('scope = "project"', "scope = 'project'"),
        ('scope = "user"', "scope = 'user'"),
        ('clients = "any"', "clients = 'any'"),
        ('era = "legacy"', "era = 'legacy'"),
        ('logs = "share"', "logs = 'share'"),
        ('fallback = "direct"', "fallback = 'direct'"),
        ('grace = "1h"', "grace = '3600'"),
        ("idle_timeout = 1", "idle_timeout = '1'"),
        ('[env]\ncount = ["SECRET"]', "[env]"),
        ('[env]\nignore = ["TOKEN"]', "[env]"),
        ("[limits]\nsessions = 1", "[limits]"),
        ('[[server]]\nmatch = "server"\nscope = "user"', "scope = 'user' in [[server]] match = 'server'"),
    ],
)
def test_what_a_project_may_not_is_refused_with_the_sentence_that_says_how_to_allow_it(
    place: Place, text: str, named: str
) -> None:
    place.write(place.file, text)
    settings = place.load()
    assert (settings.found, settings.narrow, settings.count, settings.ignore, settings.limits) == ({}, None, {}, {}, {})
    (complaint,) = settings.complaints
    assert named in complaint or "no such" in complaint or "a path or a name" in complaint
    if "ignored, since" in complaint:
        assert f"`mux trust {place.project}` allows it" in complaint


def test_trusted_it_all_takes_effect_and_one_byte_more_and_it_does_not(place: Place) -> None:
    text = 'socket = "./run/s.sock"\nscope = "user"\nfallback = "error"\n'
    text += '[env]\nignore = ["A"]\n[limits]\nsessions = 3\n'
    trusted(place, text)
    settings = place.load()
    assert settings.get("socket") == str(place.project / "run" / "s.sock")
    assert (settings.get("scope"), settings.get("fallback")) == ("user", "error")
    assert settings.ignore == {"A": str(place.file)}
    assert settings.limits == {"sessions": (3, str(place.file))}
    assert "--limit" in list(settings.backend())
    place.write(place.file, text + " ")
    changed = place.load()
    assert (changed.found, changed.limits) == ({}, {})
    assert len(changed.complaints) == 1


def test_a_project_narrows_what_the_user_chose_and_not_what_the_command_line_says(place: Place) -> None:
    place.write(place.user, '[[server]]\nmatch = "server"\nscope = "user"')
    place.write(place.file, 'scope = "project"')
    settings = place.load()
    assert settings.complaints == []
    assert settings.narrow is not None
    assert (settings.narrow.value, settings.get("scope")) == ("project", "user")
    assert place.load(options={"scope": "user"}).narrow is None
    assert place.load(environment={"MUX_SCOPE": "user"}).narrow is None


def test_a_link_to_a_file_is_judged_by_the_file(place: Place) -> None:
    real = place.home / "dotfiles.toml"
    place.write(real, "grace = 7")
    place.user.symlink_to(real)
    assert place.load().get("grace") == "7"
    real.chmod(0o666)
    assert place.load().found == {}


def test_what_is_said_to_the_backend_names_variables_and_never_values(place: Place) -> None:
    place.write(place.user, '[env]\ncount = ["TMUX*"]\nignore = ["NOISE"]\n[limits]\nmessage_bytes = "1 MiB"')
    settings = place.load(environment={"NOISE": "secret"}, options={"grace": "5"})
    assert list(settings.hello()) == ["grace=5", "env-count=TMUX*", "env-ignore=NOISE"]
    assert list(settings.backend()) == ["--grace", "5", "--limit", "message_bytes=1048576"]
