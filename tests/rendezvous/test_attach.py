"""Real starters, real backends: however many come, one is started, and it belongs to nobody who started it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mux.errors import AttachTimeout, Denied, NoBackend, RendezvousError, StartFailed
from mux.limits import HELLO_BYTES
from mux.rendezvous import attach as attaching
from mux.rendezvous import birth, failure, paths, peer
from mux.rendezvous.attach import attach, connect
from mux.rendezvous.lock import try_lock
from mux.rendezvous.paths import Place
from mux.wire.frames import (
    HELLO,
    NEVER,
    OUT,
    REFUSE,
    REFUSE_DENIED,
    REFUSE_DRAINING,
    STOPPED,
    WELCOME,
    FrameReader,
    frame,
    refuse_payload,
)
from tests.rendezvous.conftest import Starters
from tests.support.processes import eventually, running

HELLO_PAYLOAD = b"hello"


def never_start(place: Place, lock: int, listener: int) -> int:
    raise AssertionError("nobody should be started")


@contextmanager
def listening(place: Place, *answers: bytes | None, hold: bool = True) -> Generator[list[bytes]]:
    """A backend in this process: to each connection in turn it gives one answer to HELLO (None: just the end)."""
    heard: list[bytes] = []
    lock = try_lock(place.lock) if hold else None
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place.socket)
    listener.listen()
    accepted: list[socket.socket] = []

    def run() -> None:
        for answer in answers:
            sock, _ = listener.accept()
            reader = FrameReader()
            while not (frames := reader.feed(sock.recv(65536))):
                pass
            assert frames[0][0] == HELLO
            heard.append(frames[0][3])
            if answer is None:
                sock.close()
            else:
                sock.sendall(answer)
                accepted.append(sock)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield heard
        thread.join(10)
    finally:
        listener.close()
        for sock in accepted:
            sock.close()
        if lock is not None:
            os.close(lock)


def freed(path: str) -> int:
    """The lock, as soon as its last holder is gone."""
    lock = eventually("the lock is free", lambda: try_lock(path))
    assert lock is not None
    return lock


@pytest.fixture
def place(private: Path) -> Place:
    return Place(f"{private}/s.sock")


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
    starters.fail.write_text(f"{failure._boot_id()}\n{time.monotonic() - 3} 2.0\nbefore\n")
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


# --- joining ----------------------------------------------------------------------------------


def test_frames_behind_welcome_are_handed_over_and_a_partial_one_stays_in_the_reader(place: Place) -> None:
    rest = frame(OUT, b"later\n")
    with listening(place, frame(WELCOME, b"s") + frame(OUT, b"now\n", seq=1) + rest[:5]) as heard:
        attached = attach([place], HELLO_PAYLOAD, start=never_start)
        assert (attached.session, attached.frames) == (b"s", [(OUT, 0, 1, b"now\n")])
        assert attached.reader.feed(rest[5:]) == [(OUT, 0, 0, b"later\n")]
        attached.sock.close()
    assert heard == [HELLO_PAYLOAD]


def test_an_end_or_a_refusal_before_welcome_is_tried_again(place: Place) -> None:
    answers = (None, frame(REFUSE, refuse_payload(1, "full: come back")), None, frame(WELCOME, b"s"))
    with listening(place, *answers) as heard:
        attach([place], HELLO_PAYLOAD, start=never_start).sock.close()
    assert heard == [HELLO_PAYLOAD] * 4


def test_a_draining_backend_extends_the_wait(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attaching, "ATTACH_SECONDS", 0.5)
    draining = frame(REFUSE, refuse_payload(300, REFUSE_DRAINING))
    with listening(place, draining, draining, draining, frame(WELCOME, b"s")):
        attach([place], HELLO_PAYLOAD, start=never_start).sock.close()


def test_a_draining_backend_does_not_extend_the_wait_for_ever(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attaching, "ATTACH_SECONDS", 0.2)
    monkeypatch.setattr(attaching, "ATTACH_EMPTY_SECONDS", 0.2)
    monkeypatch.setattr(attaching, "ATTACH_DRAINING_SECONDS", 0.5)
    draining = frame(REFUSE, refuse_payload(10, REFUSE_DRAINING))
    with listening(place, *[draining] * 2), pytest.raises(AttachTimeout):
        attach([place], HELLO_PAYLOAD, start=never_start)


@pytest.mark.parametrize(
    "answer",
    [
        frame(REFUSE, refuse_payload(NEVER, "full: no descriptors left")),
        frame(REFUSE, refuse_payload(100, f"{REFUSE_DENIED}: another sandbox")),
        frame(STOPPED, b"by the operator"),
    ],
)
def test_a_denial_ends_the_attempt_at_once(place: Place, answer: bytes) -> None:
    with listening(place, answer), pytest.raises(Denied):
        attach([place], HELLO_PAYLOAD, start=never_start)


def test_what_speaks_another_protocol_is_named(place: Place) -> None:
    with listening(place, b"HTTP/1.1 400 Bad Request\r\n"), pytest.raises(RendezvousError, match="no backend of ours"):
        attach([place], HELLO_PAYLOAD, start=never_start)


def test_nothing_is_said_to_another_user_s_listener(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "credentials", lambda _: (os.geteuid() + 1, 1))
    lock = try_lock(place.lock)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place.socket)
        listener.listen()
        with pytest.raises(Denied, match="another user"):
            attach([place], HELLO_PAYLOAD, start=never_start)
        sock, _ = listener.accept()
        assert sock.recv(1) == b""
        sock.close()
    assert lock is not None
    os.close(lock)


def test_a_full_backlog_means_busy_and_the_lock_is_not_tried(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attaching, "ATTACH_EMPTY_SECONDS", 0.1)
    monkeypatch.setattr(attaching, "ATTACH_SECONDS", 0.3)
    monkeypatch.setattr(birth, "try_lock", lambda _: pytest.fail("the lock was tried"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place.socket)
        listener.listen(0)
        waiting: list[socket.socket] = []
        while True:
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            waiting.append(sock)
            try:
                sock.connect(place.socket)
            except BlockingIOError:
                break
        with pytest.raises(AttachTimeout):
            attach([place], HELLO_PAYLOAD, start=never_start)
        for sock in waiting:
            sock.close()


def test_a_held_lock_without_a_listener_is_waited_for_and_not_broken(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attaching, "ATTACH_EMPTY_SECONDS", 0.05)
    monkeypatch.setattr(attaching, "ATTACH_SECONDS", 0.3)
    lock = try_lock(place.lock)
    assert lock is not None
    with pytest.raises(AttachTimeout):
        attach([place], HELLO_PAYLOAD, start=never_start)
    os.close(lock)


def test_a_backend_that_never_answers_is_given_up_in_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attaching, "ATTACH_EMPTY_SECONDS", 0.1)
    monkeypatch.setattr(attaching, "ATTACH_SECONDS", 0.3)
    with listening(place, b""), pytest.raises(AttachTimeout, match="did not answer"):
        attach([place], HELLO_PAYLOAD, start=never_start)


def test_a_live_backend_in_a_later_place_is_joined_before_one_is_started(private: Path) -> None:
    first, second = Place(f"{private}/1/s.sock"), Place(f"{private}/2/s.sock")
    second.prepare()
    with listening(second, frame(WELCOME, b"s")):
        attached = attach([first, second], HELLO_PAYLOAD, start=never_start)
        assert attached.place is second
        attached.sock.close()


def test_an_unsafe_later_place_is_nobody_s_and_stops_nobody(private: Path) -> None:
    first, second = Place(f"{private}/1/s.sock"), Place(f"{private}/2/s.sock")
    second.prepare()
    (private / "2").chmod(0o777)
    started: list[Place] = []

    def start(place: Place, lock: int, listener: int) -> int:
        started.append(place)
        raise StartFailed("far enough")

    with pytest.raises(StartFailed):
        attach([first, second], HELLO_PAYLOAD, start=start)
    assert started == [first]


def test_no_backend_is_started_before_its_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attaching, "ATTACH_DRAINING_SECONDS", -0.1)
    with pytest.raises(AttachTimeout):
        attach([place], HELLO_PAYLOAD, start=never_start, not_before=time.monotonic() + 0.2)


def test_where_no_backend_may_be_started_one_look_is_enough(place: Place) -> None:
    with pytest.raises(NoBackend):
        attach([place], HELLO_PAYLOAD, start=never_start, not_before=float("inf"))
    with listening(place, frame(WELCOME, b"s")):
        attach([place], HELLO_PAYLOAD, start=never_start, not_before=float("inf")).sock.close()


def test_a_sandbox_without_unix_sockets_is_a_denial(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> socket.socket:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(paths, "unix_stream", forbidden)
    with pytest.raises(Denied):
        attach([place], HELLO_PAYLOAD, start=never_start)


def test_a_hello_above_its_limit_is_not_sent(place: Place) -> None:
    with pytest.raises(RendezvousError, match=str(HELLO_BYTES)):
        attach([place], b"x" * (HELLO_BYTES + 1), start=never_start)


def test_an_operator_joins_a_running_backend(place: Place) -> None:
    with listening(place, frame(WELCOME, b"")):
        connect([place], HELLO_PAYLOAD).sock.close()


def test_an_operator_starts_none_and_makes_no_directory(private: Path) -> None:
    with pytest.raises(NoBackend):
        connect([Place(f"{private}/none/s.sock")], HELLO_PAYLOAD)
    assert not (private / "none").exists()


def test_importing_the_rendezvous_loads_none_of_the_heavy_modules() -> None:
    heavy = ["re", "enum", "socket", "signal", "subprocess", "typing", "dataclasses", "pathlib", "selectors", "json"]
    loaded = "import sys, mux.rendezvous.attach, mux.shim.relay, mux.shim.main"
    code = f"{loaded}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.replace("'", '"')) == []
