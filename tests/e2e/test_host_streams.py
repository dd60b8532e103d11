"""Whatever a host connects to stdin and stdout: something sensible happens, and another session feels nothing."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import tty
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import IO

import pytest

from tests.support.processes import eventually
from tests.support.runtime import SCRIPTED, SHIM, Runtime
from tests.support.session import PATIENCE, Session

Stream = int | IO[bytes] | None

HELLO = (
    b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},'
    b'"clientInfo":{"name":"raw","version":"1"}}}\n'
    b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hi"}}}\n'
)


@pytest.fixture
def neighbour(runtime: Runtime) -> Iterator[Session]:
    """A session that must feel nothing of what the test does."""
    session = runtime.ready()
    pid = session.pid()
    yield session
    assert session.pid() == pid


@contextmanager
def start(
    runtime: Runtime, mode: str = SHIM, *, stdin: Stream, stdout: Stream, stderr: Stream = None
) -> Generator[subprocess.Popen[bytes]]:
    """A child on these streams; killed at the latest at the end of the block."""
    argv = runtime.shim(*SCRIPTED) if mode == SHIM else SCRIPTED
    with subprocess.Popen(
        argv, env=runtime.environment, cwd=runtime.project, stdin=stdin, stdout=stdout, stderr=stderr
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def answered(output: bytes) -> list[int]:
    """Ids of the answers in `output`, every line of which must be whole."""
    assert output.endswith(b"\n")
    return [json.loads(line)["id"] for line in output.splitlines()]


def flags(*descriptors: int) -> list[int]:
    return [fcntl.fcntl(descriptor, fcntl.F_GETFL) for descriptor in descriptors]


@pytest.mark.parametrize("kind", ["pipe", "socketpair"])
def test_flags_of_the_hosts_descriptors_stay_as_they_were(runtime: Runtime, kind: str) -> None:
    ends: list[int] = []
    for _ in range(3):
        ends += os.pipe() if kind == "pipe" else [end.detach() for end in socket.socketpair()]
    to_shim, from_shim = ends[1], ends[2]
    before = flags(*ends)
    with start(runtime, stdin=ends[0], stdout=ends[3], stderr=ends[5]) as shim:
        os.write(to_shim, HELLO)
        output = b""
        while output.count(b"\n") < 2:
            output += os.read(from_shim, 65536)
        assert answered(output) == [0, 1]
        assert flags(*ends) == before
        runtime.backend().kill()
        os.write(to_shim, HELLO.splitlines(keepends=True)[2])
        assert b"hi" in os.read(from_shim, 65536)
        assert flags(*ends) == before
        shim.send_signal(signal.SIGTERM)
        shim.wait(PATIENCE)
        assert flags(*ends) == before
    for end in ends:
        os.close(end)


def test_stdin_may_be_a_terminal(runtime: Runtime, mode: str, neighbour: Session) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    with start(runtime, mode, stdin=slave, stdout=subprocess.PIPE) as child:
        assert child.stdout
        os.close(slave)
        os.write(master, HELLO)
        assert answered(child.stdout.readline() + child.stdout.readline()) == [0, 1]
        os.close(master)
        child.wait(PATIENCE)


def test_stdin_and_stdout_may_be_one_terminal(runtime: Runtime, neighbour: Session) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    before = flags(slave)
    with start(runtime, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL) as child:
        os.write(master, HELLO)
        output = b""
        while output.count(b"\n") < 2:
            output += os.read(master, 65536)
        assert answered(output) == [0, 1]
        assert flags(slave) == before
        child.terminate()
        child.wait(PATIENCE)
    os.close(slave)
    os.close(master)


def test_stdin_may_be_empty(runtime: Runtime, mode: str, neighbour: Session) -> None:
    with start(runtime, mode, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.communicate(timeout=PATIENCE) == (b"", b"")
        assert child.returncode == 0


def test_stdin_and_stdout_may_be_regular_files(runtime: Runtime, mode: str, neighbour: Session) -> None:
    asked, told = runtime.directory / "in", runtime.directory / "out"
    asked.write_bytes(HELLO)
    with (
        asked.open("rb") as stdin,
        told.open("wb") as stdout,
        start(runtime, mode, stdin=stdin, stdout=stdout) as child,
    ):
        assert child.wait(PATIENCE) == 0
    assert answered(told.read_bytes()) == [0, 1]


def test_what_printf_pipes_into_it_is_answered_although_input_ends_at_once(
    runtime: Runtime, mode: str, neighbour: Session
) -> None:
    with start(runtime, mode, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        output, _ = child.communicate(HELLO, timeout=PATIENCE)
        assert answered(output) == [0, 1]
        assert child.returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_descriptors_may_be_closed(runtime: Runtime, neighbour: Session, closed: str) -> None:
    argv = ["sh", "-c", f'exec "$@" {closed}', "sh", *runtime.shim(*SCRIPTED)]
    done = subprocess.run(
        argv,
        env=runtime.environment,
        cwd=runtime.project,
        input=HELLO,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stderr == b""
    if closed == "2>&-":
        assert answered(done.stdout) == [0, 1]
    elif "<&-" in closed:
        assert (done.returncode, done.stdout) == (0, b"")


def test_a_session_that_stops_reading_delays_nobody(runtime: Runtime, neighbour: Session) -> None:
    stuck = runtime.session(read=False)
    stuck.write(HELLO)
    calls = [
        stuck.begin("tools/call", {"name": "big", "arguments": {"bytes": 4 << 20}}, number=n) for n in range(10, 15)
    ]
    for number in range(200):
        assert neighbour.call("echo", text=str(number)) == str(number)
    assert len(neighbour.call("big", bytes=4 << 20)) == 4 << 20
    stuck.read_on()
    assert [len(stuck.text(call)) for call in calls] == [4 << 20] * 5


def test_a_session_that_never_reads_is_given_up_and_nobody_else(runtime: Runtime, neighbour: Session) -> None:
    stuck = runtime.session(read=False)
    stuck.write(HELLO)
    for number in range(10, 14):
        stuck.begin("tools/call", {"name": "big", "arguments": {"bytes": 12 << 20}}, number=number)
        assert neighbour.call("echo", text=str(number)) == str(number)
    for number in range(200):
        assert neighbour.call("echo", text=str(number)) == str(number)


def test_a_stopped_shim_delays_nobody(runtime: Runtime, neighbour: Session) -> None:
    stopped = runtime.ready()
    call = stopped.begin_call("big", bytes=8 << 20)
    stopped.child.send_signal(signal.SIGSTOP)
    for number in range(200):
        assert neighbour.call("echo", text=str(number)) == str(number)
    stopped.child.send_signal(signal.SIGCONT)
    assert len(stopped.text(call)) == 8 << 20


def test_a_host_that_writes_much_before_it_reads_does_not_deadlock(runtime: Runtime, neighbour: Session) -> None:
    session = runtime.session(read=False)
    session.write(HELLO)
    for number in range(10, 60):
        session.begin("tools/call", {"name": "echo", "arguments": {"text": "x" * 100_000}}, number=number)
    session.read_on()
    assert all(len(session.text(number)) == 100_000 for number in range(10, 60))


def test_a_host_that_vanishes_in_the_middle_of_everything_harms_nobody(runtime: Runtime, neighbour: Session) -> None:
    for _ in range(10):
        session = runtime.ready()
        session.begin_call("big", bytes=1 << 20)
        session.kill_group()
        assert neighbour.call("echo", text="on") == "on"
    eventually("their sessions are over", lambda: len(runtime.status()["sessions"]) == 1)
