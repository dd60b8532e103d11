"""A server made with the official SDK's low-level class, of whichever major version the interpreter has that runs it.

Its tools make the server say and ask everything that a server can; what it heard can be asked for.
"""

from __future__ import annotations

import importlib
import json
import os
from importlib.metadata import version
from typing import Any

import anyio
import anyio.lowlevel

NEW = int(version("mcp").partition(".")[0]) >= 2
types: Any = importlib.import_module("mcp_types" if NEW else "mcp.types")
lowlevel: Any = importlib.import_module("mcp.server.lowlevel")

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
URI = "note://one"


class Tools:
    """What both versions do alike. Each tool returns what its caller is told, as text."""

    def __init__(self) -> None:
        self.cancelled = self.waiting = 0
        self.level = ""
        self.subscribed: list[str] = []
        self.go_on = anyio.Event()
        self.bus: Any = None

    async def run(self, name: str, given: dict[str, Any], session: Any, token: Any, request: Any) -> str:
        tool = getattr(self, f"tool_{name}")
        try:
            return str(await tool(given, session, token, request))
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise

    async def tool_echo(self, given: dict[str, Any], *_: Any) -> str:
        return str(given["text"])

    async def tool_state(self, *_: Any) -> str:
        heard = {"pid": os.getpid(), "waiting": self.waiting, "cancelled": self.cancelled}
        return json.dumps({**heard, "level": self.level, "subscribed": self.subscribed})

    async def tool_wait(self, *_: Any) -> str:
        self.waiting += 1
        try:
            await self.go_on.wait()
        finally:
            self.waiting -= 1
        return "went on"

    async def tool_release(self, *_: Any) -> str:
        self.go_on.set()
        self.go_on = anyio.Event()
        return "released"

    async def tool_progress(self, given: dict[str, Any], session: Any, token: Any, request: Any) -> str:
        for step in range(given["steps"]):
            await session.send_progress_notification(token, step + 1, given["steps"], given["who"], request)
            await anyio.lowlevel.checkpoint()
        return "done"

    async def tool_log(self, given: dict[str, Any], session: Any, _token: Any, request: Any) -> str:
        await session.send_log_message(given["level"], given["data"], None, request)
        return "logged"

    async def tool_touch(self, given: dict[str, Any], session: Any, *_: Any) -> str:
        await session.send_resource_updated(given["uri"])
        return "touched"

    async def tool_change(self, _given: dict[str, Any], session: Any, *_: Any) -> str:
        if self.bus is not None:
            await self.bus.publish(importlib.import_module("mcp.server.subscriptions").ToolsListChanged())
        await session.send_tool_list_changed()
        return "changed"

    async def tool_sample(self, given: dict[str, Any], session: Any, *_: Any) -> str:
        said = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=given["text"]))
        return str((await session.create_message([said], max_tokens=9)).content.text)

    async def tool_elicit(self, given: dict[str, Any], session: Any, *_: Any) -> str:
        return str((await session.elicit(given["text"], SCHEMA)).content["name"])

    async def tool_roots(self, _given: dict[str, Any], session: Any, *_: Any) -> str:
        return json.dumps(sorted(str(root.uri) for root in (await session.list_roots()).roots))

    async def subscribe(self, uri: Any) -> None:
        self.subscribed.append(str(uri))

    async def unsubscribe(self, uri: Any) -> None:
        self.subscribed.remove(str(uri))

    async def set_level(self, level: str) -> None:
        self.level = level


TOOLS = [name.removeprefix("tool_") for name in dir(Tools) if name.startswith("tool_")]


def text(said: str) -> Any:
    return types.TextContent(type="text", text=said)


def build_new(tools: Tools) -> Any:
    subscriptions = importlib.import_module("mcp.server.subscriptions")
    tools.bus = subscriptions.InMemorySubscriptionBus()

    async def list_tools(_ctx: Any, _params: Any) -> Any:
        return types.ListToolsResult(tools=[types.Tool(name=name, input_schema=SCHEMA) for name in TOOLS])

    async def call_tool(ctx: Any, params: Any) -> Any:
        given = params.arguments or {}
        if params.name == "elicit" and ctx.protocol_version >= "2026":
            return ask_in_result(params, given)
        token = (ctx.meta or {}).get("progress_token")
        said = await tools.run(params.name, given, ctx.session, token, ctx.request_id)
        return types.CallToolResult(content=[text(said)])

    async def subscribe(_ctx: Any, params: Any) -> Any:
        await tools.subscribe(params.uri)
        return types.EmptyResult()

    async def unsubscribe(_ctx: Any, params: Any) -> Any:
        await tools.unsubscribe(params.uri)
        return types.EmptyResult()

    async def set_level(_ctx: Any, params: Any) -> Any:
        await tools.set_level(params.level)
        return types.EmptyResult()

    return lowlevel.Server(
        "talk",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=unsubscribe,
        on_set_logging_level=set_level,
        on_subscriptions_listen=subscriptions.ListenHandler(tools.bus),
    )


def ask_in_result(params: Any, given: dict[str, Any]) -> Any:
    """Modern servers ask in their answer; the retry brings the state back, which only this process can read."""
    if params.input_responses is None:
        question = types.ElicitRequest(
            params=types.ElicitRequestFormParams(message=given["text"], requested_schema=SCHEMA)
        )
        return types.InputRequiredResult(input_requests={"q": question}, request_state=f"{os.getpid()}:{given['text']}")
    assert params.request_state == f"{os.getpid()}:{given['text']}"
    return types.CallToolResult(content=[text(params.input_responses["q"].content["name"])])


def build_old(tools: Tools) -> Any:
    server = lowlevel.Server("talk")
    server.experimental.enable_tasks()

    @server.list_tools()  # type: ignore[untyped-decorator]
    async def list_tools() -> Any:
        optional = types.ToolExecution(taskSupport="optional")
        return [types.Tool(name=name, inputSchema=SCHEMA, execution=optional) for name in TOOLS]

    @server.call_tool(validate_input=False)  # type: ignore[untyped-decorator]
    async def call_tool(name: str, given: dict[str, Any]) -> Any:
        ctx = server.request_context
        token = ctx.meta.progressToken if ctx.meta else None

        async def work(_task: Any) -> Any:
            said = await tools.run(name, given, ctx.session, token, ctx.request_id)
            return types.CallToolResult(content=[text(said)])

        if ctx.experimental.is_task:
            return await ctx.experimental.run_task(work)
        return await work(None)

    server.subscribe_resource()(tools.subscribe)
    server.unsubscribe_resource()(tools.unsubscribe)
    server.set_logging_level()(tools.set_level)
    return server


async def main() -> None:
    stdio = importlib.import_module("mcp.server.stdio")
    tools = Tools()
    server = build_new(tools) if NEW else build_old(tools)
    options = server.create_initialization_options(lowlevel.NotificationOptions(tools_changed=True))
    async with stdio.stdio_server() as (read, write):
        await server.run(read, write, options)


if __name__ == "__main__":
    anyio.run(main)
