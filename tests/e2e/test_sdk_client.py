"""The official client speaks through a shim as it speaks to the server."""

from __future__ import annotations

import asyncio
import sys
from typing import Literal

import pytest
from mcp import Client, StdioServerParameters
from mcp_types import TextContent

from tests.support.runtime import SDK, SHIM, Runtime


async def converse(argv: list[str], runtime: Runtime, era: Literal["auto", "legacy"]) -> tuple[list[str], str, str]:
    """(tools, echo, pid) as a session of the official client sees them."""
    server = StdioServerParameters(command=argv[0], args=argv[1:], env=runtime.environment, cwd=runtime.project)
    async with Client(server, mode=era) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        said: list[str] = []
        for tool, arguments in (("echo", {"text": "hi"}), ("pid", {})):
            result = await client.call_tool(tool, arguments)
            assert isinstance(result.content[0], TextContent)
            said.append(result.content[0].text)
    return tools, said[0], said[1]


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_sdk_clients_share_one_sdk_server(runtime: Runtime, mode: str, era: Literal["auto", "legacy"]) -> None:
    server = [sys.executable, SDK]
    argv = runtime.shim(*server) if mode == SHIM else server
    found = await asyncio.gather(*(converse(argv, runtime, era) for _ in range(5)))
    assert {(*tools, echoed) for tools, echoed, _ in found} == {("echo", "pid", "hi")}
    assert len({pid for _, _, pid in found}) == (1 if mode == SHIM else 5)


async def test_an_sdk_client_works_with_a_server_of_the_sdk_before(
    runtime: Runtime, mode: str, legacy_python: str
) -> None:
    server = [legacy_python, SDK]
    argv = runtime.shim(*server) if mode == SHIM else server
    tools, echoed, _ = await converse(argv, runtime, "auto")
    assert (tools, echoed) == (["echo", "pid"], "hi")
