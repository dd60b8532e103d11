"""The fixed work that `bench.instructions` counts: what one message costs in each part of its way, and no system call.

Run as a program, under callgrind: a call of `getppid` stands before and after each measured stretch.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from mux.core import actions, events
from mux.core.pool import Pool
from mux.shim.journal import Journal
from mux.shim.splitter import Splitter
from mux.wire import frames

SESSIONS = 16
EACH = 20
"""Requests that a session has open at once; all of them together stay below every limit."""

LISTENERS = 8
BATCH = 64
MESSAGES = SESSIONS * EACH
WARM_UPS = 2
"""Python specialises its byte-code in the first runs."""

NOW = 1000.0
TEXT = "x" * 80
SPEC = events.LaunchSpec((b"server",), b"/bin/server", b"/", (), 0o022, ())


class Stretch(NamedTuple):
    """What is measured: `run` handles `messages` of them."""

    name: str
    messages: int
    run: Callable[[], object]


def _line(**message: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode()


def _call(id_: int, *, token: bool = False) -> bytes:
    params = {"name": "echo", "arguments": {"text": TEXT}, **({"_meta": {"progressToken": id_}} if token else {})}
    return _line(id=id_, method="tools/call", params=params)


class Stage:
    """A pool with `sessions` of one legacy server that is ready."""

    def __init__(self, sessions: int) -> None:
        self.pool = Pool(grace=30.0, entropy=lambda limit: limit // 2)
        self.pool.start(NOW)
        self._seq = 0
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
        for session in range(1, sessions + 1):
            self.give(events.SessionOpened(session, b"key", SPEC, grace=30.0))
            done = self.give(self.said(session, _line(id=0, method="initialize", params=hello)))
            if any(isinstance(action, actions.Launch) for action in done):
                done = self.give(events.ProcessStarted(1, 4711))
            for line in self._forwarded(done):
                answer = _line(id=json.loads(line)["id"], result={"capabilities": {"tools": {"listChanged": True}}})
                self.give(events.ProcessLine(1, answer))
            self.give(self.said(session, _line(method="notifications/initialized")))

    def give(self, event: events.Event) -> list[actions.Action]:
        """One event; what the pool wants done."""
        return self.pool.handle(event, NOW)

    def said(self, session: int, line: bytes) -> events.SessionLine:
        """`line` as the next LINE of all sessions."""
        self._seq += 1
        return events.SessionLine(session, self._seq, line)

    def ask(self, lines: list[tuple[int, bytes]]) -> list[int]:
        """Requests, as (session, line); the ids that the server knows them by."""
        done = [action for session, line in lines for action in self.give(self.said(session, line))]
        sent = [json.loads(line)["id"] for line in self._forwarded(done)]
        assert len(sent) == len(lines), "every request went up at once"
        return sent

    @staticmethod
    def _forwarded(done: list[actions.Action]) -> list[bytes]:
        return [action.data for action in done if isinstance(action, actions.Forward)]


def _requests(*, token: bool = False) -> list[tuple[int, bytes]]:
    return [(session, _call(id_, token=token)) for id_ in range(EACH) for session in range(1, SESSIONS + 1)]


def _answers(ids: list[int]) -> list[bytes]:
    return [_line(id=id_, result={"content": [{"type": "text", "text": TEXT}]}) for id_ in ids]


def core() -> Iterator[Stretch]:
    """The core: an event in, actions out."""
    handle_line = events.SessionLine
    stage = Stage(SESSIONS)
    lines = _requests()

    def up() -> None:
        handle = stage.pool.handle
        for seq, (session, line) in enumerate(lines, 1_000_000):
            handle(handle_line(session, seq, line), NOW)

    yield Stretch("core: request of a host", MESSAGES, up)
    for name, token in (("core: answer of a server", False), ("core: answer, with a progress token", True)):
        stage = Stage(SESSIONS)
        ids = stage.ask(_requests(token=token))
        if token:
            notes = [
                _line(method="notifications/progress", params={"progressToken": id_, "progress": 1}) for id_ in ids
            ]
            yield Stretch("core: progress of a server", MESSAGES, _said_by_server(stage.pool, notes))
        yield Stretch(name, MESSAGES, _said_by_server(stage.pool, _answers(ids)))
    stage = Stage(LISTENERS)
    changed = [_line(method="notifications/tools/list_changed")] * MESSAGES
    yield Stretch(f"core: notification to {LISTENERS} sessions", MESSAGES, _said_by_server(stage.pool, changed))


def _said_by_server(pool: Pool, lines: list[bytes]) -> Callable[[], None]:
    def run() -> None:
        handle, event = pool.handle, events.ProcessLine
        for line in lines:
            handle(event(1, line), NOW)

    return run


def wire() -> Iterator[Stretch]:
    """Frames."""
    lines = [line for _, line in _requests()]
    made = [frames.frame(frames.LINE, line, seq=seq) for seq, line in enumerate(lines, 1)]
    batches = [b"".join(made[at : at + BATCH]) for at in range(0, MESSAGES, BATCH)]

    def encode() -> None:
        for seq, line in enumerate(lines, 1):
            frames.frame(frames.LINE, line, seq=seq)

    yield Stretch("wire: frame encoded", MESSAGES, encode)
    yield Stretch("wire: frame decoded, alone", MESSAGES, _each(frames.FrameReader().feed, made))
    yield Stretch(f"wire: frame decoded, one of {BATCH}", MESSAGES, _each(frames.FrameReader().feed, batches))


def shim() -> Iterator[Stretch]:
    """A line from the host's bytes to its LINE frame in the journal, and to its end there."""
    lines = [line + b"\n" for _, line in _requests()]
    batches = [b"".join(lines[at : at + BATCH]) for at in range(0, MESSAGES, BATCH)]
    for name, chunks in (("alone", lines), (f"one of {BATCH}", batches)):
        splitter, journal = Splitter(), Journal()

        def accept(splitter: Splitter = splitter, journal: Journal = journal, chunks: list[bytes] = chunks) -> None:
            for chunk in chunks:
                whole, oversize = splitter.feed(chunk)
                journal.accept(whole, oversize=oversize)

        yield Stretch(f"shim: line split and journaled, {name}", MESSAGES, accept)
    journal = Journal()
    journal.accept([line for _, line in _requests()])
    yield Stretch("shim: line settled", MESSAGES, _each(journal.settle, range(1, MESSAGES + 1)))


def _each(function: Callable[[Any], object], values: Iterable[Any]) -> Callable[[], None]:
    def run() -> None:
        for value in values:
            function(value)

    return run


def stretches() -> Iterator[Stretch]:
    """All of them; each is to be run before the next is asked for."""
    yield from core()
    yield from wire()
    yield from shim()


def main() -> None:
    """Run all, warm; print name and number of messages of each, in the order in which they run."""
    for _ in range(WARM_UPS):
        for stretch in stretches():
            stretch.run()
    for stretch in stretches():
        print(f"{stretch.messages} {stretch.name}")
        gc.collect()
        os.getppid()
        stretch.run()
        os.getppid()


if __name__ == "__main__":
    main()
