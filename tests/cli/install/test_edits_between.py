"""What a person or a host does to a file between sharing and unsharing survives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mux.cli.install import jsonc
from mux.cli.install.hosts import HOSTS, Place
from mux.cli.install.plan import Install, Uninstall, make

SHIM = "/opt/mux/bin/mux-shim"

JSON = """\
{
  // mine
  "mcpServers": {
    "alone": { "command": "alone" },
    "empty": { "command": "empty", "args": [] },
    "full": {
      "command": "npx",
      "args": ["-y", "server"] // as it should be
    }
  }
}
"""

TOML = """\
[mcp_servers.alone]
command = "alone" # mine

[mcp_servers.full]
command = "npx"
args = ["-y", "server"]
"""


def content_of(text: str) -> Any:
    return jsonc.plain(text, jsonc.parse(text))


class Trip:
    """One file, shared; `edit` it, then `back` is what unsharing leaves."""

    def __init__(self, path: Path, text: str, host: str) -> None:
        self.path = path
        self.place = Place(next(row for row in HOSTS if row.name == host), str(path), shared=False)
        path.write_bytes(text.encode())
        self.write(make(self.place, Install(self.place, SHIM, forced=False, named=frozenset()), ()).new)

    def write(self, text: str) -> None:
        self.path.write_bytes(text.encode())

    def edit(self, old: str, new: str) -> None:
        text = self.path.read_bytes().decode()
        assert text.count(old) == 1, text
        self.write(text.replace(old, new))

    def back(self) -> str:
        return make(self.place, Uninstall(self.place), ()).new


@pytest.fixture
def json_trip(tmp_path: Path) -> Trip:
    return Trip(tmp_path / "settings.json", JSON, "gemini")


@pytest.fixture
def toml_trip(tmp_path: Path) -> Trip:
    return Trip(tmp_path / "config.toml", TOML, "codex")


def test_a_new_argument_survives(json_trip: Trip) -> None:
    json_trip.edit('"server"]', '"server", "--verbose"]')
    assert json_trip.back() == JSON.replace('"server"]', '"server", "--verbose"]')


def test_an_argument_for_a_server_that_had_none_survives(json_trip: Trip) -> None:
    json_trip.edit('[ "alone" ]', '[ "alone", "--new" ]')
    assert json_trip.back() == JSON.replace('"alone" }', '"alone", "args": [ "--new" ] }')


def test_another_command_survives(json_trip: Trip) -> None:
    json_trip.edit('["empty"]', '["other", "x"]')
    assert json_trip.back() == JSON.replace('"command": "empty", "args": []', '"command": "other", "args": ["x"]')


def test_a_new_server_and_a_comment_survive(json_trip: Trip) -> None:
    json_trip.edit("// mine", '// mine\n  "new": 1, /* x */')
    json_trip.edit('"alone":', '"late": {"command": "late"}, "alone":')
    assert json_trip.back() == JSON.replace("// mine", '// mine\n  "new": 1, /* x */').replace(
        '"alone":', '"late": {"command": "late"}, "alone":'
    )


def test_an_environment_between_command_and_arguments_survives(json_trip: Trip) -> None:
    json_trip.edit('", "args": [ "alone" ]', '", "env": {"A": "b"}, "args": [ "alone" ]')
    content = content_of(json_trip.back())["mcpServers"]["alone"]
    assert content == {"command": "alone", "env": {"A": "b"}, "args": []}


def test_comments_among_the_arguments_survive(json_trip: Trip) -> None:
    json_trip.edit('["npx", "-y", "server"]', '[ /* a */ "npx" /* b */, // c\n "-y", "server"]')
    back = json_trip.back()
    assert all(comment in back for comment in ("/* a */", "/* b */", "// c\n"))
    assert content_of(back) == content_of(JSON)


def test_options_that_were_put_behind_mux_shim_go_with_it(json_trip: Trip) -> None:
    json_trip.edit('["npx", "-y"', '["--grace", "5m", "--no-share", "--", "npx", "-y"')
    assert json_trip.back() == JSON


def test_another_mux_shim_is_recognised(json_trip: Trip) -> None:
    json_trip.write(json_trip.path.read_text().replace(SHIM, "C:\\\\Program Files\\\\mux\\\\mux-shim.exe"))
    assert json_trip.back() == JSON


@pytest.mark.parametrize("indent", [None, 2, "\t"])
def test_a_host_that_rewrites_its_whole_file_changes_no_meaning(json_trip: Trip, indent: int | str | None) -> None:
    content = content_of(json_trip.path.read_text())
    json_trip.write(json.dumps(content, indent=indent))
    expected = content_of(JSON)
    expected["mcpServers"]["alone"]["args"] = []
    assert content_of(json_trip.back()) == expected


def test_a_server_that_was_unshared_by_hand_stays(json_trip: Trip) -> None:
    json_trip.edit(f'"{SHIM}",\n      "args": ["npx", ', '"npx",\n      "args": [')
    assert json_trip.back() == JSON


def test_a_shim_without_a_command_is_left_alone(json_trip: Trip) -> None:
    json_trip.edit(', "args": [ "alone" ]', "")
    plan = make(json_trip.place, Uninstall(json_trip.place), ())
    assert f'"alone": {{ "command": "{SHIM}" }}' in plan.new
    assert "no command" in plan.notes[0].text


def test_toml_edits_survive(toml_trip: Trip) -> None:
    toml_trip.edit('args = [ "alone" ] # mine', 'args = [ "alone", "--new" ] # mine\nenabled = false')
    toml_trip.edit('["npx", "-y", "server"]', '[\n  "npx", # a\n  "-y",\n  "server",\n]')
    assert toml_trip.back() == (
        '[mcp_servers.alone]\ncommand = "alone"\nargs = [ "--new" ] # mine\nenabled = false\n\n'
        '[mcp_servers.full]\ncommand = "npx"\nargs = [\n  # a\n  "-y",\n  "server",\n]\n'
    )


def test_toml_written_anew_changes_no_meaning(toml_trip: Trip) -> None:
    toml_trip.write(f'[mcp_servers]\nfull = {{ args = ["npx", "-y", "server"], command = "{SHIM}" }}\n')
    assert toml_trip.back() == '[mcp_servers]\nfull = { args = ["-y", "server"], command = "npx" }\n'


def test_a_shim_that_is_gone_is_replaced_and_a_living_one_stays(tmp_path: Path) -> None:
    living = tmp_path / "mux-shim"
    living.touch()
    path = tmp_path / "settings.json"
    path.write_text(
        '{"mcpServers": {"a": {"command": "/gone/mux-shim", "args": ["--grace", "5m", "a"]}, '
        f'"b": {{"command": "{living}", "args": ["b"]}}, "c": {{"command": "mux-shim", "args": ["c"]}}}}}}'
    )
    place = Place(next(row for row in HOSTS if row.name == "gemini"), str(path), shared=False)

    def commands(*, forced: bool) -> list[str]:
        new = make(place, Install(place, SHIM, forced=forced, named=frozenset()), ()).new
        return [server["command"] for server in json.loads(new)["mcpServers"].values()]

    assert commands(forced=False) == [SHIM, str(living), "mux-shim"]
    assert commands(forced=True) == [SHIM, SHIM, SHIM]
