"""Ends that nobody plans: a host's whole cgroup, a logout, a forged record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.processes import eventually, running
from tests.support.runtime import SCRIPTED, Runtime, program
from tests.support.session import Session

CGROUPS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
"""Where version 2 is mounted, alone or beside version 1."""
HEX = 16


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A control group of one's own, with a switch that kills all in it."""
    root = next((root for root in CGROUPS if (root / "cgroup.procs").exists()), CGROUPS[0])
    path = root / f"muxt-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no control groups to be had here: {error.strerror}")
    if not (path / "cgroup.kill").exists():
        path.rmdir()
        pytest.skip("control groups without a kill switch")
    yield path
    (path / "cgroup.kill").write_text("1")
    eventually("it is empty", lambda: "populated 0" in (path / "cgroup.events").read_text())
    path.rmdir()


def test_when_the_first_host_is_killed_with_all_in_its_cgroup_the_others_get_a_new_backend(
    runtime: Runtime, cgroup: Path
) -> None:
    """As a container or a systemd scope does it: the double fork does not leave a cgroup."""
    first = Session(
        ["sh", "-c", f'echo $$ > {cgroup}/cgroup.procs; exec "$@"', "sh", *runtime.shim(*SCRIPTED)],
        environment=runtime.environment,
        cwd=runtime.project,
    )
    runtime.sessions.append(first)
    first.initialize()
    second = runtime.ready()
    backend = runtime.backend()
    assert str(backend.pid) in (cgroup / "cgroup.procs").read_text().split()
    (cgroup / "cgroup.kill").write_text("1")
    eventually("backend and first host are dead", lambda: first.child.poll() is not None and not running(backend.pid))
    second.request("tools/list")
    assert second.call("echo", text="on") == "on"
    assert runtime.backend() != backend


def test_a_logout_moves_the_sessions_to_the_next_place(runtime: Runtime) -> None:
    """/run/user/UID goes, with the default socket in it, while sessions live; and comes back with the next login."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("needs mount namespaces")
    user, spare = f"/run/user/{os.geteuid()}", f"/tmp/mux-{os.geteuid()}"
    os.makedirs(spare, mode=0o700, exist_ok=True)
    script = (
        f"mount -t tmpfs -o mode=0755 tmpfs /run && mkdir -p -m 0700 {user} /run/spare && "
        f"mount --bind /run/spare {spare} && echo ready && exec sleep 3600"
    )
    with subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE, text=True) as keeper:
        inside = ["nsenter", "-t", str(keeper.pid), "-m", "--"]
        try:
            assert keeper.stdout is not None
            assert keeper.stdout.readline() == "ready\n"
            sessions = [_default_session(runtime, inside) for _ in range(2)]
            first = _backend_of(sessions[0])
            assert any(word.startswith(f"{user}/mux/") for word in first.cmdline())
            subprocess.run([*inside, "rm", "-rf", user], check=True, timeout=30)
            assert sessions[1].call("echo", text="on") == "on", "the old one serves on"
            first.kill()
            for session in sessions:
                session.request("tools/list")
            second = _backend_of(sessions[0])
            assert any(word.startswith(f"{spare}/") for word in second.cmdline())
            subprocess.run([*inside, "mkdir", "-p", "-m", "0700", user], check=True, timeout=30)
            late = _default_session(runtime, inside)
            assert late.pid() == sessions[0].pid() == sessions[1].pid(), "a live one is joined wherever it is"
            for session in (*sessions, late):
                session.finish()
            eventually("it has left", lambda: not running(second.pid))
        finally:
            keeper.kill()


def _default_session(runtime: Runtime, inside: list[str]) -> Session:
    """A session that names no socket."""
    argv = [*inside, "env", f"--chdir={runtime.project}", program("mux-shim"), "--grace", "0.3", *SCRIPTED]
    session = Session(argv, environment=runtime.environment, cwd=runtime.project)
    runtime.sessions.append(session)
    session.initialize()
    return session


def _backend_of(session: Session) -> psutil.Process:
    parent = psutil.Process(session.pid()).parent()
    assert parent is not None
    return parent


@pytest.mark.parametrize("forgery", ["start time", "boot", "group of ours"])
def test_a_forged_record_that_names_an_innocent_process_leaves_it_untouched(runtime: Runtime, forgery: str) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True) as innocent:
        fields = Path(f"/proc/{innocent.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        started = int(fields[19])
        if forgery == "start time":
            started -= 1
        elif forgery == "boot":
            boot = boot.replace(boot[0], "0" if boot[0] != "0" else "1")
        leader = [innocent.pid, started] if forgery != "group of ours" else [innocent.pid, started + 1]
        entry = {"leader": leader, "mark": "0" * HEX, "tree": [[innocent.pid, started + (forgery == "group of ours")]]}
        runtime.record.write_text(
            json.dumps({"process": [1, 1], "boot": boot, "version": "0", "upstreams": [entry]}), encoding="utf-8"
        )
        try:
            session = runtime.ready()
            assert session.call("echo", text="on") == "on"
            assert innocent.poll() is None
        finally:
            innocent.kill()
