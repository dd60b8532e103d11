"""What is put within a turn of the loop leaves in one write, in order; what is held back leaves later."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from mux.backend import outbox
from mux.backend.outbox import Outbox
from mux.limits import MIB, VIEW_BYTES
from tests.backend.support import PATIENCE


class Line:
    """An outbox on a real socket. written: what it reported, a number for each write."""

    def __init__(self, transport: asyncio.WriteTransport, peer: socket.socket) -> None:
        self.written: list[int] = []
        self.out = Outbox(asyncio.get_running_loop(), self.written.append)
        self.transport = transport
        self._peer = peer

    async def read(self, size: int) -> bytes:
        """Exactly so many bytes at the other end."""
        data = b""
        loop = asyncio.get_running_loop()
        while len(data) < size:
            data += await asyncio.wait_for(loop.sock_recv(self._peer, size - len(data)), PATIENCE)
        return data

    async def rest(self) -> bytes:
        """All that comes until the transport, which closes now, has closed."""
        self.transport.close()
        data = b""
        loop = asyncio.get_running_loop()
        while piece := await asyncio.wait_for(loop.sock_recv(self._peer, MIB), PATIENCE):
            data += piece
        return data


@pytest_asyncio.fixture
async def line() -> AsyncIterator[Line]:
    ours, peer = socket.socketpair()
    peer.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    found = Line(transport, peer)
    found.out.open(transport)
    yield found
    transport.abort()
    with contextlib.suppress(OSError):
        while await asyncio.wait_for(loop.sock_recv(peer, MIB), PATIENCE):
            pass
    peer.close()


async def turn() -> None:
    """Let what was put in this turn of the loop leave."""
    await asyncio.sleep(0)


async def test_what_is_put_within_a_turn_leaves_in_one_write_and_in_order(line: Line) -> None:
    line.out.put([b"a", b"b"])
    line.out.put(iter([b"c"]))
    before = line.out.waiting, len(line.written)
    await turn()
    after = line.out.waiting, len(line.written)
    assert (before, after) == ((True, 0), (False, 1))
    assert await line.read(3) == b"abc"


async def test_every_turn_has_its_own_write(line: Line) -> None:
    for part in (b"a", b"b"):
        line.out.put([part])
        await turn()
    assert len(line.written) == 2
    assert await line.read(2) == b"ab"


async def test_what_is_flushed_is_not_written_again_at_the_end_of_the_turn(line: Line) -> None:
    line.out.put([b"a"])
    line.out.flush()
    line.out.flush()
    await turn()
    assert len(line.written) == 1
    assert await line.rest() == b"a"


async def test_long_parts_leave_whole_and_what_the_transport_still_holds_is_told(line: Line) -> None:
    long = b"x" * (8 * MIB)
    line.out.put([b"head", long])
    line.out.flush()
    assert 0 < line.written[-1] <= len(long) + 4
    line.out.put([b"y" * VIEW_BYTES, b"tail"])
    line.out.flush()
    assert line.written[-1] > line.written[0]
    assert await line.read(len(long) + VIEW_BYTES + 8) == b"head" + long + b"y" * VIEW_BYTES + b"tail"


async def test_an_outbox_needs_nobody_to_tell(line: Line) -> None:
    quiet = Outbox(asyncio.get_running_loop())
    quiet.open(line.transport)
    quiet.put([b"a"])
    quiet.flush()
    assert await line.read(1) == b"a"


async def test_what_is_put_before_it_is_open_is_dropped(line: Line) -> None:
    early = Outbox(asyncio.get_running_loop())
    early.put([b"early"])
    assert not early.waiting
    early.open(line.transport)
    early.put([b"later"])
    await turn()
    assert await line.rest() == b"later"


async def test_close_writes_what_was_put_and_drops_what_is_put_later(line: Line) -> None:
    line.out.put([b"last"])
    line.out.close()
    line.out.put([b"too late"])
    assert not line.out.waiting
    await turn()
    assert await line.rest() == b"last"


async def test_discard_writes_nothing_more(line: Line) -> None:
    line.out.put([b"put"])
    line.out.discard()
    line.out.put([b"too late"])
    await turn()
    assert not line.out.waiting
    assert not line.written
    assert await line.rest() == b""


async def test_hold_writes_what_was_put_and_nothing_of_what_comes_until_release(line: Line) -> None:
    waits: list[None] = []
    line.out.put([b"before "])
    line.out.hold(lambda: waits.append(None))
    assert await line.read(7) == b"before "
    assert (line.out.waiting, line.out.held, waits) == (False, 0, [])
    line.out.put([b"one ", b"two "])
    await turn()
    line.out.put([b"three "])
    line.out.flush()
    assert (line.out.waiting, line.out.held, len(waits)) == (True, 14, 2)
    assert line.written[-2:] == [8, 14], "the bytes held back are told as those of a slow host"
    line.out.put([b"four"])
    line.out.release()
    assert (line.out.waiting, line.out.held) == (False, 0)
    line.out.put([b"."])
    await turn()
    assert len(waits) == 2
    assert await line.rest() == b"one two three four."


async def test_what_is_held_back_without_anybody_to_tell_leaves_at_release(line: Line) -> None:
    quiet = Outbox(asyncio.get_running_loop())
    quiet.open(line.transport)
    quiet.hold(lambda: None)
    quiet.put([b"a"])
    quiet.flush()
    quiet.release()
    assert await line.read(1) == b"a"


@pytest.mark.parametrize("end", ["close", "discard"])
async def test_what_is_held_back_at_the_end_is_lost(line: Line, end: str) -> None:
    line.out.hold(lambda: None)
    line.out.put([b"a"])
    line.out.flush()
    line.out.put([b"b"])
    getattr(line.out, end)()
    line.out.release()
    assert await line.rest() == b""


async def test_a_fault_can_be_put_before_every_write(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    hit: list[str] = []
    monkeypatch.setattr(outbox, "ARMED", True)
    monkeypatch.setattr(outbox, "hit", hit.append)
    line.out.flush()
    line.out.put([b"a"])
    line.out.flush()
    assert hit == ["backend.out"]
