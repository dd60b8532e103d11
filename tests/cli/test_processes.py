"""Processes as the commands see them: what they weigh, who still runs, and signals that hit no stranger."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from mux.cli import processes
from mux.cli.processes import NOTHING, Weight
from tests.support.processes import eventually


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sleep", "92"]) as process:
        yield process
        process.kill()


@pytest.fixture
def gone() -> psutil.Process:
    """A process that was there, and is not."""
    with subprocess.Popen(["/bin/sleep", "92"]) as process:
        found = psutil.Process(process.pid)
        process.kill()
    return found


def test_weights_add_up() -> None:
    assert Weight(1, 2, 3, 4) + Weight(10, 20, 30, 40) + NOTHING == Weight(11, 22, 33, 44)


def test_a_sum_of_which_a_part_is_unknown_is_unknown_and_what_is_private_stands_for_it() -> None:
    unknown = Weight(1, 2, None, 4)
    assert unknown + Weight(1, 2, 3, 4) == Weight(1, 2, 3, 4) + unknown == Weight(2, 4, None, 8)
    assert (unknown.fair, Weight(1, 2, 3, 4).fair) == (4, 3)


def test_each_is_the_average_and_nothing_weighs_nothing() -> None:
    assert Weight(4, 0, 10, 0).each == 2.5
    assert NOTHING.each == 0


def test_what_is_gone_weighs_nothing(gone: psutil.Process) -> None:
    assert processes.weigh([gone]) == NOTHING
    weight = processes.weigh([psutil.Process(), gone])
    assert weight.processes == 1
    assert weight.rss >= weight.fair >= weight.private > 0


def test_a_tree_is_a_process_and_all_below_it_and_nothing_of_one_that_is_gone(gone: psutil.Process) -> None:
    with subprocess.Popen(["/bin/sh", "-c", "sleep 92 & wait"]) as shell:
        eventually("the shell has a child", lambda: len(processes.tree(shell.pid)) == 2)
        found = processes.tree(shell.pid)
        assert found[0].pid == shell.pid
        assert found[1].ppid() == shell.pid
        processes.kill(found)
    assert processes.tree(gone.pid) == []


def test_alive_are_those_that_run_and_no_zombies(child: subprocess.Popen[bytes], gone: psutil.Process) -> None:
    found = psutil.Process(child.pid)
    assert processes.alive([found, gone]) == [found]
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert processes.alive([found, gone]) == []


def test_who_ends_while_he_is_looked_at_is_not_alive(gone: psutil.Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gone, "is_running", lambda: True)
    assert processes.alive([gone]) == []


def test_kill_ends_those_that_run(child: subprocess.Popen[bytes], gone: psutil.Process) -> None:
    processes.kill([gone, psutil.Process(child.pid)])
    assert child.wait(20) == -9


def test_those_that_run_are_named(child: subprocess.Popen[bytes], gone: psutil.Process) -> None:
    assert processes.phrases([psutil.Process(child.pid), gone]) == [f"process {child.pid} (sleep)"]


def test_who_ends_before_his_name_is_read_is_not_named(gone: psutil.Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "alive", list)
    monkeypatch.setattr(gone, "name", nameless)
    assert processes.phrases([gone]) == []


def nameless() -> str:
    raise psutil.NoSuchProcess(0)
