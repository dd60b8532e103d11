"""The backend's side: what is said to a session that may sleep, and who may hand over what."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from mux import limits
from mux.backend.connection import Peer, SessionConnection
from mux.backend.pace import Pace
from mux.backend.park import Parking, State, park_after
from mux.core.events import Event, LaunchSpec, SessionOpened
from mux.wire.frames import (
    AWAKE,
    HELLO,
    MAJOR,
    OUT,
    PARK,
    PARKED,
    REFUSE,
    ROLE_PARK,
    ROLE_SESSION,
    STOPPED,
    WAKE_BYTE,
    FrameReader,
    Hello,
    frame,
)
from tests.park.support import expect_sleep, sleeper, sleeps
from tests.support.processes import eventually
from tests.support.runtime import Runtime
from tests.support.session import PATIENCE

SPEC = LaunchSpec((b"server",), b"server", b"/", (), 0o22, ())
PID = 4711


class Transport:
    def __init__(self) -> None:
        self._written = b""
        self._news = asyncio.Event()
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self._written += data
        self._news.set()

    def taken(self) -> bytes:
        """What was written since, and nothing if nothing was."""
        data, self._written = self._written, b""
        self._news.clear()
        return data

    async def next(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            await self._news.wait()
        return self.taken()

    def close(self) -> None:
        self.closed = True

    abort = close

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None: ...


class Owner:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.quiet = True

    def dispatch(self, *batch: Event) -> None:
        self.events += batch

    def opened(self, event: SessionOpened, connection: SessionConnection) -> None: ...

    def closed(self, session: int) -> None: ...

    def unanswered(self, session: int, /) -> int:  # noqa: ARG002 - the protocol's
        return 0


class World:
    """One connection, a pipe for its host's end, and hands on the clock of the scan."""

    def __init__(self, after: float = 0.01) -> None:
        self.owner = Owner()
        self.parking = Parking(lambda _session: self.owner.quiet)
        self.loop = asyncio.get_running_loop()
        event = SessionOpened(1, b"key", SPEC, 1.0)
        self.connection = SessionConnection(
            event, Peer(PID, b"1", 0.0), self.owner, self.loop, self.parking, after, Pace(self.loop.time).join()
        )
        self.transport = Transport()
        self.connection.connection_made(cast("Any", self.transport))
        self.host, self.stdin = os.pipe()
        os.set_blocking(self.stdin, False)

    async def asked(self) -> None:
        """Until PARK was sent."""
        assert await self.transport.next() == frame(PARK)

    async def parked(self) -> int:
        """Asleep; the descriptor that was handed over."""
        await self.asked()
        mine = os.dup(self.host)
        assert self.connection.offer_stdin(PID, mine)
        self.hear(frame(PARKED))
        return mine

    def hear(self, data: bytes) -> None:
        self.connection.data_received(data)

    async def turn(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)

    def close(self) -> None:
        self.connection.connection_lost(None)
        self.parking.close()
        os.close(self.host)
        os.close(self.stdin)


@pytest.fixture
async def world() -> Any:
    made = World()
    yield made
    made.close()


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


async def test_from_park_to_awake_nothing_is_said(world: World) -> None:
    await world.asked()
    world.connection.send(OUT, b"a\n")
    await world.turn()
    assert world.transport.taken() == b""
    world.hear(frame(AWAKE))
    assert world.transport.taken() == frame(OUT, b"a\n")


async def test_something_to_say_wakes_once_and_is_said_in_order_when_it_is_awake(world: World) -> None:
    fd = await world.parked()
    for line in (b"a\n", b"b\n"):
        world.connection.send(OUT, line)
        await world.turn()
    assert world.transport.taken() == WAKE_BYTE
    assert not is_open(fd)
    world.hear(frame(AWAKE))
    world.connection.send(OUT, b"c\n")
    await world.turn()
    assert world.transport.taken() == b"".join(frame(OUT, line) for line in (b"a\n", b"b\n", b"c\n"))


async def test_what_was_said_between_park_and_parked_wakes_at_once(world: World) -> None:
    await world.asked()
    world.connection.send(OUT, b"a\n")
    await world.turn()
    assert world.connection.offer_stdin(PID, os.dup(world.host))
    world.hear(frame(PARKED))
    assert world.transport.taken() == WAKE_BYTE


async def test_input_of_the_host_wakes_and_is_left_to_the_shim(world: World) -> None:
    fd = await world.parked()
    os.write(world.stdin, b"x")
    assert await world.transport.next() == WAKE_BYTE
    assert not is_open(fd)
    assert os.read(world.host, 10) == b"x"


async def test_a_descriptor_is_taken_once_from_that_process_and_only_when_asked(world: World) -> None:
    assert not world.connection.offer_stdin(PID, world.host)
    await world.asked()
    assert not world.connection.offer_stdin(PID + 1, world.host)
    null = os.open(os.devnull, os.O_RDONLY)
    assert not world.connection.offer_stdin(PID, null)
    os.close(null)
    taken = os.dup(world.host)
    assert world.connection.offer_stdin(PID, taken)
    assert not world.connection.offer_stdin(PID, world.host)
    world.hear(frame(AWAKE))
    assert not is_open(taken)


async def test_parked_without_a_descriptor_is_woken_at_once(world: World) -> None:
    await world.asked()
    world.hear(frame(PARKED))
    assert world.transport.taken() == WAKE_BYTE


async def test_the_last_word_to_a_sleeping_session_waits_until_it_hears(world: World) -> None:
    await world.parked()
    world.connection.send(STOPPED, b"by hand")
    world.connection.close()
    await world.turn()
    assert world.transport.taken() == WAKE_BYTE
    assert not world.transport.closed
    world.hear(frame(AWAKE))
    assert world.transport.taken() == frame(STOPPED, b"by hand")
    assert world.transport.closed


async def test_without_a_last_word_a_sleeping_session_is_woken_by_the_end(world: World) -> None:
    await world.parked()
    world.connection.close()
    assert world.transport.closed
    assert world.transport.taken() == b""


async def test_the_end_of_a_sleeping_session_closes_what_it_gave(world: World) -> None:
    fd = await world.parked()
    world.connection.connection_lost(None)
    assert not is_open(fd)
    os.write(world.stdin, b"x")
    await world.turn()
    assert world.transport.taken() == b""


async def test_what_waits_for_a_sleeper_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HOST_QUEUE_BYTES", 1000)
    await world.parked()
    for _ in range(20):
        world.connection.send(OUT, b"x" * 100)
        await world.turn()
        if world.transport.closed:
            break
    assert world.transport.closed


async def test_who_is_not_quiet_is_not_asked_and_while_all_sleep_nobody_looks(world: World) -> None:
    world.owner.quiet = False
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert world.transport.taken() == b""
    world.owner.quiet = True
    await world.parked()
    assert world.parking._timer is None


def test_a_shim_that_does_not_say_when_is_never_asked() -> None:
    def hello(*options: bytes) -> Hello:
        return Hello(role=ROLE_SESSION, version=b"1", options=options)

    assert park_after(hello()) == 0
    assert park_after(hello(b"park-after=1", b"park-after=2.5")) == 2.5
    assert park_after(hello(b"park-after=soon")) == 0


def test_states_are_named() -> None:
    assert [state.value for state in State] == ["awake", "asked", "parked", "waking"]


# --- with a real one ------------------------------------------------------------------------------


@pytest.fixture
def stranger(runtime: Runtime) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        yield sock


def test_nobody_hands_over_a_descriptor_for_another_process(runtime: Runtime, stranger: socket.socket) -> None:
    runtime.grace = 5.0
    session = sleeper(runtime)
    backend = runtime.backend()
    (number,) = (entry["id"] for entry in runtime.status()["sessions"])
    before = backend.num_fds()
    stranger.connect(str(runtime.socket))
    hello = Hello(role=ROLE_PARK, version=b"1", session=f"{backend.pid}.{number}".encode(), major=MAJOR)
    reader, writer = os.pipe()
    socket.send_fds(stranger, [frame(HELLO, hello.encode())], [reader])
    os.close(reader)
    ((kind, *_),) = FrameReader().feed(stranger.recv(1000))
    assert kind == REFUSE
    eventually("it is closed", lambda: backend.num_fds() == before)
    with pytest.raises(BrokenPipeError):
        os.write(writer, b"x")
    os.close(writer)
    assert sleeps(session.child.pid)


def test_a_sleeper_that_can_not_wake_is_dropped_and_comes_back(runtime: Runtime) -> None:
    config = runtime.home / ".config" / "mux"
    config.mkdir(parents=True)
    (config / "config.toml").write_text('[limits]\nhost_queue_bytes = "64 KiB"\n', encoding="utf-8")
    session = sleeper(runtime)
    driver = runtime.ready(options=("--park-after", "0"))
    session.child.send_signal(signal.SIGSTOP)
    message = {"method": "notifications/tools/list_changed", "params": {"x": "x" * 10_000}}
    while len(runtime.status()["sessions"]) == 2:
        driver.call("notify", **message)
    session.child.send_signal(signal.SIGCONT)
    assert json.loads(session.call("seen"))["initialize"] == 1
    expect_sleep(session)
    assert not session.stderr
