"""What hosts do, at random, and the end of a backend under them."""

from __future__ import annotations

import json

from mux.core import events
from tests.model.base import CAPABILITIES, ENVELOPE, GARBAGE, IDS, KEYS, LEVELS, PLAIN, SPEC, URIS, Base, Host, Request


class HostSide(Base):
    """What hosts do, at random, and the end of a backend under them."""

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
