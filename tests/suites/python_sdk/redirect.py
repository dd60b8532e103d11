"""A pytest plugin: what the SDK's tests connect in memory goes through real processes instead.

MUX_SUITE says which: `direct` for a server's stdin and stdout, `shim` for mux-shim in front of them. Client and server
stay objects of the test; between them is `bridge.py`, started as a host would start a server. With MUX_SUITE_COMPANIONS
other sessions of the same server keep sending requests with equal ids and equal progress tokens all the while.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, Self

import anyio
import mcp.client._memory as memory
import mcp.client.client as high
import mcp.shared.memory
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream
from blockbuster import BlockBuster
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification, jsonrpc_message_adapter

MODE = os.environ["MUX_SUITE"]
SHIM = os.environ["MUX_SUITE_SHIM"]
COMPANIONS = int(os.environ.get("MUX_SUITE_COMPANIONS", "0"))
BRIDGE = str(Path(__file__).with_name("bridge.py"))
LINE_BYTES = 64 * 1024 * 1024
BETWEEN_SECONDS = 0.002
ARRIVAL_SECONDS = 1.0

directory = Path(tempfile.mkdtemp(prefix="mux-suite-", dir="/tmp"))
numbers = count()
VERSION = "io.modelcontextprotocol/protocolVersion"
FOR_ALL = ("/list_changed", "/elicitation/complete")
CLOSED = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead)


def command(server: Path) -> list[str]:
    bridge = [sys.executable, "-S", "-E", BRIDGE, str(server)]
    if MODE == "direct":
        return bridge
    return [SHIM, "--socket", str(directory / "mux.sock"), "--grace", "0", *bridge]


async def started(server: Path) -> Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MUX_", "PYTEST_"))}
    return await anyio.open_process(command(server), stderr=subprocess.DEVNULL, env=environment)


class Arrivals:
    """What the server has taken so far, by method."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self._next = anyio.Event()

    def note(self, message: Any) -> None:
        if isinstance(message, SessionMessage) and isinstance(message.message, JSONRPCNotification):
            self.taken[message.message.method] += 1
            self._next.set()
            self._next = anyio.Event()

    async def beyond(self, method: str, before: int) -> None:
        """Return when more than `before` of `method` have been taken, after ARRIVAL_SECONDS at the latest."""
        with anyio.move_on_after(ARRIVAL_SECONDS):
            while self.taken[method] <= before:
                await self._next.wait()


class Arriving:
    """The client's end: as in memory, sending a notification returns when the server has taken it.

    A request has its answer; for a notification this is all that a test can go by.
    """

    def __init__(self, stream: Any, arrivals: Arrivals) -> None:
        self._stream = stream
        self._arrivals = arrivals

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stream.aclose()

    async def send(self, item: Any) -> None:
        method = item.message.method if isinstance(item.message, JSONRPCNotification) else None
        before = self._arrivals.taken[method] if method else 0
        await self._stream.send(item)
        if method:
            await self._arrivals.beyond(method, before)


async def read(lines: ByteReceiveStream, to: Any, arrivals: Arrivals) -> None:
    buffer = BufferedByteReceiveStream(lines)
    with suppress(*CLOSED):
        async with to:
            while True:
                line = await buffer.receive_until(b"\n", LINE_BYTES)
                try:
                    message: Any = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
                except ValueError as error:
                    message = error
                await to.send(message)
                arrivals.note(message)


async def write(messages: Any, lines: ByteSendStream, first: anyio.Event, sent: list[bytes]) -> None:
    with suppress(*CLOSED):
        async with messages, lines:
            async for message in messages:
                line = message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
                sent[:] = sent or [line]
                await lines.send(line)
                first.set()


@asynccontextmanager
async def processes(companions: int = 0) -> AsyncGenerator[Any]:
    """In the place of `create_client_server_memory_streams`: the same two pairs of streams, with processes between."""
    path = directory / str(next(numbers))
    listener = await anyio.create_unix_listener(path)
    to_client, client_read = anyio.create_memory_object_stream[Any](0)
    client_write, from_client = anyio.create_memory_object_stream[Any](0)
    to_server, server_read = anyio.create_memory_object_stream[Any](0)
    server_write, from_server = anyio.create_memory_object_stream[Any](0)
    spoken, sent, arrivals = anyio.Event(), list[bytes](), Arrivals()

    async def serve() -> None:
        async with await listener.accept() as connection, anyio.create_task_group() as both:
            both.start_soon(read, connection, to_server, arrivals)
            await write(from_server, _Half(connection), anyio.Event(), [])

    async with AsyncExitStack() as stack:
        stack.push_async_callback(listener.aclose)
        process = await stack.enter_async_context(_ended(await started(path)))
        assert process.stdin is not None
        assert process.stdout is not None
        group = await stack.enter_async_context(anyio.create_task_group())
        group.start_soon(serve)
        group.start_soon(read, process.stdout, to_client, Arrivals())
        group.start_soon(write, from_client, process.stdin, spoken, sent)
        for _ in range(companions):
            group.start_soon(companion, path, spoken, sent)
        try:
            yield (client_read, Arriving(client_write, arrivals)), (server_read, server_write)
        finally:
            for stream in (client_read, client_write, server_read, server_write):
                await stream.aclose()
            group.cancel_scope.cancel()
            for stream in (to_client, from_client, to_server, from_server):
                stream.close()


class _Half(ByteSendStream):
    """The sending half of a connection: closing it leaves the other open."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def send(self, item: bytes) -> None:
        await self.connection.send(item)

    async def aclose(self) -> None:
        await self.connection.send_eof()


@asynccontextmanager
async def _ended(process: Process) -> AsyncGenerator[Process]:
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            assert process.stdin is not None
            await process.stdin.aclose()
            with anyio.move_on_after(5):
                await process.wait()
            if process.returncode is None:
                process.kill()
            await process.aclose()


async def companion(server: Path, spoken: anyio.Event, sent: list[bytes]) -> None:
    """Another session of the same server, which must never see more than the answers to what it asked."""
    await spoken.wait()
    opening = json.loads(sent[0])
    if opening.get("method") != "initialize" and VERSION not in opening.get("params", {}).get("_meta", {}):
        return  # a client that is not let in: others would not share its server
    async with _ended(await started(server)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = BufferedByteReceiveStream(process.stdout)
        if opening.get("method") == "initialize":
            await process.stdin.send(sent[0])
            await answers.receive_until(b"\n", LINE_BYTES)
            await process.stdin.send(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
            method, meta = "ping", {}
        else:
            method, meta = "server/discover", opening.get("params", {}).get("_meta", {})
        for number in count():
            params = {"_meta": {**meta, "progressToken": number}}
            question = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            await process.stdin.send(json.dumps(question).encode() + b"\n")
            while True:
                heard = json.loads(await answers.receive_until(b"\n", LINE_BYTES))
                if "id" in heard:
                    break
                assert heard["method"].endswith(FOR_ALL), f"a companion heard {heard}"
            assert "method" not in heard, f"a companion was asked {heard}"
            assert heard["id"] == number, f"a companion got {heard}"
            await anyio.sleep(BETWEEN_SECONDS)


def companioned() -> Any:
    return processes(COMPANIONS if MODE == "shim" else 0)


def connect(server: Any) -> Any:
    """In the place of `_connect_inproc`, which has a short cut for the modern era."""

    async def connected(stack: AsyncExitStack, _mode: str, raise_exceptions: bool) -> Any:
        transport = memory.InMemoryTransport(server, raise_exceptions=raise_exceptions)
        return JSONRPCDispatcher(*(await stack.enter_async_context(transport)))

    return connected


def keep() -> None:
    """One session without a word for the whole run: the backend is started once, as with a user's hosts."""
    keeper = subprocess.Popen([*command(directory / "nobody")], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)

    def end() -> None:
        assert keeper.stdin is not None
        keeper.stdin.close()
        keeper.wait()

    atexit.register(end)


atexit.register(shutil.rmtree, directory, ignore_errors=True)
if MODE == "shim":
    keep()
if MODE != "memory":
    mcp.shared.memory.create_client_server_memory_streams = processes  # type: ignore[assignment]
    memory.create_client_server_memory_streams = companioned  # type: ignore[assignment]
    high._connect_inproc = connect
    BlockBuster.activate = lambda _self: None  # starting a process and listening block, for good reason
