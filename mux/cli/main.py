"""`mux`, the operator's command.

Exit codes: 0 done (for `status` also when no backend runs); 1 it failed, or `demo` found something left behind: a
sentence on stderr says what; 2 the command line is wrong; 128 + N ended by signal N.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence

from mux import __version__
from mux.cli import (
    completion,
    config,
    demo,
    doctor,
    explain,
    install,
    logs,
    prune,
    restart,
    start,
    status,
    stop,
    top,
    trust,
    uninstall,
)
from mux.errors import MuxError, RendezvousError, UsageError

COMMANDS = (
    completion,
    config,
    demo,
    doctor,
    explain,
    install,
    logs,
    prune,
    restart,
    start,
    status,
    stop,
    top,
    trust,
    uninstall,
)
"""Each has `add_parser`, which sets `run`, a function from the parsed options to the exit code."""


_EPILOG = """\
first steps:
  mux demo                  what sharing saves on this machine, with real processes
  mux install               how the servers of your hosts would be shared; --yes does it
  mux status                who shares what now, and what that saves; `mux top`: live

if something is wrong:
  mux doctor                what it is, and what to do
  mux logs -f               what the backend does; `mux logs 2`: what server 2 wrote to stderr
  mux explain 3 5           why sessions 3 and 5 share a server, or why they do not
  mux restart               a fresh start, or a new version, with all sessions kept

`mux COMMAND --help` says more of each.
Exit codes: 0 done, 1 failed, 2 wrong command line, 128+N ended by signal N."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """The commands in one list: argparse puts an empty line above it, and wraps the longer names."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=16)

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - it has no public name
            return "".join(map(self._format_action, action._get_subactions()))  # noqa: SLF001 - nor have its parts
        return super()._format_action(action)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    root = argparse.ArgumentParser(
        prog="mux",
        usage="mux COMMAND [options]",
        description="See and run the multiplexer that shares MCP servers between sessions.\n"
        "A host starts `mux-shim COMMAND`, not this command.",
        epilog=_EPILOG,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    root.add_argument("--version", action="version", version=f"mux {__version__}")
    commands = root.add_subparsers(metavar="", title="commands", prog="mux")
    for command in COMMANDS:
        command.add_parser(commands)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Raises SystemExit where argparse has said all there is to say."""
    words = list(sys.argv[1:] if argv is None else argv)
    root = parser()
    try:
        _check_name(words)
        options = root.parse_args(words)
        if "run" not in options:
            root.print_help(sys.stderr)
            return 2
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except UsageError as error:
        print(f"mux: {error}", file=sys.stderr)
        return 2
    except RendezvousError as error:
        hint = "" if "`" in str(error) else ". `mux doctor` says what to do"
        print(f"mux: {error}{hint}", file=sys.stderr)
        return 1
    except MuxError as error:
        print(f"mux: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # `mux status | head`: the interpreter's own flush at exit would fail as well, and print.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _check_name(words: Sequence[str]) -> None:
    """Refuse a command that is none. A typo deserves the one that was meant, and argparse would list all."""
    if not words or words[0].startswith("-"):
        return
    names = [module.__name__.rpartition(".")[2] for module in COMMANDS]
    if words[0] in names:
        return
    close = difflib.get_close_matches(words[0], names, n=1)
    hint = f"Did you mean `mux {close[0]}`?" if close else f"There are: {', '.join(names)}."
    raise UsageError(f"there is no command {words[0]!r}. {hint} `mux --help` says more.")


if __name__ == "__main__":
    raise SystemExit(main())
