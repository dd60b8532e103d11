"""A State on a screen: what runs, for whom, what it costs and what it saves. Only text in, only text out."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mux import __version__
from mux.backend.state import Backend, Memory, Other, Session, State, Upstream
from mux.cli import text
from mux.config.names import label
from mux.limits import IDLE_SECONDS

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_STATES = {"ready": "green", "failed": "red", "backoff": "red"}
_BOUNDS = {
    "session": "not shared",
    "directory": "shared in one directory",
    "project": "shared in one repository",
    "user": "shared by all sessions of the user",
}


class Cell(NamedTuple):
    """Text in a column, and how it is shown."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class View:
    """Where it is shown. width: columns, None for as many as it takes. home: shown as ~."""

    width: int | None = None
    colour: bool = False
    home: str = ""

    def paint(self, words: str, style: str) -> str:
        """`words` in a style, where there is colour."""
        return f"\x1b[{_CODES[style]}m{words}\x1b[0m" if self.colour and style else words

    def line(self, words: str, style: str = "", *, indent: int = 0) -> str:
        """One line, cut to the width."""
        return " " * indent + self.paint(self._cut(words, indent), style)

    def path(self, path: str) -> str:
        """A path for a person."""
        short = "~" + path[len(self.home) :] if self.home and (path + "/").startswith(self.home + "/") else path
        return text.printable(short)

    def table(self, rows: Sequence[Sequence[Cell]], *, right: Collection[int] = ()) -> list[str]:
        """Columns as wide as their widest cell; the first row is the head. What does not fit is cut at the end."""
        widths = [max(len(row[column].text) for row in rows) for column in range(len(rows[0]))]
        lines: list[str] = []
        for row in rows:
            parts: list[str] = []
            at = 0
            for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
                if self.width is not None and at >= self.width:
                    break
                word = cell.text.rjust(width) if column in right else cell.text.ljust(width)
                if column == len(widths) - 1:
                    word = word.rstrip()
                parts.append(self.paint(self._cut(word, at), cell.style))
                at += width + 2
            lines.append("  ".join(parts).rstrip())
        return lines

    def _cut(self, words: str, at: int) -> str:
        if self.width is None or at + len(words) <= self.width:
            return words
        return words[: max(0, self.width - at - 1)] + "…" if at < self.width else ""


def lines(state: State, view: View) -> list[str]:
    """The whole screen."""
    assert state.backend is not None
    found = _backend(state.backend, state, view)
    found += ["", *_upstreams(state.upstreams, view)] if state.upstreams else ["", "No servers run."]
    if state.sessions:
        found += ["", *_sessions(state.sessions, view)]
    elif state.upstreams:
        found += ["", "No sessions: the servers stop when the grace is over."]
    notes = [*_saving(state), *_idle(state.upstreams), *_version(state.backend), *others(state.others)]
    return [*found, *([""] if notes else []), *(view.line(note, style) for note, style in notes)]


def _backend(backend: Backend, state: State, view: View) -> list[str]:
    facts = (
        f"mux {text.printable(backend.version)}",
        f"pid {backend.pid}",
        f"up {text.duration(backend.uptime_seconds)}",
        private(backend.memory),
        f"{text.plural(len(state.sessions), 'session')}, {text.plural(len(state.upstreams), 'server')}",
        *(["leaving: it takes no new sessions"] if backend.draining else []),
    )
    found = [view.line("   ".join(facts), "bold"), view.line(f"socket  {view.path(backend.socket)}", "dim")]
    if backend.log:
        found.append(view.line(f"log     {view.path(backend.log)}", "dim"))
    return found


def _head(*names: str) -> list[Cell]:
    return [Cell(name, "bold") for name in names]


def _upstreams(upstreams: Sequence[Upstream], view: View) -> list[str]:
    rows = [_head("#", "SERVER", "STATE", "SESSIONS", "IN FLIGHT", "WAITING", "MEMORY", "UP", "RESTARTS", "PID")]
    for upstream in upstreams:
        restarts = max(0, upstream.generation - 1)
        counts = (upstream.sessions, upstream.in_flight, upstream.waiting)
        rows.append(
            [
                Cell(str(upstream.id)),
                Cell(text.printable(label(upstream.command) or "-"), "bold"),
                Cell(text.printable(upstream.state), _STATES.get(upstream.state, "yellow")),
                *(Cell(str(count), "" if count else "dim") for count in counts),
                Cell(private(upstream.memory)),
                Cell(text.duration(upstream.uptime_seconds)),
                Cell(str(restarts), "yellow" if restarts else "dim"),
                Cell(str(upstream.pid or "-")),
            ]
        )
    head, *table = view.table(rows, right=(0, 3, 4, 5, 6, 7, 8, 9))
    indent = max(len(str(upstream.id)) for upstream in upstreams) + 2
    found = [head]
    for row, upstream in zip(table, upstreams, strict=True):
        found.append(row)
        found += [view.line(words, style, indent=indent) for words, style in _details(upstream, view)]
    return found


def _details(upstream: Upstream, view: View) -> list[tuple[str, str]]:
    """What stands below a server's row."""
    facts = [view.path(upstream.cwd), _scope(upstream)]
    if upstream.clients == "any":
        facts.append("one for clients of every kind")
    if upstream.era_only:
        facts.append(f"{upstream.era_only} sessions only")
    if upstream.idle_seconds is not None:
        facts.append(f"idle for {text.duration(upstream.idle_seconds)}")
    if upstream.idle_timeout_seconds:
        facts.append(f"stops after {text.duration(upstream.idle_timeout_seconds)} of idleness")
    found = [(text.command(upstream.command), "dim"), (" · ".join(facts), "dim")]
    if upstream.apart:
        found.append((f"no other session joins it: {text.printable(upstream.apart)}", ""))
    if upstream.turns:
        found.append(("it asks its clients questions, so calls of different sessions take turns", ""))
    if upstream.dropped:
        count = text.plural(upstream.dropped, "message")
        found.append((f"{count} of it belonged to no session, and went to nobody", ""))
    if upstream.last_error:
        style = "dim" if upstream.state == "ready" else "red"
        found.append((f"last failure: {failure(upstream)}", style))
    return found


def failure(upstream: Upstream) -> str:
    """Why a server failed last, on one line."""
    return text.printable(" | ".join(upstream.last_error.splitlines()))


def _scope(upstream: Upstream) -> str:
    bounds = _BOUNDS.get(upstream.scope or "", upstream.scope or "-")
    return text.printable(f"{bounds}, {upstream.scope_reason}" if upstream.scope_reason else bounds)


def _sessions(sessions: Sequence[Session], view: View) -> list[str]:
    rows = [_head("#", "HOST", "PID", "SERVER", "IN FLIGHT", "WAITING", "SINCE", "SHIM", "DIRECTORY")]
    for session in sessions:
        host = text.printable(f"{session.host} {session.version}".strip()) or "-"
        counts = (session.in_flight, session.waiting)
        shim = f"{private(session.memory)}{', asleep' if session.parked else ''}"
        rows.append(
            [
                Cell(str(session.id)),
                Cell(host if len(host) <= _HOST_CHARACTERS else host[: _HOST_CHARACTERS - 1] + "…"),
                Cell(str(session.pid or "-")),
                Cell(str(session.upstream or "-")),
                *(Cell(str(count), "" if count else "dim") for count in counts),
                Cell(text.duration(session.since_seconds)),
                Cell(shim, "dim"),
                Cell(view.path(session.cwd), "dim"),
            ]
        )
    return view.table(rows, right=(0, 2, 3, 4, 5, 6))


_HOST_CHARACTERS = 32
"""A host may call itself what it likes."""


def _saving(state: State) -> list[tuple[str, str]]:
    saving = state.saving
    if not state.sessions:
        return []
    shims = text.plural(len(state.sessions), "shim")
    ours = f"backend and {shims} take {text.megabytes(saving.own_bytes)}"
    if not saving.copies:
        return [(f"No server is used by two sessions; {ours}.", "")]
    verb, style = ("saves", "green") if saving.saved_bytes >= 0 else ("costs", "yellow")
    more = f"{text.plural(saving.copies, 'more server')} would take {text.megabytes(saving.copies_bytes)}"
    return [(f"Sharing {verb} {text.megabytes(abs(saving.saved_bytes))} now: {more}, {ours}.", style)]


def _idle(upstreams: Sequence[Upstream]) -> list[tuple[str, str]]:
    """What an idle time-out would free where none is set."""
    idle = [
        upstream
        for upstream in upstreams
        if upstream.memory is not None
        and not upstream.idle_timeout_seconds
        and (upstream.idle_seconds or 0) >= IDLE_SECONDS
    ]
    if not idle:
        return []
    freed = text.megabytes(sum(upstream.memory.private for upstream in idle if upstream.memory is not None))
    which = ", ".join(str(upstream.id) for upstream in idle)
    servers = f"server {which} has" if len(idle) == 1 else f"servers {which} have"
    option = f"--idle-timeout {text.duration(IDLE_SECONDS).removesuffix('00s')}"
    return [
        (f"{option} would free {freed}: {servers} been idle for longer.", ""),
        ("  Not for a server that keeps its knowledge in memory only: it would forget.", "dim"),
    ]


def _version(backend: Backend) -> list[tuple[str, str]]:
    if backend.version in ("", __version__):
        return []
    other = text.printable(backend.version)
    return [(f"This is mux {__version__}, the backend mux {other}: `mux restart` brings it up to date.", "yellow")]


def others(found: Sequence[Other]) -> list[tuple[str, str]]:
    """A line for each of the user's other backends, with its style."""
    return [(f"Also running: {_other(other)}", "") for other in found]


def _other(other: Other) -> str:
    path = text.printable(other.socket)
    if other.error:
        return f"{path} ({text.printable(other.error)})"
    served = f"{text.plural(other.sessions, 'session')}, {text.plural(other.upstreams, 'server')}"
    return f"pid {other.pid}, {served}: `mux status --socket {path}`"


def private(memory: Memory | None) -> str:
    """What an exit would free."""
    return text.megabytes(None if memory is None else memory.private)


def terminal(*, width: int | None, colour: bool) -> View:
    """The View of this process's terminal."""
    wanted = colour and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return View(width, wanted, os.path.expanduser("~"))
