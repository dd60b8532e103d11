"""Limits from a user's file, at a real backend: what is below and at them passes, what is above does not."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any, Self

import pytest

from mux.wire.frames import HELLO, REFUSE, ROLE_SESSION, WELCOME, FrameReader, Hello, frame, parse_refuse
from tests.faults.support import configure
from tests.support.processes import eventually, running
from tests.support.runtime import Runtime
from tests.support.session import Failed, Session

KIB = 1024
MIB = 1024 * KIB
MIRROR = [sys.executable, str(Path(__file__).parents[1] / "upstreams" / "mirror.py")]
"""Answers whatever it is asked."""
FEW = 3
LINE_BYTES = 2000

around = pytest.mark.parametrize("beside", [-1, 0, 1])


def subscription(number: int, size: int = 0) -> bytes:
    """A line, without its newline, of `size` bytes or as many as it takes."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": f"s{number}", "method": "resources/subscribe"}
    message["params"] = {"uri": f"file:///{number}/"}
    message["params"]["uri"] += "x" * max(0, size - len(json.dumps(message)))
    return json.dumps(message).encode()


def taken(session: Session, number: int) -> bool:
    """Whether the subscription was; otherwise it was refused as too much."""
    try:
        session.result(f"s{number}")
    except Failed as refusal:
        if refusal.error["code"] != -31004:
            raise
        return False
    return True


@around
def test_so_many_lines_are_kept_for_a_session(runtime: Runtime, beside: int) -> None:
    configure(runtime, kept_lines=FEW)
    session = runtime.ready(*MIRROR)
    for number in range(FEW + beside):
        session.write(subscription(number) + b"\n")
    assert [taken(session, number) for number in range(FEW + beside)].count(False) == max(0, beside)
    other = runtime.ready(*MIRROR)
    other.write(subscription(0) + b"\n")
    assert taken(other, 0), "each session has its own"


@around
def test_so_many_bytes_are_kept_for_a_session(runtime: Runtime, beside: int) -> None:
    configure(runtime, kept_bytes=2 * LINE_BYTES)
    session = runtime.ready(*MIRROR)
    session.write(subscription(0, LINE_BYTES) + b"\n" + subscription(1, LINE_BYTES + beside) + b"\n")
    assert taken(session, 0)
    assert taken(session, 1) == (beside <= 0)
    assert session.request("tools/list")["pid"], "and it goes on"


class Guest:
    """A peer of a backend that speaks the wire itself."""

    def __init__(self, runtime: Runtime) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(runtime.socket))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def answer(self) -> tuple[int, bytes] | None:
        """(kind, payload) of the first frame; None if the connection is closed."""
        reader = FrameReader()
        try:
            while data := self.sock.recv(65536):
                for kind, _, _, payload in reader.feed(data):
                    return kind, payload
        except ConnectionResetError:
            pass
        return None


def greeting(padding: bytes = b"") -> Hello:
    environment = [b"LONG=" + padding]
    return Hello(role=ROLE_SESSION, version=b"0", cwd=b"/", argv=[b"/bin/cat"], environment=environment)


@around
def test_a_hello_has_so_many_bytes(runtime: Runtime, beside: int) -> None:
    limit = 16 * KIB
    configure(runtime, hello_bytes=limit)
    runtime.ready(environment=dict.fromkeys(set(runtime.environment) - {"PATH", "HOME", "MUXTEST_RUN"}))
    hello = greeting()
    hello = greeting(b"x" * (limit + beside - len(hello.encode())))
    assert len(hello.encode()) == limit + beside
    with Guest(runtime) as guest:
        guest.sock.sendall(frame(HELLO, hello.encode()))
        found = guest.answer()
    assert found is not None
    assert found[0] == (WELCOME if beside <= 0 else REFUSE)
    if beside > 0:
        assert "raise the limit `hello_bytes`" in parse_refuse(found[1])[1]


def test_a_hello_may_take_so_long_and_no_longer(runtime: Runtime) -> None:
    configure(runtime, hello_seconds=1.5)
    session = runtime.ready()
    hello = frame(HELLO, greeting().encode())
    with Guest(runtime) as late, Guest(runtime) as slow:
        late.sock.sendall(hello[:-1])
        slow.sock.sendall(hello[:-1])
        time.sleep(0.2)
        slow.sock.sendall(hello[-1:])
        found = slow.answer()
        assert found is not None
        assert found[0] == WELCOME
        assert late.answer() is None
    assert "hello.late" in (runtime.directory / "s.log").read_text()
    assert session.call("echo", text="and on") == "and on"


@around
def test_there_are_so_many_sessions(runtime: Runtime, beside: int) -> None:
    configure(runtime, sessions=FEW)
    found = [runtime.ready() for _ in range(FEW + beside)]
    direct = [session for session in found if session.pid() == session.child.pid]
    assert len(direct) == max(0, beside)
    assert all(f"{FEW} sessions: raise the limit `sessions`" in session.stderr for session in direct)


# --- a host that does not read ----------------------------------------------------------------

BETWEEN_BYTES = 6 * MIB
"""What pipe, shim and socket hold of a host's output before any of it waits in the backend, and a little more."""


def unread(runtime: Runtime, size: int) -> Session:
    """A session whose host has left alone `size` bytes, in answers of 100 KB."""
    session = runtime.session(read=False)
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    session.begin("initialize", params)
    session.notify("notifications/initialized")
    for _ in range(size // 100_000):
        session.begin_call("big", bytes=100_000)
    return session


def dropped(runtime: Runtime) -> str:
    """What the log says of sessions that were dropped."""
    lines = (runtime.directory / "s.log").read_text().splitlines()
    return "\n".join(line for line in lines if "session.dropped" in line)


def test_a_host_that_leaves_more_unread_than_may_wait_is_closed(runtime: Runtime) -> None:
    configure(runtime, host_queue_bytes=MIB)
    other = runtime.ready()
    unread(runtime, BETWEEN_BYTES + 4 * MIB)
    assert "too much waits" in eventually("it is closed", lambda: dropped(runtime))
    assert other.call("echo", text="and on") == "and on"


def test_a_host_that_leaves_less_unread_is_not_closed(runtime: Runtime) -> None:
    configure(runtime, host_queue_bytes=8 * MIB)
    session = unread(runtime, BETWEEN_BYTES)
    other = runtime.ready()
    calls = BETWEEN_BYTES // 100_000
    eventually("the server has answered all", lambda: json.loads(other.call("seen"))["tools/call"] > calls)
    assert not dropped(runtime)
    session.read_on()
    for number in range(1, calls + 1):
        assert len(session.text(number)) == 100_000


def test_a_host_that_leaves_much_unread_for_too_long_is_closed(runtime: Runtime) -> None:
    configure(runtime, host_slow_bytes=64 * KIB, host_slow_seconds=0.5)
    other = runtime.ready()
    unread(runtime, BETWEEN_BYTES + 4 * MIB)
    assert "too much has waited for too long" in eventually("it is closed", lambda: dropped(runtime))
    assert other.call("echo", text="and on") == "and on"


def test_a_host_that_reads_in_time_is_not_closed(runtime: Runtime) -> None:
    configure(runtime, host_slow_bytes=64 * KIB, host_slow_seconds=60)
    size = BETWEEN_BYTES + 4 * MIB
    session = unread(runtime, size)
    other = runtime.ready()
    assert other.call("echo", text="meanwhile") == "meanwhile"
    session.read_on()
    for number in range(1, size // 100_000 + 1):
        assert len(session.text(number)) == 100_000
    assert not dropped(runtime)


# --- a backend that dies ----------------------------------------------------------------------


def kill_backend(runtime: Runtime) -> None:
    backend = eventually("a backend runs", runtime.backends)[0]
    backend.kill()
    eventually("it is dead", lambda: not running(backend.pid))


@pytest.mark.parametrize("deaths", [1, 2, 3])
def test_so_many_deaths_of_its_backend_and_a_session_answers_itself_for_a_while(runtime: Runtime, deaths: int) -> None:
    limit = 2
    configure(runtime, backend_deaths=limit)
    session = runtime.ready()
    for death in range(1, deaths + 1):
        kill_backend(runtime)
        if death < limit:
            assert session.call("echo", text="and on") == "and on"
            continue
        answer = session.response(session.begin("tools/call", {"name": "echo", "arguments": {"text": "x"}}))
        assert answer["error"]["code"] == -31001
        assert f"lost {death} times within a minute" in answer["error"]["message"]
        eventually("it is served again", lambda: "result" in session.response(session.begin("tools/list")), seconds=30)
    assert os.getpgid(session.child.pid), "the shim lives"
