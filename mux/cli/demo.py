"""`mux demo`: many sessions of one server, first started directly, then through `mux-shim`, and what that costs.

It answers with measurements: nothing in its tables is assumed. Its backend has a socket of its own in a fresh
directory, so the user's backend is neither used nor disturbed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from mux.cli import interrupts, processes, text
from mux.cli.fleet import Call, Fleet, Times
from mux.cli.private import PrivateBackend
from mux.cli.processes import Weight
from mux.cli.text import Progress
from mux.errors import UsageError
from mux.limits import DEMO_SESSIONS

Json = dict[str, Any]

EMBEDDED = (sys.executable, "-m", "mux.cli.demo_server")
EMBEDDED_CALL: Call = ("echo", {"text": "hello"})


@dataclasses.dataclass(frozen=True)
class Half:
    """One way of running the sessions. `left`: what was found after the last of them had gone, as phrases."""

    times: Times
    weights: dict[str, Weight]
    left: list[str]

    @property
    def total(self) -> Weight:
        """All kinds of process together."""
        return sum(self.weights.values(), processes.NOTHING)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux demo`'s part of the command line."""
    parser = commands.add_parser(
        "demo",
        help="show with real processes what sharing a server saves",
        description="Start many sessions of a server directly, then through mux-shim, and compare.",
        epilog="Without COMMAND a small server that comes with this package is used. Example: "
        "mux demo --sessions 10 npx -y @modelcontextprotocol/server-everything",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--sessions", type=_count, default=DEMO_SESSIONS, metavar="N", help="sessions at once (default %(default)s)"
    )
    parser.add_argument(
        "--directories",
        type=_count,
        metavar="N",
        help="spread the sessions over N fresh directories: some hosts start a server per directory, "
        "and a server in another directory is not shared",
    )
    parser.add_argument(
        "--call",
        type=_call,
        metavar="TOOL[=JSON]",
        help="the tool to call, with its arguments (default: one marked read-only that needs none, else ping)",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND...", help="any stdio MCP server")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run both halves and print what came of them. Raises MuxError if a server or the multiplexer fails."""
    if sys.platform == "win32":
        raise UsageError("mux demo needs Unix sockets; on Windows mux-shim runs the server directly")
    argv, call = _server(options)
    interrupts.install()
    progress = Progress()
    with contextlib.closing(progress), _directories(options.directories) as directories:
        with Fleet("Directly", argv, directories, progress) as fleet:
            fleet.start(options.sessions)
            call = call or _harmless(fleet.tools)
            name = fleet.server
            direct = _direct(fleet, call)
        through = _through(options.sessions, argv, directories, call, progress)
    print(report(argv, name, call, options, direct, through))
    return 1 if through.left else 0


def _direct(fleet: Fleet, call: Call | None) -> Half:
    fleet.call(call)
    weights = {"servers": processes.weigh(fleet.trees())}
    return Half(fleet.times, weights, processes.phrases(fleet.end()))


def _through(
    count: int, argv: Sequence[str], directories: Sequence[str], call: Call | None, progress: Progress
) -> Half:
    with PrivateBackend() as backend:
        with Fleet("Through mux-shim", [*backend.shim, *argv], directories, progress) as fleet:
            fleet.start(count)
            fleet.call(call)
            main, servers = backend.processes()
            weights = {
                "servers": processes.weigh(servers),
                "shims": processes.weigh(fleet.trees()),
                "backend": processes.weigh([main]),
            }
            backend.check(count)
            left = processes.phrases(fleet.end())
        progress.step("Through mux-shim: waiting for the backend to leave")
        left += processes.phrases(backend.leave())
        left += backend.remains()
        return Half(fleet.times, weights, left)


def report(
    argv: Sequence[str], name: str, call: Call | None, options: argparse.Namespace, direct: Half, through: Half
) -> str:
    """The screen that `mux demo` ends with."""
    count = text.plural(options.sessions, "session")
    spread = f" in {text.plural(options.directories, 'directory', 'directories')}" if options.directories else ""
    parts = [
        f"{count}{spread} of {text.printable(name)}: {text.command(argv)}",
        _memory_table(direct, through),
        _time_table(direct, through, call),
        *_leftovers(direct, through),
    ]
    if argv == EMBEDDED:
        server, shim = direct.weights["servers"].each, through.weights["shims"].each
        parts.append(
            f"Each further session saves what a server weighs, here {text.megabytes(server)}, less a shim's "
            f"{text.megabytes(shim)}. The embedded server is tiny: try a real one, as in\n"
            "`mux demo npx -y @modelcontextprotocol/server-everything`."
        )
    before, after = direct.weights["servers"], through.weights["servers"]
    kind = "private" if direct.total.proportional is None else "proportional"
    parts.append(
        f"{count}: {text.plural(before.processes, 'server process', 'server processes')} and "
        f"{text.megabytes(direct.total.fair)} became {after.processes} and {text.megabytes(through.total.fair)} "
        f"({kind} memory, shims and backend included)."
    )
    return "\n\n".join(parts)


def _leftovers(direct: Half, through: Half) -> Iterator[str]:
    """Everything named here is killed by the demo before it ends."""
    if direct.left:
        yield "Left by the server itself when it was started directly: " + "; ".join(direct.left)
    yield "Left afterwards: " + ("; ".join(through.left) or "nothing (processes, socket and lock checked)")


def _memory_table(direct: Half, through: Half) -> str:
    rows: list[tuple[str, ...]] = [("", "processes", "RSS", "proportional", "private")]
    for title, half in (("directly", direct), ("through mux-shim", through)):
        rows.append((title, "", "", "", ""))
        lines = dict(half.weights)
        if len(lines) > 1:
            lines["total"] = half.total
        rows += [
            (
                f"  {kind}",
                str(weight.processes),
                text.megabytes(weight.rss),
                text.megabytes(weight.proportional),
                text.megabytes(weight.private),
            )
            for kind, weight in lines.items()
        ]
    return text.table(rows, right=range(1, 5))


def _time_table(direct: Half, through: Half, call: Call | None) -> str:
    what = f"call of {text.printable(call[0])}" if call else "ping"
    rows: list[tuple[str, ...]] = [("", "first session ready", "later sessions", f"{what}, there and back")]
    rows += [
        (title, *(text.milliseconds(value) for value in dataclasses.astuple(half.times)))
        for title, half in (("directly", direct), ("through mux-shim", through))
    ]
    return text.table(rows, right=range(1, 4)) + "\n(ready: tools listed; later sessions and calls: the median)"


def _server(options: argparse.Namespace) -> tuple[tuple[str, ...], Call | None]:
    """What to start and, where it is known already, what to call. The command is resolved where we stand."""
    command: list[str] = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        return EMBEDDED, options.call or EMBEDDED_CALL
    found = shutil.which(command[0])
    if found is None:
        raise UsageError(f"{command[0]}: no such command. Install it; `mux demo` alone brings a server of its own")
    return (os.path.abspath(found) if os.sep in command[0] else command[0], *command[1:]), options.call


def _harmless(tools: Sequence[Json]) -> Call | None:
    """A tool that says of itself that it only reads, and needs no arguments. Any other could change something."""
    for tool in tools:
        hints, schema = tool.get("annotations") or {}, tool.get("inputSchema") or {}
        if hints.get("readOnlyHint") is True and not hints.get("openWorldHint") and not schema.get("required"):
            return str(tool.get("name")), {}
    return None


@contextlib.contextmanager
def _directories(count: int | None) -> Generator[list[str], None, None]:
    """The sessions' working directories: `count` fresh ones, or only ours."""
    if not count:
        yield [os.getcwd()]
        return
    with tempfile.TemporaryDirectory(prefix="mux-demo-") as base:
        paths = [Path(base, f"project-{number}") for number in range(1, count + 1)]
        for path in paths:
            path.mkdir()
        yield [str(path) for path in paths]


def _count(value: str) -> int:
    try:
        count = int(value)
    except ValueError:
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a number above zero")
    return count


def _call(value: str) -> Call:
    name, _, arguments = value.partition("=")
    try:
        parsed = json.loads(arguments or "{}")
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"the arguments of {name} are not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise argparse.ArgumentTypeError(f"the arguments of {name} must be a JSON object")
    return name, parsed
