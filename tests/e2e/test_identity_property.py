"""Two sessions share exactly if a server that each of them had started alone would have seen the same.

Each side is started alone, behind a backend of its own, and prints what it sees; then both are started behind one.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.runtime import Runtime

MIRROR = [sys.executable, str(Path(__file__).parents[1] / "upstreams" / "mirror.py")]
EXAMPLES = int(os.environ.get("MUX_TEST_ROUNDS", "0")) * 10 or 3

Side = dict[str, Any]
_numbers = count(1)

VARIABLES = st.fixed_dictionaries(
    {},
    optional={
        "API_TOKEN": st.sampled_from(["", "one", "two"]),
        "NODE_OPTIONS": st.sampled_from(["--x"]),
        "SHLVL": st.sampled_from(["1", "2"]),
        "OPENCODE_PID": st.sampled_from(["7", "8"]),
        "CLAUDE_CODE_SESSION_ID": st.sampled_from(["s", "t"]),
        "CLAUDE_PROJECT_DIR": st.sampled_from(["HERE", "/elsewhere"]),
        "PWD": st.sampled_from(["HERE", "/stale"]),
        "OLDPWD": st.sampled_from(["/a", "/b"]),
        "TERM_SESSION_ID": st.sampled_from(["1", "2"]),
        "MUX_GRACE": st.sampled_from(["1s", "2s"]),
    },
)
SIDES = st.fixed_dictionaries(
    {
        "argv": st.sampled_from([[], [], [], ["--x"], ["."]]),
        "directory": st.sampled_from(["p", "p", "p", "p/sub"]),
        "umask": st.sampled_from([0o022, 0o022, 0o077]),
        "variables": VARIABLES,
        "client": st.sampled_from(["one", "one", "one", "two"]),
    }
)
PLAIN: Side = {"argv": [], "directory": "p", "umask": 0o022, "variables": {}, "client": "one"}


def see(world: Runtime, root: Path, side: Side, scope: str) -> tuple[int, Any]:
    """Start the session of `side`; which process it got, and what that one saw."""
    cwd = root / side["directory"]
    variables = {name: str(cwd) if value == "HERE" else value for name, value in side["variables"].items()}
    base = {name: value for name, value in world.environment.items() if name != "PWD"}
    base["MUXTEST_RUN"] = str(root)
    before = os.umask(side["umask"])
    try:
        world.environment = base
        session = world.session(*MIRROR, *side["argv"], options=["--scope", scope], cwd=cwd, environment=variables)
    finally:
        os.umask(before)
    session.initialize(client={"name": side["client"], "version": "1"})
    answer = session.request("tools/list")
    return answer["pid"], answer["seen"]


@pytest.fixture
def root(run_directory: Path) -> Iterator[Path]:
    directory = run_directory / f"identity-{next(_numbers)}"
    (directory / "p" / "sub").mkdir(parents=True)
    (directory / "p" / ".git").mkdir()
    (directory / "home").mkdir()
    yield directory
    shutil.rmtree(directory)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(one=PLAIN, two=PLAIN | {"variables": {"SHLVL": "2", "OLDPWD": "/b"}}, same=False, scope="directory")
@example(one=PLAIN, two=PLAIN | {"directory": "p/sub"}, same=False, scope="user")
@example(one=PLAIN, two=PLAIN | {"variables": {"API_TOKEN": ""}}, same=False, scope="user")
@given(one=SIDES, two=SIDES, same=st.booleans(), scope=st.sampled_from(["directory", "project", "user"]))
def test_two_sessions_share_exactly_if_alone_they_would_have_had_the_same_server(
    root: Path, one: Side, two: Side, same: bool, scope: str
) -> None:
    if same:  # two independent draws are hardly ever alike: let them differ in the variables only
        two = one | {"variables": two["variables"]}
    seen = []
    for side in (one, two):
        alone = Runtime(root / f"w{next(_numbers)}")
        alone.environment["HOME"] = str(root / "home")
        try:
            seen.append(see(alone, root, side, scope)[1])
        finally:
            alone.close()
    together = Runtime(root / f"w{next(_numbers)}")
    together.environment["HOME"] = str(root / "home")
    try:
        (pid, first), (other, second) = (see(together, root, side, scope) for side in (one, two))
    finally:
        together.close()
    assert [first, second] == seen, "in company each has the server that it would have had alone"
    assert (pid == other) == (seen[0] == seen[1])
