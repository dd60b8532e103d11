"""A backend whose files are replaced, removed or rewritten while sessions work."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.faults.support import configure, descriptors, report, served, times
from tests.support.processes import eventually, running
from tests.support.runtime import SCRIPTED, Runtime
from tests.support.session import Session

# --- self-check and state files -----------------------------------------------------------------


LOSSES = ["socket deleted", "socket replaced", "lock deleted", "lock replaced", "directory deleted"]
OF_THE_SOCKET = LOSSES[:2]
PATIENCE = 2.0
"""What a newcomer may wait, seconds, besides a cold start: that was measured just before, on the machine as it is."""


@pytest.fixture
def place(runtime: Runtime) -> Path:
    """A directory that can go: of the socket, its lock and its record."""
    directory = runtime.directory / "run"
    runtime.socket, runtime.lock, runtime.record = (directory / f"s.{end}" for end in ("sock", "lock", "json"))
    return directory


def lose(runtime: Runtime, what: str) -> None:
    if what == "directory deleted":
        shutil.rmtree(runtime.socket.parent)
        return
    path = runtime.lock if "lock" in what else runtime.socket
    path.unlink()
    if "replaced" in what:
        path.touch(mode=0o600)


def timed(runtime: Runtime) -> tuple[Session, float]:
    """A new session, and the seconds from before its spawn to the answer of its `initialize`."""
    begun = time.monotonic()
    return runtime.ready(), time.monotonic() - begun


@pytest.mark.parametrize("what", LOSSES)
def test_a_newcomer_is_served_or_runs_directly_at_once_although_the_backend_has_not_noticed(
    runtime: Runtime, place: Path, what: str
) -> None:
    old, cold = timed(runtime)
    backend = runtime.backend()
    lose(runtime, what)
    new, taken = timed(runtime)
    assert taken < PATIENCE + 2 * cold
    report(f"{what}: a cold start takes {cold:.2f} s, a newcomer {taken:.2f} s")
    if what in OF_THE_SOCKET:
        assert new.pid() == new.child.pid, "the backend lives and cannot be reached, and there must be no second"
        assert (str(runtime.socket) in new.stderr, new.stderr.count("\n")) == (True, 1)
    elif what == "directory deleted":
        assert new.pid() not in {old.pid(), new.child.pid}
    else:
        assert new.pid() == old.pid(), "the socket is all that it needs"
    assert old.call("echo", text="on") == "on"
    old.finish()
    new.finish()
    if what == "socket replaced":
        runtime.socket.unlink()
    eventually("the old backend has left", lambda: not running(backend.pid))
    if "lock" in what:
        runtime.ready().finish()  # without its lock the old one could not know whose record that is
    runtime.expect_empty()


@pytest.mark.parametrize("what", OF_THE_SOCKET)
def test_a_backend_whose_socket_is_gone_serves_the_old_and_leaves_and_then_newcomers_share_again(
    runtime: Runtime, place: Path, what: str
) -> None:
    configure(runtime, self_check_seconds=0.2)
    old = runtime.ready()
    backend = runtime.backend()
    lose(runtime, what)
    log = place / "s.log"
    eventually("it has noticed", lambda: "socket.lost" in log.read_text(encoding="utf-8"))
    newcomer = timed(runtime)[0]
    assert newcomer.pid() == newcomer.child.pid, "there must be no second backend"
    assert newcomer.stderr.count("\n") == 1
    newcomer.finish()
    assert old.call("echo", text="on") == "on"
    old.finish()
    eventually("the old backend has left", lambda: not running(backend.pid))
    if what == "socket replaced":
        assert runtime.socket.read_bytes() == b"", "what is no socket is left alone"
        runtime.socket.unlink()
    new = [runtime.ready() for _ in range(2)]
    assert new[0].pid() == new[1].pid()
    assert [session.stderr for session in new] == ["", ""]
    for session in new:
        session.finish()
    runtime.expect_empty()


@pytest.mark.parametrize("what", [what for what in LOSSES if what not in OF_THE_SOCKET])
def test_a_backend_without_its_lock_serves_the_old_and_leaves_and_newcomers_have_another(
    runtime: Runtime, place: Path, what: str
) -> None:
    configure(runtime, self_check_seconds=0.2)
    old, cold = timed(runtime)
    backend = runtime.backend()
    listening = descriptors(backend.pid)
    lose(runtime, what)
    if what == "directory deleted":
        eventually("it has noticed", lambda: descriptors(backend.pid) < listening)
    else:
        log = place / "s.log"
        eventually("it has noticed", lambda: "socket.lost" in log.read_text(encoding="utf-8"))
    assert old.call("echo", text="on") == "on"
    new, taken = timed(runtime)
    assert taken < PATIENCE + 2 * cold
    assert new.pid() not in {old.pid(), new.child.pid}
    record = runtime.record.read_bytes()
    old.finish()
    eventually("the old backend has left", lambda: not running(backend.pid))
    assert runtime.record.read_bytes() == record, "the successor's record is none of its business"
    assert new.call("echo", text="on") == "on"
    new.finish()
    runtime.expect_empty()


GARBAGE = [
    b"",
    b"{",
    b"\0" * 4096,
    b"[]",
    b"null",
    b'{"process":[1,2]',
    b"x" * (2 << 20),
    b"[" * 50_000,
    b"\xff\n1 1\n",
]


def test_nobody_notices_that_the_state_files_are_rewritten_all_the_time(runtime: Runtime) -> None:
    """Garbage, nothing, a directory, a link, and a record that names an innocent process."""
    configure(runtime, self_check_seconds=0.2, backend_deaths=1 << 20)
    fail, stopped = runtime.directory / "s.fail", runtime.directory / "s.stopped"
    random_ = random.Random(5)
    stopping = threading.Event()
    innocent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    forged = {
        "process": [1, 1],
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
        "version": "0",
        "upstreams": [{"leader": [innocent.pid, 1], "mark": "x", "tree": [[innocent.pid, 2]]}],
    }

    def fuzz() -> None:
        while not stopping.wait(0.005):
            path = random_.choice((fail, stopped, runtime.record))
            try:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
                match random_.randrange(6):
                    case 0:
                        path.mkdir()
                    case 1:
                        path.symlink_to("/etc/hostname")
                    case 2:
                        path.write_text(json.dumps(forged), encoding="utf-8")
                    case 3:
                        pass
                    case _:
                        path.write_bytes(random_.choice(GARBAGE))
            except (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError):
                continue  # the program was quicker

    sessions = [runtime.ready(), runtime.ready()]
    fuzzer = threading.Thread(target=fuzz)
    fuzzer.start()
    rounds = times(4, 200)
    try:
        for number in range(rounds):
            assert all(session.call("echo", text="on") == "on" for session in sessions)
            runtime.ready(*SCRIPTED, "--name", str(number)).finish()
            if number % 2:
                runtime.backend().kill()
                assert all(served(session) for session in sessions)
    finally:
        stopping.set()
        fuzzer.join()
        lives_on = innocent.poll() is None
        innocent.kill()
        innocent.wait()
    assert lives_on
    for path in (fail, stopped, runtime.record):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    assert psutil.pid_exists(sessions[0].child.pid)
