"""What confines a process is read as the kernel says it, and told apart from everything else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

from mux.errors import Denied
from mux.rendezvous import confinement

CONFINED = "import ctypes; ctypes.CDLL(None).prctl(38, 1, 0, 0, 0); print('confined', flush=True); input()"
"""PR_SET_NO_NEW_PRIVS: what every sandbox begins with, and anybody may do."""


def test_the_mark_of_the_confinement_is_the_same_for_equal_values_and_differs_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert confinement.same_as(os.getpid())
    assert not confinement.same_as(0)
    here = confinement.mark()
    assert confinement.mark() == here
    found = confinement.values()
    monkeypatch.setattr(confinement, "values", lambda: (*found[:-1], "2"))
    assert confinement.mark() != here


def test_the_mark_is_short_and_fit_for_a_file_name() -> None:
    assert re.fullmatch("[0-9a-f]{8}", confinement.mark())


def test_a_child_of_ours_is_confined_as_we_are_and_one_that_may_gain_nothing_is_not() -> None:
    plain = subprocess.Popen(["/bin/sleep", "92"])
    sandboxed = subprocess.Popen([sys.executable, "-c", CONFINED], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with plain, sandboxed:
        assert sandboxed.stdout is not None
        assert sandboxed.stdout.readline() == b"confined\n"
        assert confinement.same_as(plain.pid) is True
        assert confinement.same_as(sandboxed.pid) is (confinement.values()[-2] == "1")
        plain.kill()
        sandboxed.kill()


def test_of_a_process_that_has_ended_nothing_is_known_be_it_reaped_or_not() -> None:
    with subprocess.Popen(["/bin/sleep", "92"]) as process:
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        zombie = confinement.same_as(process.pid)
    assert zombie is None
    assert confinement.same_as(process.pid) is None


def test_a_process_that_we_may_not_look_at_counts_as_confined_in_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(_path: str) -> str:
        raise PermissionError

    monkeypatch.setattr(os, "readlink", hidden)
    assert confinement.same_as(os.getpid()) is False


def test_without_proc_there_is_no_name_to_meet_under(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", path)

    monkeypatch.setattr(os, "readlink", missing)
    with pytest.raises(Denied, match=r"cannot read this process's confinement: .*/proc/self/ns/mnt"):
        confinement.mark()


def test_where_the_platform_has_none_everybody_is_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert confinement.mark() == ""
    assert confinement.same_as(1) is True
