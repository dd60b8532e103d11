"""`mux completion SHELL`: a script that completes the commands and options of `mux`, made from its parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mux.cli.install.hosts import HOSTS

_EPILOG = """\
bash:  mux completion bash > ~/.local/share/bash-completion/completions/mux
zsh:   mux completion zsh > "${fpath[1]}/_mux"      (a directory of yours that is in fpath)
fish:  mux completion fish > ~/.config/fish/completions/mux.fish"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux completion`'s part of the command line."""
    parser = commands.add_parser(
        "completion",
        help="print a script that completes `mux` in your shell",
        description="Print a script for your shell; a new shell has it:",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("shell", metavar="SHELL", choices=sorted(_SCRIPTS), help="bash, fish or zsh")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from mux.cli.main import parser

    print(_SCRIPTS[options.shell](list(_commands(parser()))))
    return 0


class Option(NamedTuple):
    """One option. value: what its value is called, "" if it takes none. choices: what that may be, if that is known."""

    names: Sequence[str]
    help: str
    value: str
    choices: Sequence[str]


class Command(NamedTuple):
    """One command of `mux`. words: what may stand after it, "" for a file."""

    name: str
    help: str
    options: Sequence[Option]
    words: Sequence[str]


def _commands(root: argparse.ArgumentParser) -> Iterator[Command]:
    # argparse lists what a parser has for nobody but itself.
    (commands,) = (action for action in root._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001
    helps = {action.dest: action.help or "" for action in commands._choices_actions}  # noqa: SLF001
    for name, parser in commands.choices.items():
        actions = parser._actions  # noqa: SLF001
        words = [word for action in actions if not action.option_strings for word in _values(action)]
        options = [_option(action) for action in actions if action.option_strings]
        yield Command(name, helps.get(name, ""), options, words)


def _option(action: argparse.Action) -> Option:
    help_ = (action.help or "").partition(" (default")[0].partition("; default")[0]
    value = "" if action.nargs == 0 else str(action.metavar or action.dest).lower()
    return Option(action.option_strings, "" if help_.startswith("default:") else help_, value, _values(action))


def _values(action: argparse.Action) -> list[str]:
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    return [host.name for host in HOSTS] if action.metavar == "HOST" else []


def _bash(commands: Sequence[Command]) -> str:
    """For bash 3.2 as well, which macOS has."""
    cases: list[str] = []
    for command in commands:
        words = " ".join([*(name for option in command.options for name in option.names), *command.words])
        cases.append(f"    {command.name})\n      words={_quoted(words)}")
        choices: dict[str, list[str]] = {}
        for option in command.options:
            if option.value:
                choices.setdefault(" ".join(option.choices), []).extend(option.names)
        if choices:
            values = [f"        {'|'.join(names)}) words={_quoted(found)} ;;" for found, names in choices.items()]
            cases += ['      case "$previous" in', *values, "      esac"]
        cases.append("      ;;")
    first = " ".join([*(command.name for command in commands), "--help", "--version"])
    return "\n".join(
        [
            "_mux() {",
            '  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" words=""',
            '  if [ "$COMP_CWORD" -eq 1 ]; then',
            f"    words={_quoted(first)}",
            '  else case "${COMP_WORDS[1]}" in',
            *cases,
            "  esac; fi",
            '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
            "}",
            "# With nothing to offer, for the value of an option or a COMMAND, bash goes on with files.",
            "complete -o default -F _mux mux",
        ]
    )


def _zsh(commands: Sequence[Command]) -> str:
    described = " ".join(_quoted(f"{command.name}:{command.help}") for command in commands)
    cases: list[str] = []
    for command in commands:
        specs = [spec for option in command.options for spec in _zsh_option(option)]
        specs.append(f"*: :({' '.join(command.words)})" if command.words else "*: :_default")
        cases.append(f"    {command.name}) _arguments {' '.join(map(_quoted, specs))} ;;")
    return "\n".join(
        [
            "#compdef mux",
            "_mux() {",
            "  local -a commands",
            f"  commands=({described})",
            "  if (( CURRENT == 2 )); then",
            "    _describe command commands",
            "    return",
            "  fi",
            "  shift words; (( CURRENT-- ))",
            '  case "$words[1]" in',
            *cases,
            "  esac",
            "}",
            "# Autoloaded, the file is the function; sourced, it registers it.",
            'if [ "$funcstack[1]" = _mux ]; then _mux "$@"; else compdef _mux mux; fi',
        ]
    )


def _zsh_option(option: Option) -> Iterator[str]:
    words = option.help.replace("[", "(").replace("]", ")").replace(":", ";")
    value = ""
    if option.value:
        value = f":{option.value.replace('|', ' or ')}:" + (
            f"({' '.join(option.choices)})" if option.choices else "_files"
        )
    for name in option.names:
        yield f"*{name}[{words}]{value}"


def _fish(commands: Sequence[Command]) -> str:
    lines = ["complete -c mux -n __fish_use_subcommand -f -l version -d 'print the version'"]
    for command in commands:
        lines.append(f"complete -c mux -n __fish_use_subcommand -f -a {command.name} -d {_quoted(command.help)}")
        seen = f"-n '__fish_seen_subcommand_from {command.name}'"
        if command.words:
            lines.append(f"complete -c mux {seen} -f -a {_quoted(' '.join(command.words))}")
        for option in command.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            value = f" -x -a {_quoted(' '.join(option.choices))}" if option.choices else " -r" if option.value else ""
            lines.append(f"complete -c mux {seen} {names}{value} -d {_quoted(option.help)}")
    return "\n".join(lines)


def _quoted(words: str) -> str:
    """One word in each of the shells, which all take a quote in this way."""
    return "'" + words.replace("'", "'\\''") + "'"


_SCRIPTS = {"bash": _bash, "fish": _fish, "zsh": _zsh}
