"""Streamable HTTP before a stdio server: `adapter.py PROCESSES COMPANIONS COMMAND…` prints its port, ends with stdin.

HTTP is the SDK's own; where it would hand a message to a server object, the message goes to a process of COMMAND.
Before 2026-07-28 each HTTP session has a process of its own and every message goes through with its id. From then on a
request belongs to no session: PROCESSES of the command take turns, and in each the requests are numbered from 1.

COMPANIONS further processes keep asking beside each session, with equal ids and equal progress tokens. One that hears
anything but its own answers ends the adapter with status 1.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count, cycle
from typing import Any

import anyio
import mcp.server._streamable_http_modern as modern
import mcp.server.streamable_http_manager as manager
import uvicorn
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp.types import ListToolsResult
from mcp_everything_server.server import event_store
from mcp_types import jsonrpc_message_adapter

LINE_BYTES = 64 * 1024 * 1024
EXIT_SECONDS = 5
KEEP_SECONDS = 600  # a connection that ends between two requests would be a failure of the adapter's own
BETWEEN_SECONDS = 0.002
RETRY_MS = 100
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
CLOSED = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead)

Json = dict[str, Any]
OPEN_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "companion", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}

companions = 0
complaints: list[str] = []
command: list[str] = []


class Child:
    """A process of the command; it is as long as the HTTP session, or the adapter, lives."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._writing = anyio.Lock()

    async def send(self, message: Json) -> None:
        assert self._process.stdin is not None
        async with self._writing:
            await self._process.stdin.send(json.dumps(message).encode() + b"\n")

    async def messages(self) -> AsyncGenerator[Json]:
        assert isinstance(self._process.stdout, ByteReceiveStream)
        buffer = BufferedByteReceiveStream(self._process.stdout)
        with suppress(*CLOSED):
            while True:
                yield json.loads(await buffer.receive_until(b"\n", LINE_BYTES))


@asynccontextmanager
async def child() -> AsyncGenerator[Child]:
    process = await anyio.open_process(command, stderr=None)
    assert process.stdin is not None
    try:
        yield Child(process)
    finally:
        with anyio.CancelScope(shield=True):
            await process.stdin.aclose()
            with anyio.move_on_after(EXIT_SECONDS):
                await process.wait()
            if process.returncode is None:
                process.kill()
            await process.aclose()


async def companion(opening: Json | None) -> None:
    """A session that must not notice the others. opening: the `initialize` of the session it keeps company."""
    method, meta = ("ping", {}) if opening else ("server/discover", OPEN_META)
    async with child() as one:
        messages = one.messages()
        if opening:
            await one.send(opening)
            await anext(messages)
            await one.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        for number in count():
            params = {"_meta": {**meta, "progressToken": number}}
            await one.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
            async for message in messages:
                if not message.get("method", "").endswith("/list_changed"):
                    break
            else:
                return
            if message.get("id") != number or "result" not in message:
                complaints.append(f"a companion asked {number} and heard {message}")
                return
            await anyio.sleep(BETWEEN_SECONDS)


# up to 2025-11-25


async def serve_session(_server: Any, requests: Any, answers: Any, **_: Any) -> None:
    """In the place of `serve_loop`: an HTTP session is a session of the command."""
    flying: dict[Any, Any] = {}  # id → progress token

    def about(message: Json) -> Any:
        """Which request of the host it belongs to: HTTP wants to know, stdio does not say."""
        token = message.get("params", {}).get("progressToken")
        if token is not None:
            return next((id_ for id_, given in flying.items() if given == token), None)
        return next(iter(flying)) if len(flying) == 1 else None

    async def down(one: Child) -> None:
        async for message in one.messages():
            if "method" not in message:
                flying.pop(message.get("id"), None)
            sent = SessionMessage(
                jsonrpc_message_adapter.validate_python(message, by_name=False),
                ServerMessageMetadata(related_request_id=about(message)) if "method" in message else None,
            )
            with suppress(*CLOSED):
                await answers.send(sent)

    async with child() as one, anyio.create_task_group() as tasks:
        tasks.start_soon(down, one)
        with suppress(*CLOSED):
            async for session_message in requests:
                if isinstance(session_message, Exception):
                    continue
                message = session_message.message.model_dump(mode="json", by_alias=True, exclude_unset=True)
                if "method" in message and "id" in message:
                    flying[message["id"]] = message.get("params", {}).get("_meta", {}).get("progressToken")
                await one.send(message)
                if message.get("method") == "initialize":
                    for _ in range(companions):
                        tasks.start_soon(companion, message)
        tasks.cancel_scope.cancel()


# from 2026-07-28


class Exchange:
    """A request in flight, and the HTTP response that its messages belong on."""

    def __init__(self, context: Any, method: str, params: Mapping[str, Any]) -> None:
        self.context = context
        self.listens = method == "subscriptions/listen"
        self.token = params.get("_meta", {}).get("progressToken")
        self.answered = anyio.Event()
        self.answer: Json = {}

    def own(self, body: Json) -> Json:
        """With the id that the host gave to its subscription."""
        meta = body.get("_meta", {})
        return {**body, "_meta": {**meta, SUBSCRIPTION: self.context.request_id}} if SUBSCRIPTION in meta else body


class Shared:
    """One process of the command, for requests of any HTTP client."""

    def __init__(self, one: Child) -> None:
        self._child = one
        self._numbers = count(1)
        self._flying: dict[int, Exchange] = {}

    async def read(self) -> None:
        async for message in self._child.messages():
            if "method" not in message:
                exchange = self._flying.pop(message["id"], None)
                if exchange is not None:
                    exchange.answer = message
                    exchange.answered.set()
            elif exchange := self._meant(message.get("params", {})):
                await exchange.context.notify(message["method"], exchange.own(message.get("params", {})))

    def _meant(self, params: Json) -> Exchange | None:
        subscription = params.get("_meta", {}).get(SUBSCRIPTION)
        if subscription is not None:
            return self._flying.get(subscription)
        calls = [one for one in self._flying.values() if not one.listens]
        if "progressToken" in params:
            calls = [one for one in calls if one.token == params["progressToken"]]
        return calls[-1] if calls else None

    async def exchange(self, context: Any, method: str, params: Mapping[str, Any]) -> Json:
        number = next(self._numbers)
        exchange = self._flying[number] = Exchange(context, method, params)
        await self._child.send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        try:
            await exchange.answered.wait()
        except anyio.get_cancelled_exc_class():
            self._flying.pop(number, None)
            with anyio.CancelScope(shield=True), suppress(*CLOSED):
                await self._child.send(
                    {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}}
                )
            raise
        error = exchange.answer.get("error")
        if error is not None:
            raise MCPError(error["code"], error["message"], error.get("data"))
        return exchange.own(exchange.answer["result"])


async def list_tools(*_: Any) -> ListToolsResult:
    """HTTP looks for this handler before it asks for the tools; the question then goes to the command."""
    raise NotImplementedError


async def main() -> None:
    global companions
    processes, companions, command[:] = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    app = Server("adapter", on_list_tools=list_tools).streamable_http_app(
        event_store=event_store, retry_interval=RETRY_MS, host="127.0.0.1"
    )
    listener = socket.create_server(("127.0.0.1", 0))
    http = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", timeout_keep_alive=KEEP_SECONDS, timeout_graceful_shutdown=1)
    )
    async with AsyncExitStack() as stack:
        all_ = [Shared(await stack.enter_async_context(child())) for _ in range(processes)]
        turns = cycle(all_)

        begun = anyio.Event()

        async def serve_request(_app: Any, context: Any, method: str, params: Any, **_: Any) -> Json:
            begun.set()
            return await next(turns).exchange(context, method, params or {})

        async def accompany() -> None:
            await begun.wait()  # no discover before: beside an `initialize` a slow server would count as a legacy one
            await companion(None)

        manager.serve_loop = serve_session
        modern.serve_one = serve_request
        group = await stack.enter_async_context(anyio.create_task_group())
        for one in all_:
            group.start_soon(one.read)
        for _ in range(companions):
            group.start_soon(accompany)
        async with anyio.create_task_group() as serving:
            serving.start_soon(http.serve, [listener])
            print(listener.getsockname()[1], flush=True)
            await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
            http.should_exit = True
        group.cancel_scope.cancel()
    if complaints:
        sys.exit("\n".join(complaints))


if __name__ == "__main__":
    asyncio.run(main())
