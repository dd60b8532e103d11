"""Starters at once and alone: one backend, of which they hold nothing; and starts that fail."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from mux.errors import StartFailed
from mux.rendezvous import notes
from mux.rendezvous.attach import attach
from mux.rendezvous.lock import try_lock
from mux.rendezvous.paths import Place
from tests.rendezvous.conftest import HELLO_PAYLOAD, Starters
from tests.support.processes import eventually, running


def freed(path: str) -> int:
    """The lock, as soon as its last holder is gone."""
    lock = eventually("the lock is free", lambda: try_lock(path))
    assert lock is not None
    return lock


# --- starting ---------------------------------------------------------------------------------


def test_many_starters_at_once_start_one_backend_and_all_are_welcomed_by_it(starters: Starters) -> None:
    outcomes = [starters.outcome(process) for process in [starters.start() for _ in range(24)]]
    (backend,) = starters.lives()
    assert set(outcomes) == {f"welcome session-of-{backend['pid']}"}


def test_the_backend_is_no_descendant_of_its_starter_and_shares_neither_group_nor_session(starters: Starters) -> None:
    starter = starters.start()
    assert starters.outcome(starter).startswith("welcome")
    (backend,) = starters.lives()
    assert backend["ppid"] != starter.pid
    assert backend["pgid"] not in (backend["pid"], os.getpgrp())  # a session's leader could get a terminal back
    assert backend["sid"] != os.getsid(0)
    assert backend["cwd"] == "/"
    assert backend["umask"] == 0o077


def test_the_backend_holds_nothing_but_dev_null_and_the_three_that_were_passed(starters: Starters) -> None:
    left, right = socket.socketpair()
    os.dup2(right.fileno(), 200)
    starter = starters.start(pass_fds=(200,))
    os.close(200)
    assert starters.outcome(starter).startswith("welcome")
    (backend,) = starters.lives()
    fds = backend["fds"]
    assert {fds.pop(number) for number in ("0", "1", "2")} == {"/dev/null"}
    assert {int(number) for number, target in fds.items() if "/proc/" not in target} == set(backend["kept"])
    left.close()
    right.close()


def test_the_backend_gets_a_scrubbed_environment(starters: Starters) -> None:
    starters.outcome(starters.start())
    (backend,) = starters.lives()
    environment = backend["environment"]
    assert "SECRET" not in environment
    malloc = {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"}
    assert set(environment) <= {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "MUX_FAILPOINTS", "LC_CTYPE"} | malloc
    assert "/usr/bin" in environment["PATH"]


def test_the_backend_starts_with_default_signals_whatever_its_starter_had(starters: Starters) -> None:
    def unruly() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})

    starters.outcome(starters.start(preexec_fn=unruly))
    (backend,) = starters.lives()
    assert backend["blocked"] == []
    assert backend["ignores_sigterm"] is False


def test_a_starter_that_ignores_sigchld_starts_a_backend_all_the_same(starters: Starters) -> None:
    starter = starters.start(preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert starters.outcome(starter).startswith("welcome")


def test_the_pipes_of_a_dead_starter_end_while_its_backend_lives(starters: Starters) -> None:
    first, second = starters.start(), None
    assert starters.outcome(first).startswith("welcome")
    second = starters.start()
    assert starters.outcome(second).startswith("welcome")
    first.send_signal(signal.SIGKILL)
    assert first.stdout is not None
    assert first.stderr is not None
    assert (first.stdout.read(), first.stderr.read()) == ("", "")
    (backend,) = starters.lives()
    assert running(backend["pid"])


def test_a_starter_leaves_no_child_of_its_own(starters: Starters) -> None:
    starter = starters.start()
    starters.outcome(starter)
    assert Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text() == ""


def test_the_backend_holds_the_lock_as_long_as_it_lives_and_no_longer(starters: Starters) -> None:
    starter = starters.start()
    starters.outcome(starter)
    assert try_lock(str(starters.lock)) is None
    starters.end()
    os.close(freed(str(starters.lock)))


def test_a_starter_whose_standard_descriptors_are_closed_starts_a_backend_that_has_them(starters: Starters) -> None:
    assert starters.start("serve", "close").wait(20) == 0
    (backend,) = eventually("the backend has reported itself", starters.lives)
    fds = backend["fds"]
    assert [fds[number] for number in ("0", "1", "2")] == ["/dev/null"] * 3


def test_after_a_killed_backend_the_next_starter_replaces_its_socket(starters: Starters) -> None:
    starters.outcome(starters.start())
    os.kill(starters.lives()[0]["pid"], signal.SIGKILL)
    assert starters.socket.exists()
    assert starters.outcome(starters.start()).startswith("welcome")
    assert len(starters.lives()) == 2


# --- starts that fail -------------------------------------------------------------------------


def test_the_reason_of_a_failed_start_reaches_its_starter_and_keeps_others_from_trying(starters: Starters) -> None:
    assert starters.outcome(starters.start("reason")) == "StartFailed no room at the inn"
    assert starters.outcome(starters.start("reason")) == "StartFailed no room at the inn"
    assert len(starters.lives()) == 1


def test_a_failure_is_forgotten_when_its_time_is_over_and_removed_by_a_success(starters: Starters) -> None:
    starters.fail.write_text(f"{notes.boot_id()}\n{time.monotonic() - 3} 2.0\nbefore\n")
    assert starters.outcome(starters.start()).startswith("welcome")
    assert not starters.fail.exists()


def test_a_backend_that_dies_without_a_word_is_started_again_for_a_while_and_then_given_up(starters: Starters) -> None:
    assert starters.outcome(starters.start("silent")).startswith("StartFailed the backend ended while it was starting")
    assert len(starters.lives()) >= 2
    assert starters.fail.exists()


@pytest.mark.parametrize("when", ["silent-once", "late-once"])
def test_a_backend_that_was_killed_while_starting_costs_nobody_anything(starters: Starters, when: str) -> None:
    assert starters.outcome(starters.start(when)).startswith("welcome")
    assert len(starters.lives()) == 2


def test_a_program_that_can_not_be_run_is_a_reason(place: Place) -> None:
    from mux.rendezvous.spawn import start

    def launch(place: Place, lock: int, listener: int) -> int:
        return start(place, lock, listener, command=["/nonexistent/python"])

    with pytest.raises(StartFailed, match="cannot run /nonexistent/python"):
        attach([place], HELLO_PAYLOAD, start=launch)
    os.close(freed(place.lock))
    assert not os.path.exists(place.socket)


def test_a_starter_that_can_not_even_fork_leaves_no_socket(place: Place) -> None:
    def launch(place: Place, _lock: int, _listener: int) -> int:
        assert os.path.exists(place.socket)
        raise StartFailed("no more processes")

    with pytest.raises(StartFailed, match="no more processes"):
        attach([place], HELLO_PAYLOAD, start=launch)
    assert not os.path.exists(place.socket)
    os.close(freed(place.lock))
