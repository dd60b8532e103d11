"""`mux explain`: who shares a server with whom, what keeps others apart, and what would join them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from mux.cli import control, text
from mux.errors import MuxError, UsageError
from mux.rendezvous.paths import places

Json = dict[str, Any]

_ADVICE = {
    "argv": "only equal command lines share",
    "clients": "one is shared with --clients any, the other is not: give both the same",
    "cwd": "another directory: --scope project shares within a repository, --scope user everywhere",
    "era": "one is kept to one protocol (--era, or --clients any), the other is not: give both the same",
    "executable": "PATH leads to two different programs",
    "initialize": "the hosts say different things of themselves: --clients any shares one server between all of them",
    "limit": "started with another resource limit",
    "protocol": "one host speaks the stateless protocol, the other the one that begins with initialize",
    "scope": "shared within different bounds: give both the same --scope",
    "session": "a server of its own",
    "umask": "started with another umask",
}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux explain`'s part of the command line."""
    parser = commands.add_parser(
        "explain",
        help="say why two sessions share a server, or why they do not",
        description="Say who shares a server with whom, and for two sessions which part keeps them apart: names of "
        "environment variables, never their values. Without a number: every server. `mux status` shows the numbers.",
        allow_abbrev=False,
    )
    control.add_socket_option(parser)
    parser.add_argument("--servers", action="store_true", help="A and B are numbers of servers, not of sessions")
    parser.add_argument("--json", action="store_true", help="print JSON: a list of explanations")
    parser.add_argument("numbers", metavar="A", nargs="*", type=int, help="a session, or two")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask and print. Raises MuxError if there is no backend, or no such session."""
    candidates = places(options.socket)
    if len(options.numbers) > 2:
        raise UsageError("explain one session, or two: `mux explain 1 2`")
    if options.numbers:
        asked = [(options.numbers, options.servers)]
    else:
        state = control.ask(candidates, "status") or {}
        asked = [([upstream["id"]], True) for upstream in state.get("upstreams", [])]
    found: list[Json] = []
    for numbers, servers in asked:
        names = dict(zip(("first", "second"), numbers, strict=False))
        answer = control.ask(candidates, "explain", upstreams=servers, **names)
        if answer is None:
            raise MuxError(f"no backend is running at {candidates[0].socket}. One starts with the first session")
        found.append(answer)
    if options.json:
        print(json.dumps(found, indent=2))
    elif not found:
        print("No servers run.")
    else:
        print("\n\n".join(screen(answer, pair=len(options.numbers) == 2) for answer in found))
    return 0


def screen(answer: Json, *, pair: bool = False) -> str:
    """One explanation for a person."""
    of, others = answer["of"], answer["differs"]
    lines = [_server(of), f"  shared within: {of['sharing']['scope']}, {text.printable(of['sharing']['reason'])}"]
    if of["sharing"]["clients"] == "any":
        lines.append("  for clients of every kind (--clients any)")
    if of["apart"]:
        lines.append(f"  no other session joins it: {of['apart']}")
    if of["sharing"]["hint"]:
        lines.append(f"  {text.printable(of['sharing']['hint'])}")
    if pair and not others:
        lines.append("Both share this server.")
    elif not others:
        lines.append("No other server runs the same program.")
    for entry in others:
        other = entry["other"]
        lines += ["", f"{_server(other)}", f"  {'does not share with it' if pair else 'is another one'}, it differs in"]
        lines.append(text.table([(part, _advice(part)) for part in map(text.printable, entry["parts"])], indent="  "))
        if other["apart"]:
            lines.append(f"  no other session joins it: {other['apart']}")
    return "\n".join(lines)


def _server(upstream: Json) -> str:
    return (
        f"server {upstream['upstream']} of {_sessions(upstream['sessions'])}: "
        f"{text.printable(upstream['command'])}  in {text.printable(upstream['cwd'])}"
    )


def _sessions(numbers: Sequence[int]) -> str:
    if not numbers:
        return "no session"
    return f"session{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _advice(part: str) -> str:
    kind, _, name = part.partition(" ")
    if kind == "environment":
        return f'if the server need not know it: [env] ignore = ["{name}"]'
    return _ADVICE.get(kind, "")
