"""A backend's whole world, at random: hosts and their shims, servers of both eras, and nothing real in between.

The reference is short. Each request carries a mark, `session/number`, and whatever a server says on its behalf carries
that mark too. So a host may only ever see marks of its own; an answer bears the mark of the request that it answers; and
no server sees the mark of a request with an effect twice. A shim is a journal: each line is settled once, or kept.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from mux import limits
from mux.core import actions, events
from mux.core.actions import Action
from mux.core.events import Event, LaunchSpec
from mux.core.methods import MAY_ASK, REPEATABLE, SAFE
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


class World:
    """Everything around one pool. `choose`: where chance comes from."""

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

    # --- hosts ------------------------------------------------------------------------------

    def join(self) -> None:
        if len(self.hosts) >= 6:
            return
        era = self.choose.choice(["legacy", "legacy", "hybrid", "modern", "bare"])
        name = f"h{self.numbers}"
        host = Host(name, era, self.choose.choice(KEYS), self.choose.choice(CAPABILITIES))
        self.hosts.append(host)
        self._open(host, resumed=False)

    def _open(self, host: Host, *, resumed: bool) -> None:
        self.numbers += 1
        host.number = self.numbers
        self.sessions[host.number] = host
        self.give(events.SessionOpened(host.number, host.key, SPEC, 30.0, resumed=resumed))

    def _line(self, host: Host, line: bytes, request: Request | None = None) -> None:
        host.seq += 1
        host.lines[host.seq] = line
        if request is not None:
            host.requests[host.seq] = request
        self.give(events.SessionLine(host.number, host.seq, line))

    def _say(self, host: Host, method: str, params: str = "", token: str = "") -> None:
        """A request with a mark of its own."""
        id_ = self.choose.choice(IDS)
        host.marks += 1
        mark = f"{host.name}/{host.marks}"
        meta = ",".join(
            filter(None, [ENVELOPE if host.era == "modern" else "", f'"progressToken":{token}' if token else ""])
        )
        body = ",".join(filter(None, [f'"mark":"{mark}"', f'"_meta":{{{meta}}}' if meta else "", params]))
        line = f'{{"jsonrpc":"2.0","id":{id_},"method":"{method}","params":{{{body}}}}}'
        self._line(host, line.encode(), Request(id_, method, mark, token))

    def speak(self) -> None:
        """A host goes on as its era does."""
        host = self._host()
        if host is None:
            return
        if host.opened or host.era == "bare":
            self._work(host)
        elif host.era in ("legacy", "hybrid"):
            if host.era == "hybrid" and self.choose.random() < 0.6:
                self._plain(host, "server/discover")
                return
            host.opened = True
            info = '"clientInfo":{"name":"h","version":"1"}'
            self._plain(
                host, "initialize", f'{{"protocolVersion":"2025-11-25","capabilities":{host.capabilities},{info}}}'
            )
            if self.choose.random() < 0.8:
                self._line(host, b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        else:
            host.opened = True
            if self.choose.random() < 0.5:
                self._plain(host, "server/discover")

    def _plain(self, host: Host, method: str, params: str = "{}") -> None:
        """A request without a mark: what is shared by design."""
        id_ = self.choose.choice(IDS)
        line = f'{{"jsonrpc":"2.0","id":{id_},"method":"{method}","params":{params}}}'
        self._line(host, line.encode(), Request(id_, method, "all/0"))

    def _work(self, host: Host) -> None:
        dice = self.choose.random()
        if dice < 0.55:
            token = self.choose.choice(IDS) if self.choose.random() < 0.5 else ""
            self._say(host, self.choose.choice(PLAIN), token=token)
        elif dice < 0.7 and host.era == "legacy":
            verb = self.choose.choice(["subscribe", "subscribe", "unsubscribe"])
            self._say(host, f"resources/{verb}", f'"uri":"{self.choose.choice(URIS)}"')
        elif dice < 0.78 and host.era == "legacy":
            self._say(host, "logging/setLevel", f'"level":"{self.choose.choice(LEVELS)}"')
        elif dice < 0.78 and host.era == "modern":
            self._say(host, "subscriptions/listen")
        else:
            self._say(host, "tools/call", '"task":{}')

    def cancel(self) -> None:
        host = self._host()
        if host is None:
            return
        id_ = self.choose.choice(IDS)
        line = f'{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id_}}}}}'
        self._line(host, line.encode())

    def oversize(self) -> None:
        """A line that was cut: the host's own fault, or its answer to a question."""
        host = self._host()
        if host is not None:
            id_ = host.questions.pop() if host.questions else 5
            line = self.choose.choice(
                [f'{{"jsonrpc":"2.0","id":{json.dumps(id_)},"result":{{"x":"', "x", '{"id":0,"method":"x"']
            )
            host.seq += 1
            host.lines[host.seq] = line.encode()
            self.give(events.SessionLine(host.number, host.seq, line.encode() * 2, oversize=True))

    def garbage(self) -> None:
        host = self._host()
        if host is not None:
            known = list(host.lines.values())
            line = self.choose.choice(GARBAGE)
            if known and self.choose.random() < 0.5:
                victim = self.choose.choice(known)
                at = self.choose.randrange(len(victim) + 1)
                line = victim[:at] + self.choose.choice([b"", b"\\", b'"', b"}", b"\xff"]) + victim[at + 1 :]
                if b'"mark"' in line:
                    line = line.replace(b'"mark"', b'"was"')
            self._line(host, line)

    def answer_question(self) -> None:
        host = self._host()
        if host is None:
            return
        dice = self.choose.random()
        if host.questions and dice < 0.8:
            id_: object = host.questions.pop(self.choose.randrange(len(host.questions)))
        else:
            others = [q for other in self.hosts for q in other.questions]
            id_ = self.choose.choice([*others, 1, 5])
        mark = f'"mark":"{host.name}/q"'
        self._line(host, f'{{"jsonrpc":"2.0","id":{json.dumps(id_)},"result":{{{mark},"roots":[]}}}}'.encode())

    def end_input(self) -> None:
        host = self._host()
        if host is not None and self.choose.random() < 0.3:
            host.ended = True
            self.give(events.SessionEof(host.number))

    def leave(self) -> None:
        if self.hosts and self.choose.random() < 0.5:
            host = self.choose.choice(self.hosts)
            self.hosts.remove(host)
            del self.sessions[host.number]
            self.give(events.SessionClosed(host.number))

    def _host(self) -> Host | None:
        able = [host for host in self.hosts if not host.ended]
        return self.choose.choice(able) if able else None

    # --- servers ----------------------------------------------------------------------------

    def start(self) -> None:
        if self.launched:
            process = self.launched.pop(0)
            if self.choose.random() < 0.1:
                self.give(events.ProcessFailed(process, "not found"))
            else:
                self.servers[process] = Server()
                self.give(events.ProcessStarted(process, process))

    def _server(self) -> tuple[int, Server] | None:
        return self.choose.choice(list(self.servers.items())) if self.servers else None

    def _tell(self, process: int, message: dict[str, Any]) -> None:
        line = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode()
        if self.choose.random() < 0.5 and "method" not in message:  # as TypeScript has it
            id_ = message.pop("id")
            line = json.dumps({**message, "jsonrpc": "2.0", "id": id_}, separators=(",", ":")).encode()
        self.give(events.ProcessLine(process, line))

    def answer(self) -> None:
        found = self._server()
        if found is None or not found[1].asked:
            return
        process, server = found
        uid = self.choose.choice(list(server.asked))
        mark, method, _, _ = server.asked.pop(uid)
        server.listens.pop(uid, None)
        server.count += 1
        if self.choose.random() < (0.5 if method == "server/discover" else 0.15):
            self._tell(process, {"id": uid, "error": {"code": -32601, "message": "no", "data": {"mark": mark}}})
            return
        result: dict[str, Any] = {"mark": mark}
        if method == "tools/call" and self.choose.random() < 0.3:
            result["task"] = {"taskId": f"t{process}.{server.count}", "of": mark}
        elif method == "tasks/list":
            result["tasks"] = []
        self._tell(process, {"id": uid, "result": result})

    def progress(self) -> None:
        found = self._server()
        if found is None:
            return
        process, server = found
        marked = [(uid, entry[0]) for uid, entry in server.asked.items() if entry[2]]
        if marked:
            uid, mark = self.choose.choice(marked)
            self._tell(process, {"method": "notifications/progress", "params": {"progressToken": uid, "mark": mark}})

    def notify(self) -> None:
        """On behalf of one of its requests, or of nobody while it has none."""
        found = self._server()
        if found is None:
            return
        process, server = found
        at_work = [mark for mark, _, _, since in server.asked.values() if self.now < since + limits.TOMBSTONE_SECONDS]
        mark = self.choose.choice(at_work) if at_work else "all/0"
        method = self.choose.choice(["notifications/message", "x/notice"])
        if not at_work or mark != "all/0":
            self._tell(process, {"method": method, "params": {"level": "info", "mark": mark}})

    def announce(self) -> None:
        found = self._server()
        if found is not None:
            process, server = found
            if server.listens and self.choose.random() < 0.5:
                uid, mark = self.choose.choice(list(server.listens.items()))
                method = self.choose.choice(["subscriptions/acknowledged", "resources/updated"])
                params = {"_meta": {SUBSCRIPTION: uid}, "mark": mark}
                self._tell(process, {"method": f"notifications/{method}", "params": params})
            else:
                kind = self.choose.choice(["tools/list_changed", "resources/updated"])
                uri = json.loads(f'"{self.choose.choice(URIS)}"')
                self._tell(process, {"method": f"notifications/{kind}", "params": {"mark": "all/0", "uri": uri}})

    def ask(self) -> None:
        """A question on behalf of a request during which it may ask."""
        found = self._server()
        if found is None:
            return
        process, server = found
        asking = [
            entry[0]
            for entry in server.asked.values()
            if entry[1] in MAY_ASK and self.now < entry[3] + limits.TOMBSTONE_SECONDS
        ]
        server.count += 1
        id_ = str(server.count)
        if asking and self.choose.random() < 0.8:
            mark = self.choose.choice(asking)
            server.questions[id_] = mark.split("/")[0]
            params = {"mark": mark}
            self._tell(process, {"id": int(id_), "method": "sampling/createMessage", "params": params})
        else:
            server.questions[id_] = "all"
            method = self.choose.choice(["ping", "roots/list"])
            self._tell(process, {"id": int(id_), "method": method, "params": {"mark": "all/0"}})

    def nonsense(self) -> None:
        found = self._server()
        if found is not None:
            line = self.choose.choice([*GARBAGE, b'{"jsonrpc":"2.0","id":5,"result":{}}', b"log line"])
            self.give(events.ProcessLine(found[0], line, b'"id"' not in line and self.choose.random() < 0.1))

    def crash(self) -> None:
        """A server dies, or goes because it was told to."""
        found = self._server()
        if found is not None and (found[0] in self.stopping or self.choose.random() < 0.3):
            del self.servers[found[0]]
            self.give(events.ProcessExited(found[0], -9, "boom"))

    # --- time, and the end of a backend -----------------------------------------------------

    def tick(self) -> None:
        due = self.pool.deadline()
        self.now += self.choose.choice([0.1, 1.0, 5.0, 25.0, 70.0])
        if due is not None and due <= self.now:
            self.give(events.Tick())

    def restart(self) -> None:
        """The operator wants a new generation of some server."""
        self.give(events.Restart(self.choose.randrange(1, 6)))

    def next_backend(self) -> None:
        """The backend is gone with its servers; the shims bring what they have to the next one."""
        if self.choose.random() > 0.3:
            return
        self.servers.clear()
        self.launched.clear()
        self.stopping.clear()
        self.sessions.clear()
        self.pool = self._pool()
        for host in self.hosts:
            self._open(host, resumed=True)
            for seq in sorted(host.lines):
                if seq in host.lines:
                    answered, repeated = seq in host.answered, seq in host.repeated
                    host.repeated.add(seq)
                    self.give(
                        events.SessionReplay(
                            host.number, seq, host.lines[seq], answered, repeated, host.kept.get(seq, b"")
                        )
                    )
            self.give(events.SessionReady(host.number))
            if host.ended:
                self.give(events.SessionEof(host.number))

    def step(self) -> None:
        """One thing happens."""
        self.choose.choices([step for step, _ in _STEPS], [weight for _, weight in _STEPS])[0](self)
        self.check()

    def check(self) -> None:
        """What is true at any time."""
        for host in self.hosts:
            session = self.pool.sessions.get(host.number)
            if session is not None:
                assert session.open <= limits.SESSION_WAITING
                assert session.in_flight <= limits.SESSION_IN_FLIGHT
                assert session.open == len(session.open_calls())
                assert len(session.kept) <= limits.KEPT_LINES
                assert session.kept_bytes == sum(session.kept.values())
        for router in self.pool.routers.values():
            assert router.quota.in_flight <= limits.UPSTREAM_IN_FLIGHT
            assert router.quota.in_flight == sum(call.counted for call in router.ids.flying.values())
            assert len({id(session) for session in router.quota.ring}) == len(router.quota.ring)
            assert router.upstream.process in (0, *self.launched, *self.servers)
        running = [router.upstream.process for router in self.pool.routers.values() if router.upstream.process]
        assert len(set(running)) == len(running)
        assert set(self.servers) <= set(running), "a server that no upstream knows of"

    # --- the end ----------------------------------------------------------------------------

    def settle(self) -> None:
        """Servers come up and answer everything that they were asked, until nothing moves any more."""
        for _ in range(10_000):
            if self.launched:
                process = self.launched.pop(0)
                self.servers[process] = Server()
                self.give(events.ProcessStarted(process, process))
            elif self.stopping & self.servers.keys():
                self._stop_all()
            elif not self._answer_one():
                waiting = [line for host in self.hosts for line in host.unsettled()]
                if not waiting:
                    return
                if self._answer_one(listens=True):
                    continue
                due = self.pool.deadline()
                assert due is not None, f"{waiting} wait for nothing"
                self.now = max(self.now, due)
                self.give(events.Tick())
        raise AssertionError("it never settles")

    def _stop_all(self) -> None:
        for process in self.stopping & {*self.servers, *self.launched}:
            self.servers.pop(process, None)
            self.launched = [other for other in self.launched if other != process]
            self.give(events.ProcessExited(process, 0, ""))

    def _answer_one(self, *, listens: bool = False) -> bool:
        for process, server in self.servers.items():
            for uid, (mark, method, _, _) in list(server.asked.items()):
                if (method == "subscriptions/listen") == listens:
                    del server.asked[uid]
                    self._tell(process, {"id": uid, "result": {"mark": mark, "tasks": []}})
                    return True
        return False

    def finish(self) -> None:
        """Everything is answered; then all leave, and nothing may be left."""
        self.settle()
        for host in self.hosts:
            assert not host.unsettled()
        for host in list(self.hosts):
            self.hosts.remove(host)
            del self.sessions[host.number]
            self.give(events.SessionClosed(host.number))
        until = self.now + limits.OPEN_STATE_SECONDS + 100
        while self.pool.routers and self.now <= until:
            due = self.pool.deadline()
            if due is not None:
                self.now = max(self.now, due)
                self.give(events.Tick())
            self._stop_all()


_TO_SESSION = actions.Deliver | actions.Acknowledge | actions.Keep | actions.Dismiss | actions.Drop

_STEPS: list[tuple[Callable[[World], None], float]] = [
    (World.join, 4),
    (World.speak, 20),
    (World.cancel, 4),
    (World.garbage, 2),
    (World.oversize, 0.5),
    (World.answer_question, 3),
    (World.end_input, 1),
    (World.leave, 1.5),
    (World.start, 8),
    (World.answer, 16),
    (World.progress, 4),
    (World.notify, 4),
    (World.announce, 4),
    (World.ask, 4),
    (World.nonsense, 1),
    (World.crash, 2),
    (World.tick, 3),
    (World.restart, 0.7),
    (World.next_backend, 0.7),
]
