"""What every test may ask for, and the proof that the whole run leaves nothing behind."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.installed import Node, legacy_sdk, node
from tests.support.runtime import MODES, Runtime

_numbers = count(1)

for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
    # A shell that starts us in the background ignores some; our children would inherit that.
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session")
def run_directory() -> Iterator[Path]:
    """A directory whose path is short enough for a socket's, whatever TMPDIR is."""
    directory = Path(tempfile.mkdtemp(prefix=f"muxt-{os.getpid()}-", dir="/tmp"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(run_directory: Path) -> Iterator[None]:
    """No process, no directory of a test, no default socket survives the run."""
    before = _default_sockets()
    os.environ[processes.MARK] = str(run_directory)
    gc.freeze()  # the modules and the tests themselves: a collection after each test looks at what the tests made
    yield
    del os.environ[processes.MARK]
    stray = processes.marked(run_directory)
    left = processes.describe(stray)
    left += [f"file {path}" for path in sorted(run_directory.glob("*"))]
    left += [f"file {path}" for path in sorted(_default_sockets() - before)]
    processes.kill(stray)
    assert not left, "\n".join(["the tests left behind:", *left])


def _default_sockets() -> set[Path]:
    """Sockets in the places that are used when nobody names one: no test may touch them."""
    user = os.getuid()
    return {path for place in (f"/run/user/{user}/mux", f"/tmp/mux-{user}") for path in Path(place).glob("*.sock")}


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """What a test leaves open fails this test, and not the one during which the garbage is collected."""
    yield
    gc.collect()


@pytest.fixture
def runtime(run_directory: Path) -> Iterator[Runtime]:
    world = Runtime(run_directory / str(next(_numbers)))
    yield world
    world.close()


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """The test runs against the server itself, and through the shim: both must look the same."""
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="session")
def node_tools() -> Node:
    """Node and the servers from npm; skips, with the reason, where they are not to be had."""
    found = node()
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(scope="session")
def legacy_python() -> str:
    """An interpreter with the SDK's major version 1, in an environment of its own."""
    found = legacy_sdk()
    if found is None:
        pytest.skip("mcp<2 could not be installed here")
    return found
