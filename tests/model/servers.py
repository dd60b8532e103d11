"""What servers do, at random: answer, ask, tell, die."""

from __future__ import annotations

import json
from typing import Any

from mux import limits
from mux.core import events
from mux.core.methods import MAY_ASK
from tests.model.base import GARBAGE, SUBSCRIPTION, URIS, Base, Server


class ServerSide(Base):
    """What servers do, at random: answer, ask, tell, die."""

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
        at_work = [mark for mark, _, _, since in server.asked.values() if self.now < since + limits.CANCELLED_SECONDS]
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
            if entry[1] in MAY_ASK and self.now < entry[3] + limits.CANCELLED_SECONDS
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
