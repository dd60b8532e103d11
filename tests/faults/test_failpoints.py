"""Failpoints themselves, and the small pure parts that faults are met with."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mux.failpoints import SITES, parse
from mux.rendezvous import files
from tests.support.runtime import SCRIPTED, Runtime
from tests.support.session import Session

ROOT = Path(__file__).parents[2]
SOURCES = [path for path in (ROOT / "mux").rglob("*.py") if path.name != "failpoints.py"]


def run(code: str, failpoints: str | None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({} if failpoints is None else {"MUX_FAILPOINTS": failpoints})}
    command = [sys.executable, "-c", f"from mux.failpoints import ARMED, hit\n{code}"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)


def test_every_place_is_in_the_program_once_and_every_call_names_one() -> None:
    called = [site for path in SOURCES for site in re.findall(r'\bhit\("([\w.]+)"\)', path.read_text(encoding="utf-8"))]
    assert sorted(called) == sorted(SITES)
    assert len(SITES) >= 15


def test_no_place_is_asked_for_where_none_is_armed() -> None:
    for path in SOURCES:
        lines = path.read_text(encoding="utf-8").splitlines()
        for before, line in itertools.pairwise(lines):
            if re.search(r'\bhit\("', line) and not re.search(r"def _written", before):
                assert re.match(r"\s*if ARMED\b", before), f"{path}: {line}"


def test_unset_means_unarmed() -> None:
    assert run("print(ARMED)", None).stdout == "False\n"
    assert run("print(ARMED)", "").stdout == "False\n"


def test_an_error_is_an_error_of_the_system_at_that_place_only() -> None:
    done = run('hit("exit.begun"); print("on"); hit("lock.taken")', "lock.taken=error")
    assert done.stdout == "on\n"
    assert "OSError: [Errno 5] failpoint lock.taken" in done.stderr


def test_a_kill_is_a_kill() -> None:
    assert run('hit("lock.taken")', "lock.taken=kill").returncode == -9


def test_a_delay_delays() -> None:
    found = parse("spawn.forked=delay:0.05")
    begun = time.monotonic()
    found["spawn.forked"]()
    assert time.monotonic() - begun >= 0.05


def test_a_token_is_for_one_process(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch()
    fault = parse(f"lock.taken=error:{token}")["lock.taken"]
    with pytest.raises(OSError, match="failpoint"):
        fault()
    fault()


def test_a_chance_of_none_never_happens() -> None:
    fault = parse("lock.taken=error:0")["lock.taken"]
    for _ in range(100):
        fault()


MEANINGLESS = [
    "nowhere=kill",
    "lock.taken",
    "=",
    "lock.taken=explode",
    "lock.taken=delay",
    "lock.taken=delay:x",
    "lock.taken=delay:-1",
    "lock.taken=delay:nan",
    "lock.taken=delay:1e300",
    "lock.taken=kill:2",
    "lock.taken=error:nan",
    "exit.begun=kill,\udcff",
]


@pytest.mark.parametrize("text", MEANINGLESS)
def test_what_means_nothing_is_said_and_ignored(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)
    done = run("print(ARMED)", text)
    assert (done.returncode, done.stdout) == (0, "False\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", [False, True])
def test_a_shim_serves_whatever_the_variable_says(runtime: Runtime, closed: bool) -> None:
    argv = runtime.shim(*SCRIPTED)
    found = Session(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *argv] if closed else argv,
        environment={**runtime.environment, "MUX_FAILPOINTS": "shim.line=delay:nan"},
        cwd=runtime.project,
    )
    runtime.sessions.append(found)
    found.initialize()
    assert found.call("echo", text="on") == "on"
    assert found.pid() != found.child.pid
    assert found.stderr.count("\n") == (not closed)


# --- files --------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    files.replace(str(path), b"new" * 100_000, renaming=lambda: path.read_bytes() == b"old" or pytest.fail("too soon"))
    assert path.read_bytes() == b"new" * 100_000
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["f"]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        files.replace(str(path), b"new", renaming=fail)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_what_killed_writers_left_is_removed_and_nothing_of_others(tmp_path: Path) -> None:
    for name in ("s.json", "s.json.abc.tmp", "other.json.abc.tmp", "s.json.abc"):
        (tmp_path / name).touch()
    files.discard_unfinished(str(tmp_path / "s.json"))
    assert sorted(os.listdir(tmp_path)) == ["other.json.abc.tmp", "s.json", "s.json.abc"]
