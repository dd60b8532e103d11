"""Tests of the core as a dialogue: an event goes in, exactly these actions come out.

    play(host(A, 3, ask(7, "tools/list")), up(ask(U + 1, "tools/list")))
    play(server(result(U + 1, '{"tools":[]}')), to(A, 3, result(7, '{"tools":[]}')))

Ids and payloads are given as the JSON that stands in the line. The first upstream is process 1; its ids start at U, and
the one of its handshake is U itself. Random numbers are drawn in steps of DRAW, three for each upstream.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from mux.core.actions import Acknowledge, Action, Deliver, Dismiss, Exit, Forward, Keep, Launch, Log, Stop, Welcome
from mux.core.envelope import error_line
from mux.core.events import (
    Event,
    LaunchSpec,
    ProcessExited,
    ProcessFailed,
    ProcessLine,
    ProcessStarted,
    SessionClosed,
    SessionEof,
    SessionLine,
    SessionOpened,
    SessionReady,
    SessionReplay,
    Tick,
)
from mux.core.pool import Pool
from mux.core.router import Router
from mux.limits import ANSWER_DIGEST_BYTES, UPSTREAM_ID_FLOOR

A, B, C = 1, 2, 3
U = UPSTREAM_ID_FLOOR
DRAW = 10_000
Q = U + DRAW
"""The id of the first question that the first upstream's sessions are asked."""
U2 = U + 3 * DRAW
"""The first id of the first upstream's second generation, or of the second upstream."""

KEY = b"k" * 16
OTHER_KEY = b"o" * 16
SPEC = LaunchSpec(argv=(b"server",), executable=b"/bin/server", cwd=b"/", environment=(), umask=0o022, limits=())
GRACE = 30.0

VERSION = "io.modelcontextprotocol/protocolVersion"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
RELATED = "io.modelcontextprotocol/related-task"
LOG_LEVEL = "io.modelcontextprotocol/logLevel"


# --- messages ---------------------------------------------------------------------------------


def ask(id_: int | str, method: str, params: str = "") -> bytes:
    tail = f',"params":{params}' if params else ""
    return f'{{"jsonrpc":"2.0","id":{id_},"method":"{method}"{tail}}}'.encode()


def note(method: str, params: str = "") -> bytes:
    tail = f',"params":{params}' if params else ""
    return f'{{"jsonrpc":"2.0","method":"{method}"{tail}}}'.encode()


def result(id_: int | str, value: str = "{}") -> bytes:
    return f'{{"jsonrpc":"2.0","id":{id_},"result":{value}}}'.encode()


def error(id_: int | str, code: int, message: str) -> bytes:
    return error_line(str(id_).encode(), code, message)[:-1]


def call(id_: int | str, arguments: str = "{}", token: int | str | None = None) -> bytes:
    meta = "" if token is None else f',"_meta":{{"progressToken":{token}}}'
    return ask(id_, "tools/call", f'{{"name":"t","arguments":{arguments}{meta}}}')


def initialize(id_: int | str = 0, capabilities: str = "{}", client: str = "host", token: str = "") -> bytes:
    meta = f',"_meta":{{"progressToken":{token}}}' if token else ""
    info = f'{{"name":"{client}","version":"1"}}'
    params = f'{{"protocolVersion":"2025-11-25","capabilities":{capabilities},"clientInfo":{info}{meta}}}'
    return ask(id_, "initialize", params)


def modern(id_: int | str, method: str, rest: str = "", meta: str = "") -> bytes:
    """A request of the modern era. rest: further members of params; meta: further members of its _meta."""
    envelope = f'"_meta":{{"{VERSION}":"2026-07-28"{meta}}}'
    return ask(id_, method, f"{{{envelope}{rest}}}")


def cancel(id_: int | str) -> bytes:
    return note("notifications/cancelled", f'{{"requestId":{id_}}}')


def gone(id_: int | str) -> bytes:
    """The cancel that a leaving session's request gets."""
    return note("notifications/cancelled", f'{{"requestId":{id_},"reason":"client gone"}}')


def progress(token: int | str, value: int = 1) -> bytes:
    return note("notifications/progress", f'{{"progressToken":{token},"progress":{value}}}')


SERVER = '{"protocolVersion":"2025-11-25","capabilities":{"tasks":{}},"serverInfo":{"name":"s","version":"1"}}'
INITIALIZED = note("notifications/initialized")


# --- events -----------------------------------------------------------------------------------


def opened(session: int, *, key: bytes = KEY, resumed: bool = False, grace: float = GRACE, **more: Any) -> Event:
    return SessionOpened(session, key, SPEC, grace, resumed=resumed, **more)


def host(session: int, seq: int, line: bytes, *, oversize: bool = False) -> Event:
    return SessionLine(session, seq, line, oversize)


def replay(
    session: int, seq: int, line: bytes, *, answered: bool = False, repeated: bool = False, blob: bytes = b""
) -> Event:
    return SessionReplay(session, seq, line, answered, repeated, blob)


def closed(session: int) -> Event:
    return SessionClosed(session)


def eof(session: int) -> Event:
    return SessionEof(session)


def replayed(session: int) -> Event:
    return SessionReady(session)


def server(line: bytes, process: int = 1, *, oversize: bool = False) -> Event:
    return ProcessLine(process, line, oversize)


def started(process: int = 1) -> Event:
    return ProcessStarted(process, 1000 + process)


def exited(process: int = 1, status: int = 1, stderr: str = "boom") -> Event:
    return ProcessExited(process, status, stderr)


def unstartable(process: int = 1, reason: str = "no such file") -> Event:
    return ProcessFailed(process, reason)


# --- actions ----------------------------------------------------------------------------------


def to(session: int, seq: int, line: bytes) -> Action:
    """A line for a host; seq 0 for one that answers nothing."""
    return Deliver(session, seq, line + b"\n")


def up(line: bytes, process: int = 1) -> Action:
    return Forward(process, line + b"\n")


def ack(session: int, seq: int) -> Action:
    return Acknowledge(session, seq)


def keep(session: int, seq: int, blob: bytes = b"") -> Action:
    return Keep(session, seq, blob)


def knows(session: int, seq: int = 1, answer: bytes | None = None) -> Action:
    """The KEEP of an `initialize` that was answered, by SERVER if nothing else is said."""
    told = (result("", SERVER) if answer is None else answer) + b"\n"
    return Keep(session, seq, blake2b(told, digest_size=ANSWER_DIGEST_BYTES).digest())


def launch(process: int = 1, generation: int = 1, upstream: int = 1) -> Action:
    return Launch(process, upstream, generation, SPEC)


def stop(process: int = 1) -> Action:
    return Stop(process)


def welcome(session: int) -> Action:
    return Welcome(session)


def dismiss(session: int) -> Action:
    return Dismiss(session)


EXIT = Exit()


class Failed:
    """Equal to the answer of ours with that code, whose sentence holds those words."""

    def __init__(self, session: int, seq: int, id_: int | str, code: int, words: str = "") -> None:
        self.session = session
        self.seq = seq
        self.start = b'{"jsonrpc":"2.0","id":%b,"error":{"code":%d,' % (str(id_).encode(), code)
        self.words = words

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Deliver)
            and (other.session, other.seq) == (self.session, self.seq)
            and other.data.startswith(self.start)
            and self.words in other.data.decode()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Failed({self.session}, {self.seq}, {self.start!r}, {self.words!r})"


class Refused:
    """Equal to the error of ours that a server gets for its question."""

    def __init__(self, id_: int | str, code: int, words: str = "", process: int = 1) -> None:
        self.process = process
        self.start = b'{"jsonrpc":"2.0","id":%b,"error":{"code":%d,' % (str(id_).encode(), code)
        self.words = words

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Forward)
            and other.process == self.process
            and other.data.startswith(self.start)
            and self.words in other.data.decode()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Refused({self.process}, {self.start!r}, {self.words!r})"


Expected = Action | Failed | Refused


class Play:
    """A pool, its clock, and nothing else. Log actions are left out unless `logs`."""

    def __init__(self, *, grace: float = GRACE, entropy: Callable[[int], int] | None = None) -> None:
        self.draws = -1
        self.now = 0.0
        self.logs = False
        self.pool = Pool(grace=grace, entropy=entropy or self._draw)
        self.pool.start(self.now)

    def _draw(self, ceiling: int) -> int:
        self.draws += 1
        return self.draws * DRAW % ceiling

    def run(self, event: Event) -> list[Action]:
        return [action for action in self.pool.handle(event, self.now) if self.logs or not isinstance(action, Log)]

    def __call__(self, event: Event, *expected: Expected) -> None:
        got = self.run(event)
        assert got == list(expected), f"\n{event}\ngave\n{_listed(got)}\nnot\n{_listed(expected)}"

    def wait(self, seconds: float, *expected: Expected) -> None:
        """Let time pass, with a Tick at each deadline as the shell gives them."""
        until = self.now + seconds
        got: list[Action] = []
        while (due := self.pool.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            got += self.run(Tick())
        self.now = until
        assert got == list(expected), f"\n{seconds} s\ngave\n{_listed(got)}\nnot\n{_listed(expected)}"

    # what many tests begin with

    def join(self, session: int, first: bytes | None = None, *, key: bytes = KEY) -> None:
        """Another session with an upstream that is there: its handshake costs the server nothing."""
        self(opened(session, key=key), welcome(session))
        got = self.run(host(session, 1, first or initialize()))
        assert [type(action) for action in got] == [Keep, Deliver], _listed(got)
        self(host(session, 2, INITIALIZED), keep(session, 2))

    @property
    def router(self) -> Router:
        """The only upstream."""
        (router,) = self.pool.routers.values()
        return router


def _listed(actions: Any) -> str:
    return "\n".join(f"  {action}" for action in actions) or "  nothing"


def legacy(*sessions: int, capabilities: str = "{}", answer: str = SERVER) -> Play:
    """Sessions that share one legacy server, initialised; the next line of each is its third."""
    play = Play()
    first, *others = sessions
    play(opened(first), welcome(first))
    play(host(first, 1, initialize(0, capabilities)), launch())
    play(started(), up(initialize(U, capabilities)))
    play(server(result(U, answer)), knows(first, answer=result("", answer)), to(first, 1, result(0, answer)))
    play(host(first, 2, INITIALIZED), keep(first, 2), up(INITIALIZED))
    for session in others:
        play.join(session, initialize(0, capabilities))
    return play


def discovered(*sessions: int) -> Play:
    """Sessions of one modern server, pinned by a request: the next line of each is its third, n + 1 ids are used."""
    play = Play()
    first, *others = sessions
    play(opened(first), welcome(first))
    play(host(first, 1, ask(0, "server/discover")), launch())
    play(started(), up(ask(U, "server/discover")))
    play(server(result(U)), to(first, 1, result(0)))
    for session in others:
        play(opened(session), welcome(session))
        play(host(session, 1, note("notifications/nothing")), ack(session, 1))
    for number, session in enumerate(sessions, 1):
        play(host(session, 2, modern(0, "tools/list")), up(modern(U + number, "tools/list")))
        play(server(result(U + number)), to(session, 2, result(0)))
    return play


def crash(play: Play, process: int = 1) -> list[Action]:
    """The server dies while in use; what the sessions hear."""
    return [action for action in play.run(exited(process)) if not isinstance(action, Launch)]


def sent(actions: list[Action]) -> list[int]:
    """The ids of the requests that went up."""
    found = [re.match(rb'\{"jsonrpc":"2.0","id":(\d+),"method"', a.data) for a in actions if isinstance(a, Forward)]
    return [int(match[1]) for match in found if match]
