"""The end of a child is learned of once it has happened, and the child stays a zombie for who waits for it."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from mux.backend.exits import exit_watch
from tests.backend.support import PATIENCE, sleeper


@pytest.fixture(params=["descriptor", "polled"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By a descriptor of the system, and where there is none."""

    def missing(_pid: int, _flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, "as on Linux before 5.3")

    if request.param == "polled":
        monkeypatch.setattr(os, "pidfd_open", missing)
    return str(request.param)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with sleeper() as process:
        yield process
        process.kill()


def is_zombie(pid: int) -> bool:
    """Whether our child, which was killed, is left for us to wait for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT) is not None


@pytest.mark.usefixtures("way")
async def test_the_end_of_a_child_is_told_and_its_status_is_left_to_others(child: subprocess.Popen[bytes]) -> None:
    ended = asyncio.Event()
    with exit_watch(child.pid, ended.set):
        assert not ended.is_set()
        child.kill()
        await asyncio.wait_for(ended.wait(), PATIENCE)
        assert is_zombie(child.pid)
    assert child.wait(PATIENCE) == -signal.SIGKILL


@pytest.mark.usefixtures("way")
async def test_the_end_of_a_child_that_has_ended_already_is_told(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    assert is_zombie(child.pid)
    ended = asyncio.Event()
    with exit_watch(child.pid, ended.set):
        await asyncio.wait_for(ended.wait(), PATIENCE)


@pytest.mark.usefixtures("way")
async def test_after_the_block_nothing_is_told_and_nothing_stays_open(child: subprocess.Popen[bytes]) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    told: list[None] = []
    with exit_watch(child.pid, lambda: told.append(None)):
        await asyncio.sleep(0)
    assert sorted(os.listdir("/proc/self/fd")) == before
    child.kill()
    again = asyncio.Event()
    with exit_watch(child.pid, again.set):
        await asyncio.wait_for(again.wait(), PATIENCE)
    assert not told


@pytest.mark.usefixtures("way")
async def test_the_watch_ends_with_whatever_ends_the_block(child: subprocess.Popen[bytes]) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(ZeroDivisionError), exit_watch(child.pid, lambda: None):
        raise ZeroDivisionError
    assert sorted(os.listdir("/proc/self/fd")) == before
