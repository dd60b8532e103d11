"""A backend's whole world, at random: hosts and their shims, servers of both eras, and nothing real in between.

The reference is short. Each request carries a mark, `session/number`, and whatever a server says on its behalf bears
that mark too. So a host may only ever see marks of its own; an answer bears the mark of the request that it answers; no
server sees the mark of a request with an effect twice. A shim is a journal: each line is settled once, or kept.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from random import Random

from mux import limits
from mux.core import actions, events
from mux.core.actions import Action
from mux.core.events import Event, LaunchSpec
from mux.core.methods import REPEATABLE, SAFE
from mux.core.pool import Pool

SPEC = LaunchSpec((b"server",), b"/bin/server", b"/", (), 0o022, ())
KEYS = (b"k" * 16, b"l" * 16)
IDS = ["0", '"0"', "1", '"1"', "7", '"\\u0031"', "-1", "1.5", '""']
URIS = ["file:///a", "file:///a/b", "\\u0066ile:///a"]
LEVELS = ["debug", "info", "error", "loud"]
CAPABILITIES = ["{}", '{"sampling":{},"roots":{}}']
PLAIN = ["tools/call", "tools/call", "prompts/get", "tools/list", "resources/read", "x/y", "ping", "tasks/list"]
GARBAGE = [
    b"",
    b"{",
    b"[]",
    b"\xff",
    b"null",
    b'{"id":1}',
    b'{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}',
    b"[" * 2000,
]
MARK = re.compile(rb'"mark":"([^"]*)"')
ENVELOPE = '"io.modelcontextprotocol/protocolVersion":"2026-07-28"'
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


_TO_SESSION = actions.Deliver | actions.Acknowledge | actions.Keep | actions.Dismiss | actions.Drop


class Request:
    """A request of a host, until it has its answer or is cancelled."""

    def __init__(self, id_: str, method: str, mark: str, token: str = "") -> None:
        self.id = id_
        self.method = method
        self.mark = mark
        self.token = token


class Host:
    """One host and the journal of its shim. era: legacy, hybrid, modern or bare."""

    def __init__(self, name: str, era: str, key: bytes, capabilities: str) -> None:
        self.name = name
        self.era = era
        self.key = key
        self.capabilities = capabilities
        self.number = 0
        self.seq = 0
        self.marks = 0
        self.lines: dict[int, bytes] = {}
        self.kept: dict[int, bytes] = {}
        self.answered: set[int] = set()
        self.repeated: set[int] = set()
        self.requests: dict[int, Request] = {}
        self.questions: list[str] = []
        self.opened = False
        self.ended = False

    def settle(self, seq: int) -> None:
        assert seq in self.lines, f"{self.name}: LINE {seq} is settled twice"
        assert seq not in self.answered, f"{self.name}: LINE {seq} is answered twice"
        if seq in self.kept:
            self.answered.add(seq)
        else:
            del self.lines[seq]

    def unsettled(self) -> list[bytes]:
        """Lines that wait for an answer: neither settled nor kept, and no listens, which may wait for ever."""
        return [
            line for seq, line in self.lines.items() if seq not in self.kept and b'"subscriptions/listen"' not in line
        ]

    def forget(self, seq: int) -> None:
        assert seq in self.lines, f"{self.name}: LINE {seq} is forgotten twice"
        del self.lines[seq]
        self.kept.pop(seq, None)
        self.answered.discard(seq)
        self.requests.pop(seq, None)


class Server:
    """One process. asked: requests that it has not answered, by our id; an entry is (mark, method, token, since)."""

    def __init__(self) -> None:
        self.asked: dict[int, tuple[str, str, bool, float]] = {}
        self.listens: dict[int, str] = {}
        self.questions: dict[str, str] = {}
        self.count = 0


class Base:
    """The pool, what it wants done, and whether that may be. `choose`: where chance comes from."""

    def __init__(self, choose: Random) -> None:
        self.choose = choose
        self.now = 0.0
        self.hosts: list[Host] = []
        self.sessions: dict[int, Host] = {}
        self.servers: dict[int, Server] = {}
        self.launched: list[int] = []
        self.stopping: set[int] = set()
        self.executed: Counter[str] = Counter()
        self.effects: set[str] = set()
        self.numbers = 0
        self.generation = 0
        self.pool = self._pool()

    def _pool(self) -> Pool:
        pool = Pool(grace=30.0, entropy=self.choose.randrange)
        pool.start(self.now)
        return pool

    # --- what the pool wants ----------------------------------------------------------------

    def give(self, event: Event) -> list[Action]:
        done = self.pool.handle(event, self.now)
        if isinstance(event, events.SessionLine | events.SessionReplay):
            concerned = {action.session for action in done if isinstance(action, _TO_SESSION)}
            assert concerned <= {event.session}, "a host's line is answered to another"
        for action in done:
            self._apply(action)
        return done

    def _apply(self, action: Action) -> None:
        if isinstance(action, actions.Deliver):
            host = self.sessions.get(action.session)
            assert host is not None, "something is delivered to a session that is gone"
            self._hear(host, action.seq, action.data)
        elif isinstance(action, actions.Acknowledge):
            self.sessions[action.session].forget(action.seq)
        elif isinstance(action, actions.Keep):
            host = self.sessions[action.session]
            assert action.seq in host.lines, "a settled line is to be kept"
            host.kept[action.seq] = action.blob
        elif isinstance(action, actions.Dismiss):
            host = self.sessions[action.session]
            assert host.ended
            left = [r.method for r in host.requests.values() if r.method != "subscriptions/listen"]
            assert not left, f"dismissed with {left} open"
        elif isinstance(action, actions.Launch):
            self.launched.append(action.process)
            assert not any(s for p, s in self.servers.items() if p == action.process)
        elif isinstance(action, actions.Forward):
            self._receive(action.process, action.data)
        elif isinstance(action, actions.Stop):
            self.stopping.add(action.process)

    def _hear(self, host: Host, seq: int, data: bytes) -> None:
        assert data.endswith(b"\n")
        assert b"\n" not in data[:-1]
        for mark in MARK.findall(data):
            assert mark.split(b"/")[0] in (host.name.encode(), b"all"), f"{host.name} hears {data!r}"
        if seq:
            request = host.requests.pop(seq, None)
            if request is not None:
                assert b'"id":%b' % request.id.encode() in data, f"{data!r} answers {request.id}"
                marks = MARK.findall(data)
                assert not marks or marks == [request.mark.encode()], f"{data!r} answers {request.mark}"
            host.settle(seq)
        elif b'"progressToken"' in data and b"all/0" not in data:
            token = data.split(b'"progressToken":')[1].split(b",")[0].split(b"}")[0].decode()
            assert token in IDS, f"{host.name} hears of a token that it never gave: {data!r}"
        elif b'"method":"notifications/' not in data and b'"id":' in data:
            host.questions.append(json.loads(data)["id"])

    def _receive(self, process: int, data: bytes) -> None:
        server = self.servers[process]
        message = json.loads(data)
        marks = [mark.decode() for mark in MARK.findall(data)]
        method = message.get("method")
        if method is None:
            owner = server.questions.pop(str(message["id"]), None)
            assert owner is not None, f"an answer that was not asked for: {data!r}"
            assert owner == "all" or not marks or marks[0].split("/")[0] == owner, f"{data!r} answers for {owner}"
        elif "id" not in message:
            return
        else:
            assert isinstance(message["id"], int)
            assert limits.UPSTREAM_ID_FLOOR <= message["id"] < 2**53
            assert message["id"] not in server.asked
            params = message.get("params")
            meta = params.get("_meta") if isinstance(params, dict) else None
            has_token = isinstance(meta, dict) and "progressToken" in meta
            if isinstance(meta, dict) and has_token:
                assert meta["progressToken"] == message["id"]
            mark = marks[0] if marks else "all/0"
            if marks and method not in ("initialize", "logging/setLevel"):
                self.executed[mark] += 1
                if method in SAFE or method not in REPEATABLE:
                    assert self.executed[mark] <= (3 if method in SAFE else 1), f"{mark} {method} is run again"
            if method == "subscriptions/listen":
                server.listens[message["id"]] = mark
            server.asked[message["id"]] = (mark, method, has_token, self.now)
