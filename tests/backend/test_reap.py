"""Processes by pid and start time. Both halves of the module run here: psutil knows Linux too."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mux.backend import reap
from mux.backend.reap import MARK, Identity, Process, Table
from tests.backend.support import PATIENCE, identity, sleeper
from tests.support.processes import eventually

ME = os.getpid()


@pytest.fixture(params=["linux", "other"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module as this system has it, and as another without pidfd has."""
    importlib.import_module("psutil")  # which looks at the platform too
    spec = importlib.util.spec_from_file_location("reap_elsewhere", reap.__file__)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "platform", request.param)
        spec.loader.exec_module(found)
    if request.param == "other":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    return found


def dead() -> int:
    """The number of a process that is gone."""
    with sleeper() as process:
        process.kill()
    return process.pid


def ends(process: subprocess.Popen[bytes]) -> int:
    return process.wait(PATIENCE)


# --- the process table --------------------------------------------------------------------------


def test_a_process_has_a_parent_and_a_group_and_one_start_for_ever(system: Any) -> None:
    with sleeper(process_group=0) as process:
        row = system.process(process.pid)
        assert row == system.process(process.pid)
        assert (row.identity.pid, row.parent, row.group, row.dead) == (process.pid, ME, process.pid, False)
        assert row.identity.started >= system.process(ME).identity.started
        assert system.table()[process.pid] == row
        process.kill()


def test_a_process_that_is_gone_has_no_row_and_no_environment(system: Any) -> None:
    pid = dead()
    assert system.process(pid) is None
    assert system.environment(pid) == b""
    assert pid not in system.table()


def test_a_zombie_is_dead(system: Any) -> None:
    with sleeper() as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        row = system.process(process.pid)
        assert row.dead
        assert not system.living([row.identity])
        assert row.identity not in system.descendants(ME, system.table())


def test_a_command_name_with_parentheses_and_spaces_is_read(directory: Path) -> None:
    odd = directory / "a) R 1 (b"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([odd, "92"]) as process:
        row = reap.process(process.pid)
        assert row is not None
        assert row.parent == ME
        process.kill()


def test_the_environment_is_what_the_process_was_started_with(system: Any) -> None:
    with sleeper(env={"A": "1", "B": "\udcff"}) as process:
        eventually("its exec is over", lambda: system.environment(process.pid))
        assert sorted(system.environment(process.pid).rstrip(b"\0").split(b"\0")) == [b"A=1", b"B=\xff"]
        process.kill()


def test_a_boot_is_told_by_the_same_word_each_time(system: Any) -> None:
    assert system.boot() == system.boot() != ""


def test_age_is_the_time_since_the_start(system: Any) -> None:
    with sleeper() as process:
        older, younger = (system.age(system.process(pid).identity) for pid in (ME, process.pid))
        assert -1.0 < younger <= older < system.age(Identity(1, 0))
        process.kill()


# --- who belongs to whom ------------------------------------------------------------------------


def table(*rows: tuple[int, int, bool]) -> Table:
    """(pid, parent, dead) of each; its group is its parent's number, its start its own."""
    return {pid: Process(Identity(pid, pid), parent, parent, dead) for pid, parent, dead in rows}


def test_descendants_are_all_below_through_dead_ones_too() -> None:
    rows = table((1, 0, False), (2, 1, False), (3, 2, True), (4, 3, False), (5, 2, False), (6, 0, False), (7, 6, False))
    assert reap.descendants(1, rows) == {Identity(2, 2), Identity(4, 4), Identity(5, 5)}
    assert reap.descendants(4, rows) == reap.descendants(99, rows) == set()


def test_members_are_the_living_of_one_group() -> None:
    rows = table((1, 0, False), (2, 7, False), (3, 7, True), (4, 7, False))
    assert reap.members(7, rows) == {Identity(2, 2), Identity(4, 4)}


def test_grandchildren_are_found_by_descent_and_by_group() -> None:
    with subprocess.Popen(["/bin/sh", "-c", "sleep 92 & sleep 93 & wait"], process_group=0) as shell:
        found = eventually(
            "the shell has two children", lambda: (two := reap.descendants(shell.pid, reap.table())) and len(two) == 2
        )
        assert found
        below = reap.descendants(shell.pid, reap.table())
        assert reap.members(shell.pid, reap.table()) == below | {identity(shell.pid)}
        assert below < reap.descendants(ME, reap.table())
        reap.send_group(shell.pid, signal.SIGKILL)
        assert ends(shell) == -signal.SIGKILL
        eventually("all of them are gone", lambda: not reap.living(below))


def test_marked_are_the_living_that_inherited_a_mark_and_are_not_older(system: Any) -> None:
    with (
        sleeper(env={MARK.decode(): "mine", "A": "x"}) as one,
        sleeper(env={"A": "x", MARK.decode(): "mine"}, start_new_session=True) as two,
        sleeper(env={MARK.decode(): "\udcff"}) as odd,
        sleeper(env={MARK.decode() + "_NOT": "mine"}) as stranger,
        sleeper(env={MARK.decode(): "mine"}) as over,
    ):
        over.kill()
        os.waitid(os.P_PID, over.pid, os.WEXITED | os.WNOWAIT)
        ours = {process.pid: system.process(process.pid) for process in (one, two, odd, stranger, over)}
        mine = {ours[one.pid].identity, ours[two.pid].identity}
        found = system.marked(ours, 0)
        assert found == {"mine": mine, "\N{REPLACEMENT CHARACTER}": {ours[odd.pid].identity}}
        assert system.marked(ours, max(row.identity.started for row in ours.values()) + 1) == {}
        for process in (one, two, odd, stranger):
            process.kill()


# --- signals ------------------------------------------------------------------------------------


def test_a_process_is_proven_by_pid_and_start_time(system: Any) -> None:
    with sleeper() as process:
        known = system.process(process.pid).identity
        impostor = Identity(known.pid, known.started - 1)
        assert system.living([known, impostor]) == {known}
        assert not system.send(impostor, signal.SIGKILL)
        assert process.poll() is None
        assert system.send(known, signal.SIGKILL)
        assert ends(process) == -signal.SIGKILL
        assert not system.send(known, signal.SIGKILL)


def test_a_signal_leaves_no_descriptor_open() -> None:
    with sleeper() as process:
        known = identity(process.pid)
        before = os.listdir("/proc/self/fd")
        assert not reap.send(Identity(known.pid, 0), signal.SIGKILL)
        assert reap.send(known, signal.SIGKILL)
        assert os.listdir("/proc/self/fd") == before


def test_who_has_become_another_users_is_not_signalled(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_fd: int, _number: int) -> None:
        raise PermissionError

    with sleeper() as process:
        with monkeypatch.context() as patched:
            patched.setattr(signal, "pidfd_send_signal", denied)
            assert not reap.send(identity(process.pid), signal.SIGKILL)
        process.kill()


def test_all_are_signalled_whoever_of_them_is_gone() -> None:
    gone = Identity(dead(), 1)
    with sleeper() as one, sleeper() as two:
        reap.send_all([identity(one.pid), gone, identity(two.pid)], signal.SIGTERM)
        assert ends(one) == ends(two) == -signal.SIGTERM


def test_a_group_that_is_gone_is_signalled_without_a_word() -> None:
    pid = dead()
    reap.send_group(pid, signal.SIGKILL)
    assert not reap.members(pid, reap.table())


# --- handles ------------------------------------------------------------------------------------


def test_a_handle_becomes_readable_when_the_process_ends() -> None:
    with sleeper() as process:
        fd = reap.handle(process.pid)
        assert fd is not None
        assert not select.select([fd], [], [], 0)[0]
        process.kill()
        assert select.select([fd], [], [], PATIENCE)[0]
        os.close(fd)


def test_there_is_no_handle_of_nobody() -> None:
    with pytest.raises(ProcessLookupError):
        reap.handle(dead())


@pytest.mark.parametrize("reason", [errno.ENOSYS, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_where_no_handle_is_to_be_had_a_signal_arrives_without(monkeypatch: pytest.MonkeyPatch, reason: int) -> None:
    def refused(_pid: int, _flags: int = 0) -> int:
        raise OSError(reason, os.strerror(reason))

    with sleeper() as process:
        monkeypatch.setattr(os, "pidfd_open", refused)
        assert reap.handle(process.pid) is None
        assert reap.send(identity(process.pid), signal.SIGKILL)
        assert ends(process) == -signal.SIGKILL


def test_a_system_without_handles_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert reap.handle(ME) is None
