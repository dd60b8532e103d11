"""The backend belongs to nobody: neither the end of a shim nor a host's way of killing it reaches other sessions."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.support import processes
from tests.support.runtime import SCRIPTED, Runtime
from tests.support.session import PATIENCE


def test_the_backend_is_no_descendant_and_in_no_group_or_session_of_the_shim(runtime: Runtime) -> None:
    shim = runtime.ready().child.pid
    backend, server = runtime.backend(), runtime.servers("scripted.py")[0]
    assert psutil.Process(shim).children(recursive=True) == []
    for process in (backend, server):
        assert shim not in [parent.pid for parent in process.parents()]
        assert os.getpgid(process.pid) != os.getpgid(shim)
        assert os.getsid(process.pid) != os.getsid(shim)
    assert os.getpgid(server.pid) != os.getpgid(backend.pid)


def test_backend_and_server_hold_no_descriptor_of_the_shims(runtime: Runtime) -> None:
    shim = runtime.ready(stdio="socketpair", options=("--park-after", "0")).child.pid  # asleep, its stdin is lent
    theirs = {target for target in open_files(shim) if not target.startswith("/dev")}
    for process in (runtime.backend(), runtime.servers("scripted.py")[0]):
        assert not theirs & open_files(process.pid)


def open_files(pid: int) -> set[str]:
    return {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}


@pytest.mark.parametrize("order", ["first started", "last started"])
def test_killing_a_shims_whole_tree_and_group_disturbs_no_other_session(runtime: Runtime, order: str) -> None:
    sessions = [runtime.ready(), runtime.ready()]
    victim, survivor = sessions if order == "first started" else reversed(sessions)
    call = survivor.begin_call("sleep", seconds=1)
    pid = survivor.pid()
    for process in processes.tree(victim.child.pid):
        process.send_signal(signal.SIGTERM)
    victim.kill_group(signal.SIGTERM)
    victim.kill_group(signal.SIGKILL)
    assert survivor.text(call) == "slept"
    assert survivor.pid() == pid


def test_a_dead_shims_pipes_end_although_the_backend_lives(runtime: Runtime) -> None:
    runtime.grace = 600.0
    with subprocess.Popen(
        runtime.shim(*SCRIPTED),
        env=runtime.environment,
        cwd=runtime.project,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as shim:
        assert shim.stdin
        assert shim.stdout
        assert shim.stderr
        shim.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        shim.stdin.flush()
        assert b'"id":' in shim.stdout.readline()
        shim.kill()
        for pipe in (shim.stdout, shim.stderr):
            assert select.select([pipe], [], [], PATIENCE)[0], "still held by a living process"
            assert pipe.read() == b""
        assert len(runtime.backends()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_shim_without_a_word(runtime: Runtime, number: signal.Signals) -> None:
    session = runtime.ready()
    session.child.send_signal(number)
    assert session.wait() == -number
    assert session.stderr == ""
    assert all(line.startswith(b"{") for line in session.lines)


def test_a_backend_that_is_asked_to_stop_leaves_nothing_and_sessions_go_on(runtime: Runtime) -> None:
    session = runtime.ready()
    before = runtime.backend()
    before.send_signal(signal.SIGTERM)
    processes.eventually("the backend has left", lambda: not before.is_running())
    assert session.call("echo", text="still here") == "still here"
    assert runtime.backend() != before
