"""Where something is missing, forbidden or not ours: a named error or the server itself, and soon."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.support import report, times
from tests.support.processes import MARK
from tests.support.runtime import SCRIPTED, Runtime, program
from tests.support.session import Session

FORBID = [sys.executable, str(Path(__file__).with_name("forbid.py"))]
NOBODY = 65534
SUN_PATH = 103
PATIENCE = 2.0
"""What hosts and people may wait for a direct run, seconds from before the spawn; twice as much in a fast run, beside
which the machine may do anything."""

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away, or mount one")


def session(runtime: Runtime, argv: Sequence[str], **environment: str) -> Session:
    """A shim that is started in an odd way; closed with the runtime."""
    found = Session(argv, environment={**runtime.environment, **environment}, cwd=runtime.project)
    runtime.sessions.append(found)
    return found


def runs_directly(runtime: Runtime, argv: Sequence[str], why: str) -> None:
    """The server takes the shim's process over, in time, with one line that says why."""
    begun = time.monotonic()
    found = session(runtime, argv)
    found.initialize()
    taken = time.monotonic() - begun
    assert found.pid() == found.child.pid
    assert why in found.stderr, found.stderr
    assert found.stderr.count("\n") == 1
    assert taken < times(2, 1) * PATIENCE
    assert found.finish() == 0


def test_where_unix_sockets_are_forbidden_the_server_is_run_directly(runtime: Runtime) -> None:
    runs_directly(runtime, [*FORBID, "unix", *runtime.shim(*SCRIPTED)], "Unix sockets")


def test_a_path_of_103_bytes_is_used_and_one_of_104_is_refused_by_name(runtime: Runtime) -> None:
    directory = runtime.directory / "d"
    directory.mkdir(mode=0o700)
    fits = directory / ("x" * (SUN_PATH - len(os.fsencode(directory)) - len("/.sock")) + ".sock")
    assert len(os.fsencode(fits)) == SUN_PATH
    shim = [program("mux-shim"), "--grace", "0.2"]
    good = session(runtime, [*shim, "--socket", str(fits), *SCRIPTED])
    good.initialize()
    assert good.pid() != good.child.pid
    runs_directly(runtime, [*shim, "--socket", str(fits).replace(".sock", "x.sock"), *SCRIPTED], "104 bytes")


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o1777])
def test_a_directory_that_is_open_to_others_is_refused(runtime: Runtime, mode: int) -> None:
    directory = runtime.directory / "open"
    directory.mkdir()
    directory.chmod(mode)
    argv = [program("mux-shim"), "--socket", str(directory / "s.sock"), *SCRIPTED]
    runs_directly(runtime, argv, "open to others")
    assert list(directory.iterdir()) == []
    assert stat.S_IMODE(directory.stat().st_mode) == mode, "it was repaired"


@root_only
def test_a_directory_of_another_user_is_refused(runtime: Runtime) -> None:
    directory = runtime.directory / "foreign"
    directory.mkdir(mode=0o700)
    os.chown(directory, NOBODY, NOBODY)
    argv = [program("mux-shim"), "--socket", str(directory / "s.sock"), *SCRIPTED]
    runs_directly(runtime, argv, "belongs to uid")


def test_a_link_in_place_of_the_directory_is_refused(runtime: Runtime) -> None:
    (runtime.directory / "link").symlink_to(runtime.directory)
    argv = [program("mux-shim"), "--socket", str(runtime.directory / "link" / "s.sock"), *SCRIPTED]
    runs_directly(runtime, argv, "link")


@root_only
@pytest.mark.parametrize(("option", "why"), [("ro", "Read-only"), ("size=4k,nr_inodes=2", "No space")])
def test_a_directory_that_takes_no_files_is_named(runtime: Runtime, option: str, why: str) -> None:
    """Mounted in a namespace of the shim's own."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("no mount namespaces here")
    directory = runtime.directory / "scarce"
    directory.mkdir(mode=0o700)
    script = f'mount -t tmpfs -o mode=0700,{option} tmpfs "$1" && touch "$1/taken" 2>/dev/null; shift; exec "$@"'
    shim = [program("mux-shim"), "--socket", str(directory / "s.sock"), *SCRIPTED]
    runs_directly(runtime, ["unshare", "-m", "sh", "-c", script, "sh", str(directory), *shim], why)


def test_with_64_descriptors_200_sessions_are_served_or_run_directly_and_nothing_spins(runtime: Runtime) -> None:
    count = times(60, 200)
    sessions = [session(runtime, [*FORBID, "nofile", "64", *runtime.shim(*SCRIPTED)]) for _ in range(count)]
    for number in range(0, count, 20):
        for one in sessions[number : number + 20]:
            one.begin("initialize", {"protocolVersion": "2025-11-25"})
    for one in sessions:
        one.result(0, seconds=60)
    assert all(one.call("echo", text="on") == "on" for one in sessions)
    shared = [one for one in sessions if one.pid() != one.child.pid]
    direct = [one for one in sessions if one not in shared]
    assert all("directly" in one.stderr for one in direct)
    (backend,) = runtime.backends()
    before = sum(backend.cpu_times()[:2])
    time.sleep(1)
    busy = sum(backend.cpu_times()[:2]) - before
    assert busy < 0.5, "it spins"
    report(f"64 descriptors, {count} sessions: {len(shared)} shared, {len(direct)} run directly")
    assert shared
    assert direct


def test_a_deleted_working_directory_is_no_reason_to_hang(runtime: Runtime) -> None:
    gone = runtime.directory / "gone"
    gone.mkdir()
    process = subprocess.Popen(
        ["sh", "-c", 'rmdir "$0"; exec "$@"', str(gone), *runtime.shim(*SCRIPTED)],
        cwd=gone,
        env={**runtime.environment, MARK: str(runtime.directory)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = process.communicate(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n', timeout=30)
    assert b'"id": 1' in out, err
    assert b"directory" in err
