"""A starter that joins: what it is told before WELCOME, and how long it waits for whom."""

from __future__ import annotations

import json
import os
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
from mux.rendezvous import birth, paths, peer
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
from tests.rendezvous.conftest import HELLO_PAYLOAD


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
