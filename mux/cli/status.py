"""`mux status`: what is shared now, by whom, and what it costs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from mux.cli import control, text
from mux.rendezvous.paths import places

Json = dict[str, Any]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux status`'s part of the command line."""
    parser = commands.add_parser(
        "status",
        help="show the backend, its servers and their sessions",
        description="Show the backend, the servers that it runs, and the sessions that share them. "
        "It never starts a backend. Exit code 0, also when none runs.",
        allow_abbrev=False,
    )
    control.add_socket_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON; without a backend, `backend` is null")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask and print. Raises MuxError if a backend is there and does not answer."""
    candidates = places(options.socket)
    state = control.ask(candidates, "status")
    if options.json:
        print(json.dumps(state or {"backend": None, "upstreams": [], "sessions": []}, indent=2))
    elif state is None:
        print(f"No backend is running at {candidates[0].socket}. One starts with the first session.")
    else:
        print(screen(state))
    return 0


def screen(state: Json) -> str:
    """The state for a person. A field that the backend does not send is shown as a dash."""
    upstreams, sessions = _list(state, "upstreams"), _list(state, "sessions")
    parts = [_backend(_dict(state, "backend"))]
    if upstreams:
        parts.append(_upstreams(upstreams))
        if remarks := [remark for upstream in upstreams for remark in _remarks(upstream)]:
            parts.append("\n".join(remarks))
        parts.append(_sessions(sessions) if sessions else "No sessions: the servers stop when the grace is over.")
    else:
        parts.append("No servers run." if not sessions else _sessions(sessions))
    return "\n\n".join(parts)


def _backend(backend: Json) -> str:
    rows = [
        ("backend", f"mux {_text(backend, 'version')}, pid {_text(backend, 'pid')}"),
        ("uptime", text.duration(backend.get("uptime_seconds"))),
        ("memory", _memory(backend)),
        ("socket", _text(backend, "socket")),
    ]
    return text.table(rows)


def _upstreams(upstreams: Sequence[Json]) -> str:
    rows = [("server", "state", "pid", "sessions", "in flight", "memory", "uptime", "starts", "command")]
    rows += [
        (
            _text(upstream, "id"),
            _text(upstream, "state"),
            _text(upstream, "pid"),
            _text(upstream, "sessions"),
            _text(upstream, "in_flight"),
            _memory(upstream),
            text.duration(upstream.get("uptime_seconds")),
            _text(upstream, "generation"),
            f"{_command(upstream)}  in {_text(upstream, 'cwd')}",
        )
        for upstream in upstreams
    ]
    return text.table(rows, right=range(2, 8))


def _remarks(upstream: Json) -> list[str]:
    """How widely it is shared where that is not the default, and what is to know about it."""
    said: list[str] = []
    scope = upstream.get("scope")
    if scope == "session":
        said.append(f"not shared: {_text(upstream, 'scope_reason')}")
    elif scope not in (None, "directory"):
        said.append(f"shared within {_text(upstream, 'scope')}: {_text(upstream, 'scope_reason')}")
    if upstream.get("clients") == "any":
        said.append("for clients of every kind")
    if upstream.get("apart"):
        said.append(f"no other session joins it: {_text(upstream, 'apart')}")
    if upstream.get("hint"):
        said.append(_text(upstream, "hint"))
    return [f"server {_text(upstream, 'id')}: {remark}" for remark in said]


def _sessions(sessions: Sequence[Json]) -> str:
    rows = [("session", "server", "host", "pid", "in flight", "since", "directory")]
    rows += [
        (
            _text(session, "id"),
            _text(session, "upstream"),
            " ".join(word for word in (_text(session, "host"), _text(session, "version")) if word != "-") or "-",
            _text(session, "pid"),
            _text(session, "in_flight"),
            text.duration(session.get("since_seconds")),
            _text(session, "cwd"),
        )
        for session in sessions
    ]
    return text.table(rows, right=(3, 4, 5))


def _memory(thing: Json) -> str:
    """Private memory, what an exit would free; RSS where only that is known."""
    memory = _dict(thing, "memory")
    private = memory.get("private")
    return text.megabytes(memory.get("rss") if private is None else private)


def _command(upstream: Json) -> str:
    argv = upstream.get("command")
    return text.command(argv) if isinstance(argv, list) else text.printable(str(argv or "-"))


def _text(thing: Json, name: str) -> str:
    value = thing.get(name)
    return "-" if value is None or value == "" else text.printable(str(value))


def _dict(thing: Json, name: str) -> Json:
    value = thing.get(name)
    return value if isinstance(value, dict) else {}


def _list(thing: Json, name: str) -> list[Json]:
    value = thing.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
