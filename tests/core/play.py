"""A pool with its hosts and servers played by the test: lines in, lines out, no process and no clock."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mux.core import actions, events
from mux.core.pool import Pool
from tests.core.sessions import SPEC

if TYPE_CHECKING:
    from mux.core.actions import Action
    from mux.core.events import Event

Message = dict[str, Any]


def encode(message: Message | bytes) -> bytes:
    """A message as one line without its newline; bytes as they are."""
    return message if isinstance(message, bytes) else json.dumps(message, separators=(",", ":")).encode()


class Play:
    """lines: which session sent the LINE of that number. log: all that the pool ever wanted done."""

    def __init__(self) -> None:
        self.pool = Pool(grace=30.0, entropy=lambda limit: limit // 2)
        self.now = 1000.0
        self.log: list[Action] = []
        self._hosts: dict[int, list[bytes]] = {}
        self._servers: dict[int, list[bytes]] = {}
        self.lines: dict[int, int] = {}
        self._seq = 0
        self._started = 0
        self.pool.start(self.now)

    def give(self, event: Event) -> list[Action]:
        """Hand an event to the pool; returns, and files, what it wants done."""
        done = self.pool.handle(event, self.now)
        self.log += done
        for action in done:
            if isinstance(action, actions.Deliver):
                self._hosts.setdefault(action.session, []).append(action.data)
            elif isinstance(action, actions.Forward):
                self._servers.setdefault(action.process, []).append(action.data)
        return done

    def wait(self, seconds: float) -> list[Action]:
        """Let time pass, with a Tick at its end."""
        self.now += seconds
        return self.give(events.Tick())

    # --- hosts ------------------------------------------------------------------------------

    def open(self, session: int, key: bytes = b"key") -> None:
        """A session connects."""
        self.give(events.SessionOpened(session, key, SPEC, grace=30.0))

    def host(self, session: int, message: Message | bytes) -> list[Action]:
        """A host says something, as the next LINE; numbers are unique over all sessions here."""
        self._seq += 1
        self.lines[self._seq] = session
        return self.give(events.SessionLine(session, self._seq, encode(message)))

    def heard(self, session: int) -> list[Message]:
        """What the host was told since it was last asked."""
        return [json.loads(line) for line in self._hosts.pop(session, [])]

    def close(self, session: int) -> None:
        """A connection ends."""
        self.give(events.SessionClosed(session))

    # --- servers ----------------------------------------------------------------------------

    def server(self, message: Message | bytes, process: int = 1) -> list[Action]:
        """A server says something."""
        return self.give(events.ProcessLine(process, encode(message)))

    def got(self, process: int = 1) -> list[Message]:
        """What the server was told since it was last asked."""
        return [json.loads(line) for line in self._servers.pop(process, [])]

    def start(self) -> list[int]:
        """Every server that is to be launched runs; returns which ones were new."""
        launched = [action.process for action in self.log if isinstance(action, actions.Launch)]
        new = launched[self._started :]
        self._started = len(launched)
        for process in new:
            self.give(events.ProcessStarted(process, 4000 + process))
        return new

    def serve(self, *sessions: int, capabilities: Message | None = None) -> None:
        """The sessions initialise, all alike, and share one ready server."""
        for session in sessions:
            self.open(session)
            params = {"protocolVersion": "2025-11-25", "capabilities": capabilities or {}, "clientInfo": {"name": "t"}}
            self.host(session, {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
            for process in self.start():
                (opening,) = self.got(process)
                self.server({"jsonrpc": "2.0", "id": opening["id"], "result": {"capabilities": {"tasks": {}}}}, process)
            self.host(session, {"jsonrpc": "2.0", "method": "notifications/initialized"})
            self.got()
            self.heard(session)

    def call(self, session: int, method: str = "tools/call", id_: object = 1, **params: object) -> int:
        """The session asks something; returns the id that the server knows it by."""
        self.got()
        self.host(session, {"jsonrpc": "2.0", "id": id_, "method": method, "params": params})
        (sent,) = self.got()
        uid: int = sent["id"]
        return uid
