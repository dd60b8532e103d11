"""A backend whose files are replaced, removed or rewritten while sessions work."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.faults.support import configure, descriptors, served, times
from tests.support.processes import eventually, running
from tests.support.runtime import SCRIPTED, Runtime

# --- self-check and state files -----------------------------------------------------------------


@pytest.mark.parametrize("what", ["socket deleted", "lock deleted", "socket replaced", "directory deleted"])
def test_a_backend_that_is_no_longer_found_serves_the_old_and_leaves(runtime: Runtime, what: str) -> None:
    configure(runtime, self_check_seconds=0.2)
    place = runtime.directory / "run"
    runtime.socket, runtime.lock, runtime.record = (place / f"s.{end}" for end in ("sock", "lock", "json"))
    old = runtime.ready()
    backend = runtime.backend()
    listening = descriptors(backend.pid)
    if what == "directory deleted":
        shutil.rmtree(place)
    elif what == "lock deleted":
        runtime.lock.unlink()
    else:
        runtime.socket.unlink()
        if what == "socket replaced":
            runtime.socket.touch()
    if what == "directory deleted":
        eventually("it has noticed", lambda: descriptors(backend.pid) < listening)
    else:
        log = place / "s.log"
        eventually("it has noticed", lambda: "socket.lost" in log.read_text(encoding="utf-8"))
    assert old.call("echo", text="on") == "on"
    if what == "socket replaced":
        runtime.socket.unlink()
    if what in {"lock deleted", "directory deleted"}:  # else the old one holds the lock until its last session goes
        new = runtime.ready()
        assert new.pid() != old.pid()
        record = runtime.record.read_bytes()
        old.finish()
        eventually("the old backend has left", lambda: not running(backend.pid))
        assert runtime.record.read_bytes() == record, "the successor's record is none of its business"
        assert new.call("echo", text="on") == "on"
        new.finish()
    else:
        old.finish()
    eventually("the old backend has left", lambda: not running(backend.pid))
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
