"""`mux config`: what applies here, and who said so."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from mux import limits
from mux.cli import text
from mux.config import Settings, load
from mux.config.schema import schema
from mux.config.values import VALUED

Json = dict[str, Any]

DEFAULTS = {
    "socket": "the user's",
    "grace": f"{limits.GRACE_SECONDS:g}",
    "idle-timeout": f"{limits.IDLE_SECONDS:g} for a server that is known to bear it, else 0 (never)",
    "park-after": f"{limits.PARK_SECONDS:g}",
    "scope": "directory",
    "clients": "exact",
    "era": "both",
    "logs": "own",
    "fallback": "direct",
}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux config`'s part of the command line."""
    parser = commands.add_parser(
        "config",
        help="show what applies here, and which file or variable says so",
        description="Show each setting with its value and its source: an option of mux-shim, a variable MUX_*, "
        "mux.toml of the project, ~/.config/mux/config.toml, or the default, in this order. With COMMAND: what "
        "applies to that server. Exit code 1 if something in the files does not count.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of the files")
    parser.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="a server's own command line")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print. Exit code 1 if a value is malformed or refused: it is named on stderr."""
    if options.schema:
        print(json.dumps(schema(), indent=2))
        return 0
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    settings = load(os.environ, os.getcwd(), {}, command)
    print(json.dumps(as_json(settings, command), indent=2) if options.json else screen(settings, command))
    if not options.json:
        for complaint in settings.complaints:
            print(f"mux: {complaint}", file=sys.stderr)
    return int(bool(settings.complaints))


def as_json(settings: Settings, command: list[str]) -> Json:
    """Everything, as plain values."""
    found: Json = {
        "settings": {name.replace("-", "_"): _setting(settings, name) for name in VALUED},
        "env": {"count": settings.count, "ignore": settings.ignore},
        "limits": {name: _limit(settings, name) for name in limits.CONFIGURABLE},
        "files": [{"path": path, "state": state} for path, state in settings.files],
        "complaints": settings.complaints,
    }
    if command:
        found["sharing"] = _sharing(settings, command)
    return found


def screen(settings: Settings, command: list[str]) -> str:
    """The same for a person: of the limits only those that somebody changed."""
    rows = [("setting", "value", "from")]
    for name in VALUED:
        setting = _setting(settings, name)
        rows.append((name.replace("-", "_"), setting["value"], setting["source"]))
    rows += [(f"limits.{name}", str(value), source) for name, (value, source) in settings.limits.items()]
    for kind, variables in (("count", settings.count), ("ignore", settings.ignore)):
        rows += [(f"env.{kind}", variable, source) for variable, source in variables.items()]
    parts = [text.table([tuple(map(text.printable, row)) for row in rows])]
    if settings.narrow is not None:
        parts.append(f"shared within {settings.narrow.value} at most: {text.printable(settings.narrow.source)}")
    if command:
        sharing = _sharing(settings, command)
        parts.append(f"{text.command(command)}\n  shared within: {sharing['scope']}, {sharing['reason']}")
        parts += [f"  {sharing[name]}" for name in ("hint", "restart") if sharing[name]]
    if settings.files:
        parts.append("\n".join(f"{text.printable(path)}: {state}" for path, state in settings.files))
    return "\n\n".join(parts)


def _setting(settings: Settings, name: str) -> Json:
    setting = settings.found.get(name)
    if setting is None:
        return {"value": DEFAULTS[name], "source": "default"}
    return {"value": setting.value, "source": setting.source}


def _limit(settings: Settings, name: str) -> Json:
    value, source = settings.limits.get(name, (getattr(limits, name.upper()), "default"))
    return {"value": value, "source": source}


def _sharing(settings: Settings, command: list[str]) -> Json:
    """As the backend will decide it."""
    from mux.backend import sharing

    options = dict(option.split("=", 1) for option in settings.hello())
    entry = sharing.known([os.fsencode(word) for word in command])
    chosen = sharing.choose(options, entry)
    restart = "" if entry is None or not entry.restart else f"may be stopped when idle: {entry.restart_reason}"
    if entry is not None and entry.caveat:
        restart = f"{restart}; {entry.caveat}"
    return {
        "scope": chosen.scope,
        "reason": chosen.reason,
        "clients": chosen.clients,
        "era": chosen.only or "both",
        "hint": chosen.hint,
        "restart": restart,
    }
