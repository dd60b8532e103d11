"""The configurations that the repository offers: they are what `mux install` would write, and they work."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from mux.cli.install import servers
from mux.cli.install.hosts import HOSTS, Host, Place, format_of
from mux.cli.install.plan import Install, make
from tests.support.runtime import Runtime, program

CONFIGS = Path(__file__).parents[3] / "configs"
PATHS = sorted(path for path in CONFIGS.iterdir() if path.name != "README.md" and not path.name.startswith("mux."))

WITHOUT_COMMENTS = ("claude-code", "claude-desktop", "cursor", "windsurf")
"""Hosts that read JSON and nothing else, or are not known to read more."""


def host_of(path: Path) -> Host:
    return next(host for host in HOSTS if path.name.startswith(host.name + "."))


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_every_host_has_an_example_that_the_page_explains(host: Host) -> None:
    (path,) = (path for path in PATHS if path.name.startswith(host.name + "."))
    assert f"[{path.name}]({path.name}) | {host.title}" in (CONFIGS / "README.md").read_text(encoding="utf-8")


def test_the_page_names_the_places_where_install_looks() -> None:
    text = (CONFIGS / "README.md").read_text(encoding="utf-8")
    rows = {name: line for line in text.splitlines() for name in re.findall(r"^\| \[([^]]+)\]", line)}
    for path in PATHS:
        for name in host_of(path).project:
            assert name.startswith(".opencode/") or f"`{name}`" in rows[path.name]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_each_puts_the_shim_before_a_command(path: Path) -> None:
    host = host_of(path)
    found = list(servers.find(format_of(path.name).parse(path.read_text(encoding="utf-8")), host.tables))
    assert [(server.name, server.argv) for server in found] == [("context-mode", ("mux-shim", "context-mode"))]
    place = Place(host, str(path), shared=False)
    plan = make(place, Install(place, "/x/mux-shim", forced=False, named=frozenset()), ())
    assert [note.text for note in plan.notes] == ["shared already"]
    if host.name in WITHOUT_COMMENTS:
        json.loads(path.read_text(encoding="utf-8"))


def test_all_of_them_reach_one_server(runtime: Runtime, tmp_path: Path) -> None:
    """Started as the hosts would, from a PATH with mux-shim and a server of that name."""
    (tmp_path / "mux-shim").symlink_to(program("mux-shim"))
    server = tmp_path / "context-mode"
    server.write_text(f"#!/bin/sh\nexec {sys.executable} -m mux.cli.demo_server\n")
    server.chmod(0o755)
    environment = {
        "PATH": os.pathsep.join((str(tmp_path), os.environ["PATH"])),
        "MUX_SOCKET": str(runtime.socket),
        "MUX_GRACE": f"{runtime.grace:g}",
    }
    for path in PATHS:
        (found,) = servers.find(format_of(path.name).parse(path.read_text(encoding="utf-8")), host_of(path).tables)
        runtime.ready(*found.argv, mode="direct", environment=environment)
    state = runtime.status()
    assert (len(state["upstreams"]), len(state["sessions"])) == (1, len(HOSTS))
