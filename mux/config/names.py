"""By which names a server is known, whatever starts it: `npx -y @playwright/mcp@latest` is `@playwright/mcp`.

What cannot be understood gives fewer names, never an error.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence

Words = Sequence[str]

_DEPTH = 6
"""Wrappers around wrappers: more than this nobody writes."""

_RUNNERS = {"npx", "pnpx", "bunx", "uvx"}
_SUBCOMMANDS = {
    "npm": {"exec", "x"},
    "pnpm": {"dlx", "exec"},
    "yarn": {"dlx", "exec", "run"},
    "bun": {"x", "run"},
    "uv": {"run"},
    "pipx": {"run"},
    "mise": {"exec", "x"},
    "asdf": {"exec"},
    "go": {"run"},
}
"""Programs that run another one after a word of their own."""
_PACKAGE_OPTIONS = {"-p", "--package", "--from", "--spec"}
_OPTIONS_WITH_VALUE = {
    "--cache", "--call", "--directory", "--env-file", "--index-url", "--index", "--node-options", "--prefix",
    "--project", "--python", "--registry", "--userconfig", "--with", "--with-editable", "--with-requirements",
    "--workspace", "-c", "-w",
}  # fmt: skip
_PREFIXES = {"env", "nice", "nohup", "setsid", "stdbuf", "time", "timeout", "caffeinate", "xvfb-run", "sudo", "doas"}
_PREFIX_OPTIONS_WITH_VALUE = {"-n", "--adjustment", "-k", "-s", "-u", "--unset", "-C", "--chdir", "-a"}
_SHELLS = {"sh", "ash", "bash", "dash", "ksh", "zsh", "fish"}
_INTERPRETERS = {"node", "nodejs", "tsx", "ts-node", "deno", "python", "pypy", "ruby", "php", "java", "electron"}
_SCRIPT_OPTIONS_WITH_VALUE = {"-r", "--require", "--import", "--loader", "-X", "-W", "--env-file", "--tsconfig"}
_CONTAINERS = {"docker", "podman", "nerdctl"}
_CONTAINER_FLAGS = {"--rm", "--init", "--privileged", "--read-only", "--detach", "--interactive", "--tty"}


def names(argv: Words) -> frozenset[str]:
    """Names of the server that `argv` starts: package, module, image, program, script, each in its `normal` form."""
    return frozenset(normal(name) for name in _names(list(argv), _DEPTH) if name)


def label(argv: Words) -> str:
    """One name for a person and for a log: the longest, which tells most. Arguments and scripts may hold secrets."""
    if not argv:
        return ""
    found = names(argv) if _program(argv[0]) not in _SHELLS else ()
    return max(found, key=lambda name: (len(name), name), default=os.path.basename(argv[0]))


def normal(name: str) -> str:
    """Lower case, `-` for `_`; as package registries compare names."""
    return name.strip().lower().replace("_", "-")


def _names(argv: list[str], depth: int) -> Iterator[str]:
    if not argv or not depth:
        return
    program, rest = _program(argv[0]), argv[1:]
    if program in _PREFIXES:
        yield from _names(_after_prefix(program, rest), depth - 1)
    elif program in _SHELLS or program == "cmd":
        yield from _of_shell(program, rest, depth)
    elif program in _CONTAINERS:
        yield from _of_container(rest)
    elif program == "uv" and rest[:2] == ["tool", "run"]:
        yield from _of_runner(rest[2:], depth)
    elif program in _RUNNERS:
        yield from _of_runner(rest, depth)
    elif program in _SUBCOMMANDS and rest and rest[0] in _SUBCOMMANDS[program]:
        yield from _of_runner(rest[1:], depth)
    elif program.rstrip("0123456789.") in _INTERPRETERS:
        yield from _of_interpreter(rest)
    else:
        yield from _of_path(argv[0])


def _program(word: str) -> str:
    """The bare name of a program: no directory, no suffix of Windows."""
    base = word.replace("\\", "/").rpartition("/")[2].lower()
    stem, dot, suffix = base.rpartition(".")
    return stem if dot and suffix in {"exe", "cmd", "bat", "ps1"} else base


def _after_prefix(program: str, rest: list[str]) -> list[str]:
    """What `env A=1 timeout 5 nice -n 5 …` runs."""
    at = 0
    while at < len(rest):
        word = rest[at]
        if word in _PREFIX_OPTIONS_WITH_VALUE:
            at += 2
        elif word.startswith("-") or (program == "env" and "=" in word):
            at += 1
        else:
            return rest[at + 1 :] if program == "timeout" else rest[at:]
    return []


def _of_shell(program: str, rest: list[str], depth: int) -> Iterator[str]:
    """Every command in `sh -c "…"`; a script by its name."""
    for at, word in enumerate(rest):
        if program == "cmd" and word.lower() in {"/c", "/k"}:
            yield from _names(rest[at + 1 :], depth - 1)
            return
        if word.startswith("-"):
            if word.endswith("c") and not word.startswith("--"):
                yield from _of_line(" ".join(rest[at + 1 : at + 2]), depth)
                return
            continue
        yield from _of_path(word)
        return


def _of_line(line: str, depth: int) -> Iterator[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command: list[str] = []
    try:
        for word in lexer:
            if set(word) <= set("();<>|&"):
                yield from _names(_simple(command), depth - 1)
                command = []
            else:
                command.append(word)
    except ValueError:  # a quote that is not closed
        pass
    yield from _names(_simple(command), depth - 1)


def _simple(command: list[str]) -> list[str]:
    """A command of a shell without what stands before its program."""
    at = 0
    while at < len(command) and ("=" in command[at] or command[at] == "exec"):
        at += 1
    return command[at:]


def _of_runner(rest: list[str], depth: int) -> Iterator[str]:
    """`npx -y --package=P COMMAND`: the packages, and what is run of them."""
    at = 0
    while at < len(rest):
        word = rest[at]
        option, equals, value = word.partition("=")
        if option in _PACKAGE_OPTIONS:
            if not equals:
                at += 1
                value = rest[at] if at < len(rest) else ""
            yield _package(value)
        elif word in _OPTIONS_WITH_VALUE:
            at += 1
        elif not word.startswith("-"):
            break
        at += 1
    if at < len(rest):
        word = rest[at]
        package = _package(word)
        if word.startswith("@") or "/" not in word:
            yield package
        if not word.startswith("@") and (package == word or "/" in word):
            yield from _names(rest[at:], depth - 1)


def _of_interpreter(rest: list[str]) -> Iterator[str]:
    """`python -m MODULE`, `node SCRIPT`, `deno run npm:PACKAGE`."""
    at = 0
    while at < len(rest):
        word = rest[at]
        if word in {"-m", "-jar"} and at + 1 < len(rest):
            module = rest[at + 1]
            yield from _of_path(module) if word == "-jar" else (module, module.partition(".")[0])
            return
        if word in _SCRIPT_OPTIONS_WITH_VALUE:
            at += 2
        elif word.startswith("-") or word == "run":
            at += 1
        else:
            yield from (_package(word),) if word.startswith(("npm:", "jsr:")) else _of_path(word)
            return


def _of_container(rest: list[str]) -> Iterator[str]:
    """The image of `docker run … IMAGE`, without tag and digest."""
    if "run" not in rest:
        return
    at = rest.index("run") + 1
    while at < len(rest):
        word = rest[at]
        if not word.startswith("-"):
            image = word.partition("@")[0]
            registry, slash, last = image.rpartition("/")
            yield f"{registry}{slash}{last.partition(':')[0]}"
            return
        short_flags = not word.startswith("--") and set(word[1:]) <= set("itd")
        at += 1 if "=" in word or word in _CONTAINER_FLAGS or short_flags else 2


def _of_path(word: str) -> Iterator[str]:
    """A program or script: its bare name with and without suffix, and the package in whose directory it stands."""
    parts = word.replace("\\", "/").split("/")
    if "node_modules" in parts[:-1]:
        inside = parts[len(parts) - parts[::-1].index("node_modules") :]
        if inside[0] != ".bin":
            yield "/".join(inside[:2]) if inside[0].startswith("@") else inside[0]
    base = _program(parts[-1])
    yield _package(base)
    yield os.path.splitext(base)[0]


def _package(spec: str) -> str:
    """`@scope/name@1.2` → `@scope/name`; `name[extra]==1.0` → `name`; an address of a repository → its last word."""
    spec = spec.removeprefix("npm:").removeprefix("jsr:")
    if "://" in spec or spec.startswith(("git+", "github:", "git@")):
        spec = spec.partition("#")[0].rstrip("/").rpartition("/")[2]
        return spec.partition("@")[0].removesuffix(".git")
    head, rest = spec[:1], spec[1:]
    for sign in "@[=<>!~; ":
        rest = rest.partition(sign)[0]
    return head + rest
