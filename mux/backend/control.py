"""Role `control` (mux/wire/PROTOCOL, 5): an operator's command in a LINE, its answer in the OUT with the same seq."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from mux.backend import logs
from mux.backend.connection import Connection
from mux.errors import MuxError
from mux.wire import frames

Arguments = dict[str, Any]
Commands = Mapping[str, Callable[[Arguments], Awaitable[Any]]]


class _Command(msgspec.Struct):
    command: str
    arguments: Arguments = {}


class ControlConnection(Connection):
    """Answers each command in a task of its own; it is no session and keeps nothing alive."""

    def __init__(self, commands: Commands, tasks: asyncio.TaskGroup, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__("control", loop)
        self._commands = commands
        self._tasks = tasks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.send(frames.WELCOME)

    def received(self, batch: Sequence[frames.Frame], /) -> None:
        for kind, _flags, seq, payload in batch:
            if kind == frames.LINE:
                self._tasks.create_task(self._answer(seq, payload))

    def lost(self) -> None:
        """Answers on their way go nowhere."""

    async def _answer(self, seq: int, payload: bytes) -> None:
        import json  # msgspec refuses what os.fsdecode gives for a name that is no UTF-8

        answer: dict[str, Any]
        try:
            asked = msgspec.json.decode(payload, type=_Command)
            command = self._commands.get(asked.command)
            if command is None:
                answer = {"error": f"unknown command: {asked.command}"}
            else:
                answer = {"result": await command(asked.arguments)}
        except msgspec.DecodeError as error:
            answer = {"error": f'expected {{"command": NAME}}: {error}'}
        except MuxError as error:
            answer = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - an operator's question must not end the backend
            logs.failure("control.failed", error)
            answer = {"error": f"the command failed: {error}"}
        self.send(frames.OUT, json.dumps(answer).encode() + b"\n", seq)
