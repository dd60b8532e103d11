"""`--era`: the official Python client in each of its modes, with an official server that speaks both eras."""

from __future__ import annotations

import json
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent

from tests.support.runtime import Runtime

TALK = [sys.executable, "-W", "ignore", str(Path(__file__).parent / "servers" / "talk.py")]
NEWEST_LEGACY, MODERN = "2025-11-25", "2026-07-28"
PATIENCE = 60.0


def client(runtime: Runtime, era: str, mode: str) -> Client:
    command = runtime.shim(*TALK, options=["--era", era])
    server = StdioServerParameters(
        command=command[0], args=command[1:], env=runtime.environment, cwd=str(runtime.project)
    )
    return Client(server, mode=mode)


async def pid(session: Client) -> int:
    """The process that serves it."""
    (said,) = (await session.call_tool("state", {})).content
    assert isinstance(said, TextContent)
    found: int = json.loads(said.text)["pid"]
    return found


@pytest.mark.parametrize(
    ("era", "modes", "version"),
    [("legacy", ("legacy", "auto", "auto"), NEWEST_LEGACY), ("modern", ("auto", MODERN, "auto"), MODERN)],
)
def test_clients_that_can_speak_the_one_era_share_one_process_in_it(
    runtime: Runtime, era: str, modes: tuple[str, ...], version: str
) -> None:
    async def talk() -> None:
        with anyio.fail_after(PATIENCE):
            async with AsyncExitStack() as stack:
                sessions = [await stack.enter_async_context(client(runtime, era, mode)) for mode in modes]
                assert {session.protocol_version for session in sessions} == {version}
                assert len({await pid(session) for session in sessions}) == 1
                (server,) = await anyio.to_thread.run_sync(lambda: runtime.status()["upstreams"])
                assert (server["era"], server["era_only"]) == (era, era)

    anyio.run(talk)


@pytest.mark.parametrize(("era", "mode", "code"), [("legacy", MODERN, -32600), ("modern", "legacy", -32022)])
def test_a_client_of_the_other_era_is_told_so_and_starts_no_process(
    runtime: Runtime, era: str, mode: str, code: int
) -> None:
    async def talk() -> None:
        with anyio.fail_after(PATIENCE):
            async with client(runtime, era, mode) as session:
                await session.list_tools()

    def says_so(error: MCPError) -> bool:
        return error.code == code and f"--era {era}" in error.message

    with pytest.RaisesGroup(pytest.RaisesExc(MCPError, check=says_so), flatten_subgroups=True):
        anyio.run(talk)
    assert runtime.status()["upstreams"] == []
