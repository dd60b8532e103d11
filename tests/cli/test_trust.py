"""`mux trust`: the user's word for a project's file."""

from __future__ import annotations

import json
import os

from tests.support.runtime import Runtime


def test_a_file_is_shown_and_trusted_and_trusted_no_more(runtime: Runtime) -> None:
    path = runtime.project / "mux.toml"
    path.write_text('scope = "user"\n# \x85\u202e\n')
    path.chmod(0o644)
    before = runtime.mux("config", "--json")
    assert before.returncode == 1
    assert "is not trusted" in before.stdout
    done = runtime.mux("trust", ".")
    assert done.returncode == 0, done.stderr
    assert 'scope = "user"' in done.stdout
    assert "\x85" not in done.stdout
    assert "\u202e" not in done.stdout
    found = json.loads(runtime.mux("config", "--json").stdout)
    assert found["settings"]["scope"] == {"value": "user", "source": str(path)}
    assert runtime.mux("trust", "--list").stdout == f"{path}\n"
    path.write_text('scope = "user"\nfallback = "error"\n')
    assert "changed since" in runtime.mux("trust", "--list").stdout
    assert runtime.mux("config").returncode == 1
    assert "no longer trusted" in runtime.mux("trust", "--remove", str(runtime.project)).stdout
    assert "is not trusted" in runtime.mux("trust", "--remove", str(runtime.project)).stdout
    assert runtime.mux("trust", "--list").stdout == ""


def test_what_is_not_ours_alone_can_not_be_trusted(runtime: Runtime) -> None:
    assert "there is no" in runtime.mux("trust", ".").stderr
    path = runtime.project / "mux.toml"
    path.write_text("grace = 1\n")
    path.chmod(0o666)
    done = runtime.mux("trust", ".")
    assert done.returncode == 1
    assert "chmod go-w" in done.stderr
    path.chmod(0o644)
    path.write_text("grace = \n")
    assert "no TOML" in runtime.mux("trust", ".").stderr
    path.unlink()
    os.mkfifo(path)
    assert "no regular file" in runtime.mux("trust", ".").stderr
    assert runtime.mux("trust").returncode == 2
