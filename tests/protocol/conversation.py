"""Two sessions of the official client talk to one server at once; what they saw is printed as JSON.

Run as a program by an interpreter with whichever major version of the SDK: `conversation.py ERA COMMAND ARG…`, with ERA
`legacy` or `modern`. Both sessions are clients of their own, started alike: their ids and tokens are equal.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

import anyio

NEW = int(version("mcp").partition(".")[0]) >= 2
types: Any = importlib.import_module("mcp_types" if NEW else "mcp.types")
mcp: Any = importlib.import_module("mcp")
stdio: Any = importlib.import_module("mcp.client.stdio")

URI = "note://one"
PATIENCE = 40.0


class Client:
    """One session: what it was asked, and all that it heard."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: list[str] = []
        self.progress: list[Any] = []
        self.log: list[Any] = []
        self.heard: list[str] = []
        self.session: Any = None

    async def call(self, tool: str, report: Any = None, **given: Any) -> str:
        """What the tool says, or the error."""
        try:
            result = await self.session.call_tool(tool, given, progress_callback=report)
        except Exception as error:  # noqa: BLE001  each version has its own
            return f"error: {error}"
        said = str(result.content[0].text)
        failed = result.is_error if NEW else result.isError
        return f"error: {said}" if failed else said

    async def count(self, steps: int) -> str:
        async def report(progress: float, total: float | None, message: str | None) -> None:
            self.progress.append([progress, total, message])

        return await self.call("progress", report, steps=steps, who=self.name)

    async def sampled(self, _context: Any, params: Any) -> Any:
        self.asked.append("sampling")
        content = types.TextContent(type="text", text=f"{self.name}: {params.messages[0].content.text}")
        return types.CreateMessageResult(role="assistant", content=content, model="m")

    async def elicited(self, _context: Any, params: Any) -> Any:
        self.asked.append("elicitation")
        return types.ElicitResult(action="accept", content={"name": f"{self.name}: {params.message}"})

    async def rooted(self, _context: Any) -> Any:
        self.asked.append("roots")
        return types.ListRootsResult(roots=[types.Root(uri=f"file:///{self.name}"), types.Root(uri="file:///shared")])

    async def logged(self, params: Any) -> None:
        self.log.append([params.level, params.data])

    async def told(self, message: Any) -> None:
        method = getattr(message, "method", None) or getattr(getattr(message, "root", None), "method", "?")
        self.heard.append(str(method))

    @property
    def callbacks(self) -> dict[str, Any]:
        return {
            "sampling_callback": self.sampled,
            "elicitation_callback": self.elicited,
            "list_roots_callback": self.rooted,
            "logging_callback": self.logged,
            "message_handler": self.told,
        }

    @asynccontextmanager
    async def connected(self, era: str, command: list[str]) -> AsyncGenerator[None]:
        server = stdio.StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
        async with AsyncExitStack() as stack:
            if era == "modern":
                self.session = await stack.enter_async_context(
                    mcp.Client(server, mode="auto", log_level="info", **self.callbacks)
                )
            else:
                read, write = await stack.enter_async_context(stdio.stdio_client(server))
                self.session = await stack.enter_async_context(mcp.ClientSession(read, write, **self.callbacks))
                await self.session.initialize()
            yield

    async def state(self) -> Any:
        return json.loads(await self.call("state"))


async def both(*work: Callable[[], Awaitable[Any]]) -> list[Any]:
    """The results, in order."""
    results: list[Any] = [None] * len(work)

    async def run(place: int, one: Callable[[], Awaitable[Any]]) -> None:
        results[place] = await one()

    async with anyio.create_task_group() as group:
        for place, one in enumerate(work):
            group.start_soon(run, place, one)
    return results


async def talk(a: Client, b: Client, era: str) -> dict[str, Any]:
    said: dict[str, Any] = {}
    said["version"] = str(getattr(a.session, "protocol_version", ""))
    said["pids"] = [(await one.state())["pid"] for one in (a, b)]
    echoes = [partial(one.call, "echo", text=f"{one.name}{n}") for n in range(20) for one in (a, b)]
    said["echoes"] = await both(*echoes)
    said["counts"] = await both(lambda: a.count(30), lambda: b.count(50))
    said["progress"] = [a.progress, b.progress]
    said["log"] = await log(a, b, era)
    said["alone"] = await alone(b)
    if era == "legacy":
        said["subscriptions"] = await subscriptions(a, b)
        said["changes"] = await changes(a, b)
        if not NEW and a.session.get_server_capabilities().tasks:
            said["tasks"] = await tasks(a, b)
        said["together"] = await together(a, b)  # last: from then on calls take turns
    else:
        said["listens"] = await listens(a, b)
    said["asked"] = [a.asked, b.asked]
    return said


async def cancel(a: Client, b: Client) -> Any:
    """Both wait under equal ids; one gives up, the other goes on."""
    waited: list[str] = []

    async def wait() -> None:
        waited.append(await b.call("wait"))

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await waiting(b, 1)
        with anyio.CancelScope() as patience:
            async with anyio.create_task_group() as inner:
                number = None if NEW else a.session._request_id  # version 1 leaves cancelling to its user
                inner.start_soon(a.call, "wait")
                await waiting(b, 2)
                if not NEW:
                    params = types.CancelledNotificationParams(requestId=number)
                    notification = types.CancelledNotification(params=params)
                    await a.session.send_notification(types.ClientNotification(notification))
                patience.cancel()
        await waiting(b, 1)
        await b.call("release")
    return {"cancelled": (await b.state())["cancelled"], "other": waited, "after": await a.call("echo", text="on")}


async def waiting(one: Client, number: int) -> None:
    """Until so many calls wait at the server."""
    while (await one.state())["waiting"] != number:  # noqa: ASYNC110  the server is another process
        await anyio.sleep(0.01)


async def log(a: Client, b: Client, era: str) -> Any:
    """Each has a level of its own; nobody else is at work when one makes the server say something."""
    if era == "legacy":
        await a.session.set_logging_level("debug")
        await b.session.set_logging_level("error")
    level = (await a.state())["level"]
    for one in (a, b):
        for at in ("debug", "info", "error"):
            await one.call("log", level=at, data=f"{one.name} {at}")
    return {"level": level, "heard": [list(a.log), list(b.log)]}


async def alone(one: Client) -> Any:
    """Nobody else is at work: the question can only be for it."""
    return {tool: await one.call(tool, text="?") for tool in ("sample", "elicit", "roots")}


async def together(a: Client, b: Client) -> Any:
    """The other is at work, so the first question could be for either: refused. Then they take turns."""
    refused: Any = None
    async with anyio.create_task_group() as group:
        group.start_soon(b.call, "wait")
        await waiting(a, 1)
        refused = await a.call("elicit", text="whose?")
        await a.session.list_tools()  # goes on beside the other's call
        await b.call("release")
    turns = await both(*(partial(one.call, "elicit", text=str(n)) for n in range(3) for one in (a, b)))
    return {"refused": refused, "turns": turns}


async def subscriptions(a: Client, b: Client) -> Any:
    updated = "notifications/resources/updated"

    async def touched() -> list[int]:
        before = [len(one.heard) for one in (a, b)]
        await b.call("touch", uri=URI)
        await b.call("state")
        await a.call("state")
        return [one.heard[start:].count(updated) for one, start in zip((a, b), before, strict=True)]

    seen = [await touched()]
    for step in (a.session.subscribe_resource, b.session.subscribe_resource, a.session.unsubscribe_resource):
        await step(URI)
        seen.append(await touched())
    at_server = (await a.state())["subscribed"]
    await b.session.unsubscribe_resource(URI)
    seen.append(await touched())
    return {"seen": seen, "at_server": at_server, "at_end": (await a.state())["subscribed"]}


async def changes(a: Client, b: Client) -> Any:
    await a.call("change")
    await b.call("state")
    return [one.heard.count("notifications/tools/list_changed") for one in (a, b)]


async def tasks(a: Client, b: Client) -> Any:
    """A task is its owner's; the other is told that there is none."""
    mine = (await a.session.experimental.call_tool_as_task("echo", {"text": "later"})).task.taskId
    theirs = (await b.session.experimental.call_tool_as_task("echo", {"text": "theirs"})).task.taskId
    result = await a.session.experimental.get_task_result(mine, types.CallToolResult)
    foreign = []
    for look in (a.session.experimental.get_task, a.session.experimental.cancel_task):
        try:
            await look(theirs)
        except mcp.McpError as error:
            foreign.append(error.error.message)
    return {
        "result": result.content[0].text,
        "foreign": foreign,
        "a": [task.taskId for task in (await a.session.experimental.list_tasks()).tasks] == [mine],
        "b": [task.taskId for task in (await b.session.experimental.list_tasks()).tasks] == [theirs],
    }


async def listens(a: Client, b: Client) -> Any:
    """Each listens under its own id, which are equal; one stops, the other still hears."""
    async with b.session.listen(tools_list_changed=True) as second:
        async with a.session.listen(tools_list_changed=True) as first:
            await b.call("change")
            heard = [type(await anext(one)).__name__ for one in (first, second)]
            a.log.clear()
            await a.call("log", level="info", data="while both listen")
            log = list(a.log)
        await a.call("change")
        return {"heard": heard, "log": log, "after": type(await anext(second)).__name__}


async def main() -> None:
    era, *command = sys.argv[1:]
    a, b, c, d = (Client(name) for name in "abcd")
    with anyio.fail_after(PATIENCE):
        async with a.connected(era, command), b.connected(era, command):
            said = await talk(a, b, era)
        command.append("apart")  # some servers never answer what was cancelled: it counts as at work for a while
        async with c.connected(era, command), d.connected(era, command):
            said["cancel"] = await cancel(c, d)
    print(json.dumps(said))


if __name__ == "__main__":
    anyio.run(main)
