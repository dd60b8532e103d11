from __future__ import annotations

import array
import contextlib
import os
import resource
import socket

import psutil
import pytest

from mux.limits import HELLO_BYTES, HELLO_SECONDS
from mux.wire import frames
from mux.wire.frames import Hello, parse_refuse
from tests.backend.support import Peer, World
from tests.support.processes import eventually

CAT = "/bin/cat"


def works(world: World) -> None:
    peer = world.session(CAT)
    peer.send(frames.LINE, b"still here", seq=1)
    assert peer.line() == b"still here\n"
    peer.close()


def test_a_probe_that_connects_and_closes_is_no_session(world: World) -> None:
    world.start()
    for _ in range(20):
        world.peer().close()
    works(world)
    assert world.log().count("session.opened") == 1
    assert "hello" not in world.log()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        frames.frame(frames.LINE, b"x", seq=1),
        frames.frame(frames.HELLO, b"garbage"),
        frames.frame(frames.HELLO, b""),
    ],
)
def test_whatever_is_no_hello_ends_the_connection_and_nothing_else(world: World, data: bytes) -> None:
    world.start()
    bad = world.peer()
    bad.sock.sendall(data)
    assert bad.read() is None
    works(world)


def test_a_hello_that_is_too_long_is_refused_for_good_unread(world: World) -> None:
    world.start()
    peer = world.peer()
    peer.sock.sendall(frames.HEADER.pack(frames.HELLO, 0, 0, HELLO_BYTES + 1))
    retry, reason = parse_refuse(peer.until(frames.REFUSE)[3])
    assert retry == frames.NEVER
    assert str(HELLO_BYTES) in reason
    works(world)


def test_half_a_hello_and_the_end_is_forgotten(world: World) -> None:
    world.start()
    bad = world.peer()
    bad.sock.sendall(frames.frame(frames.HELLO, b"x" * 100)[:50])
    bad.close()
    works(world)


def test_a_hello_in_single_bytes_is_read(world: World) -> None:
    world.start()
    peer = world.peer()
    hello = Hello(role=frames.ROLE_SESSION, version=b"t", argv=[b"/bin/cat"], environment=world.environment)
    for byte in frames.frame(frames.HELLO, hello.encode()):
        peer.sock.sendall(bytes((byte,)))
    found = peer.read()
    assert found is not None
    assert found[0] == frames.WELCOME


def test_lines_sent_along_with_hello_wait_for_the_session(world: World) -> None:
    world.start()
    peer = world.peer()
    hello = Hello(role=frames.ROLE_SESSION, version=b"t", argv=[b"/bin/cat"], environment=world.environment)
    peer.sock.sendall(frames.frame(frames.HELLO, hello.encode()) + frames.frame(frames.LINE, b"early", seq=1))
    assert peer.line() == b"early\n"


def test_who_connects_and_stays_silent_is_closed_in_time(world: World) -> None:
    world.start(grace=HELLO_SECONDS * 4)
    silent = world.peer()
    works(world)
    assert silent.read() is None
    assert "hello.late" in world.log()


def test_descriptors_that_come_with_hello_are_closed(world: World) -> None:
    backend = world.start(grace=20)
    works(world)
    process = psutil.Process(backend.pid)
    peer = world.peer()
    hello = Hello(role=frames.ROLE_SESSION, version=b"t", argv=[b"/bin/cat"], environment=world.environment)
    reader, writer = os.pipe()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer, writer]))]
    peer.sock.sendmsg([frames.frame(frames.HELLO, hello.encode())], rights)
    peer.until(frames.WELCOME)
    os.close(writer)
    # Were one still open in the backend, this would never come to the end.
    assert os.read(reader, 1) == b""
    os.close(reader)
    peer.close()
    assert process.is_running()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"major": frames.MAJOR + 1}, "protocol"),
        ({"role": b"other"}, "role"),
        ({"argv": ()}, "no command to run"),
    ],
)
def test_what_can_not_be_served_is_refused_for_good_with_a_reason(
    world: World, fields: dict[str, object], reason: str
) -> None:
    world.start()
    peer = world.peer()
    peer.hello(**{"argv": [b"/bin/cat"], **fields})
    found = peer.until(frames.REFUSE)
    retry, text = parse_refuse(found[3])
    assert retry == frames.NEVER
    assert text.startswith(frames.REFUSE_DENIED)
    assert reason in text
    assert peer.read() is None


def test_sessions_are_refused_before_descriptors_run_out(world: World) -> None:
    world.start(grace=20, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)))
    first = world.session(CAT)
    welcomed: list[Peer] = []
    while True:
        peer = world.peer()
        with contextlib.suppress(ConnectionError):  # it may be refused, and closed, before it has spoken
            peer.hello(argv=[b"/bin/cat"])
        found = peer.read()
        assert found is not None
        if found[0] == frames.REFUSE:
            break
        welcomed.append(peer)
    assert parse_refuse(found[3])[1].startswith(frames.REFUSE_FULL)
    assert welcomed
    first.send(frames.LINE, b"on", seq=1)
    assert first.line() == b"on\n"
    for peer in welcomed:
        peer.close()
    eventually("there is room again", lambda: world.log().count("session.closed") == len(welcomed))
    works(world)


def test_a_hundred_at_once_are_all_served_by_one_server(world: World) -> None:
    backend = world.start(grace=5)
    peers = [world.peer() for _ in range(100)]
    for peer in peers:
        peer.hello(argv=[b"/bin/cat"], environment=world.environment)
    for peer in peers:
        found = peer.read()
        assert found is not None
        assert found[0] == frames.WELCOME
    peers[0].send(frames.LINE, b"all", seq=1)
    assert {peer.line() for peer in peers} == {b"all\n"}
    assert len(psutil.Process(backend.pid).children()) == 1


def test_without_descriptors_the_listener_is_left_alone_for_a_moment(world: World) -> None:
    backend = world.start(grace=20)
    works(world)
    eventually("the last connection is closed", lambda: world.log().count("session.closed") == 1)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.prlimit(backend.pid, resource.RLIMIT_NOFILE, (3, hard))
    waiting = world.peer()
    eventually("accept has failed more than once", lambda: world.log().count("accept.failed") > 1)
    resource.prlimit(backend.pid, resource.RLIMIT_NOFILE, (hard, hard))
    assert world.log().count("accept.failed") < 100, "the backend spins"
    waiting.hello(argv=[b"/bin/cat"], environment=world.environment)
    waiting.until(frames.WELCOME)
