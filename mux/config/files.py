"""The two files: the user's, which decides, and the project's, which comes with a repository and is not trusted.

Imported only where a file exists. Nothing here raises for what a file holds.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from mux import limits
from mux.config import Settings
from mux.config.names import names, normal
from mux.config.trust import is_trusted
from mux.config.values import OF_A_SERVER, VALUED, WIDTH, from_file, is_name, is_variable, limit, printable, shown
from mux.errors import MuxError, UsageError

FILE_BYTES = 1 << 20
"""A longer file is no configuration."""

_TABLES = ("env", "limits", "server")
Table = dict[str, Any]


class File:
    """One file while its settings are taken. Complaints go to `settings`, each a line that names file, key, value."""

    def __init__(self, path: str, settings: Settings) -> None:
        self.path = path
        self.settings = settings
        self.content = b""
        self.table: Table = {}

    def complain(self, what: str) -> None:
        """One line for a person."""
        self.settings.complaints.append(printable(f"{self.path}: {what}"))

    def read(self) -> bool:
        """Take the content in; whether there is one to go by. A file that others could have written is none."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
            with open(fd, "rb") as file:
                found = os.fstat(fd)
                if not stat.S_ISREG(found.st_mode):
                    self.complain("is ignored: it is no regular file")
                    return False
                if hasattr(os, "geteuid") and (reason := _foreign(found)):
                    self.complain(f"is ignored: {reason}")
                    return False
                self.content = file.read(FILE_BYTES + 1)
        except OSError as error:
            self.complain(f"is ignored: {error.strerror or error}")
            return False
        try:
            if len(self.content) > FILE_BYTES:
                raise ValueError(f"it has more than {FILE_BYTES} bytes")
            self.table = tomllib.loads(self.content.decode())
        except (ValueError, RecursionError) as error:
            self.complain(f"is ignored, it is no TOML: {str(error) or 'nested too deeply'}")
            return False
        return True

    def values(self) -> Iterator[tuple[str, str, str]]:
        """(name, value, key) of each well-formed setting at the top."""
        for key, value in self.table.items():
            if key in _TABLES:
                continue
            name = _option(key)
            if name not in VALUED:
                self.complain(f"{key} = {shown(value)} is ignored: there is no such setting")
            elif (text := self._checked(name, value, key)) is not None:
                yield name, text, key

    def sections(self, command: Sequence[str]) -> Iterator[tuple[str, str, str]]:
        """(name, value, key) of each well-formed setting in the [[server]] sections that match `command`, in order."""
        found = names(command)
        for number, section in enumerate(self._list("server"), 1):
            where = f"[[server]] {number}"
            if not isinstance(section, dict):
                self.complain(f"{where} is ignored: it is no table")
                continue
            patterns = section.get("match")
            listed = [patterns] if isinstance(patterns, str) else patterns
            if not isinstance(listed, list) or not listed or not all(isinstance(one, str) for one in listed):
                self.complain(f"{where}: match = {shown(patterns)} is ignored: it names servers: text, or a list of it")
                continue
            applies = any(fnmatchcase(name, normal(pattern)) for pattern in listed for name in found)
            for key, value in section.items():
                name = _option(key)
                if key == "match":
                    continue
                if name not in OF_A_SERVER:
                    self.complain(f"{where}: {key} = {shown(value)} is ignored: a server has no such setting")
                elif (text := self._checked(name, value, f"{where}: {key}")) is not None and applies:
                    yield name, text, f"[[server]] match = {shown(patterns)}"

    def variables(self) -> Iterator[tuple[str, str]]:
        """(count or ignore, name of a variable) for each well-formed one in `[env]`."""
        for kind, listed in self._table("env").items():
            if kind not in ("count", "ignore"):
                self.complain(f"[env] {kind} = {shown(listed)} is ignored: there are count and ignore")
            elif not isinstance(listed, list):
                self.complain(f"[env] {kind} = {shown(listed)} is ignored: it is a list of names")
            else:
                for value in listed:
                    if is_variable(value):
                        yield kind, value
                    else:
                        self.complain(f"[env] {kind}: {shown(value)} is ignored: it is no name of a variable")

    def limits(self) -> Iterator[tuple[str, int | float]]:
        """(name, value) of each well-formed limit."""
        for key, value in self._table("limits").items():
            if key not in limits.CONFIGURABLE:
                self.complain(f"[limits] {key} = {shown(value)} is ignored: there is no such limit")
                continue
            try:
                yield key, limit(key, value)
            except UsageError as error:
                self.complain(f"[limits] {key} {error}: ignored")

    def _table(self, key: str) -> Table:
        value = self.table.get(key, {})
        if isinstance(value, dict):
            return value
        self.complain(f"{key} = {shown(value)} is ignored: it is a table")
        return {}

    def _list(self, key: str) -> list[Any]:
        value = self.table.get(key, [])
        if isinstance(value, list):
            return value
        self.complain(f"{key} = {shown(value)} is ignored: it is written [[{key}]]")
        return []

    def _checked(self, name: str, value: object, key: str) -> str | None:
        try:
            return from_file(name, value)
        except UsageError as error:
            self.complain(f"{key} {error}: ignored")
            return None


def apply(
    settings: Settings, user: str | None, project: str | None, command: Sequence[str], environ: Mapping[str, str]
) -> None:
    """Take the settings of both files, the project's over the user's."""
    if user is not None and os.path.lexists(user):
        file = File(user, settings)
        read = file.read()
        settings.files.append((user, "user's file" if read else "ignored"))
        if read:
            _take(file, command)
    if project is None:
        return
    file = File(project, settings)
    if not file.read():
        settings.files.append((project, "ignored"))
    elif _trusted(file, environ):
        settings.files.append((project, "project's file, trusted"))
        _take(file, command)
    else:
        settings.files.append((project, "project's file, not trusted"))
        _take_untrusted(file, command)


def _take(file: File, command: Sequence[str]) -> None:
    settings = file.settings
    for name, value, _ in file.values():
        settings.set(name, _socket(file, value) if name == "socket" else value, file.path)
    for name, value, where in file.sections(command):
        settings.set(name, value, f"{file.path} {where}", own=True)
    for kind, variable in file.variables():
        (settings.count if kind == "count" else settings.ignore)[variable] = file.path
    settings.limits |= {name: (value, file.path) for name, value in file.limits()}


def _take_untrusted(file: File, command: Sequence[str]) -> None:
    """A socket by name, and whatever narrows. All else waits for the user's word, and the complaint says how."""
    settings = file.settings
    refused = [f"[{key}]" for key in ("env", "limits") if file.table.get(key)]
    scope = settings.get("scope") or "directory"
    for name, value, key in (*file.values(), *file.sections(command)):
        in_section = key.startswith("[[")
        source = f"{file.path} {key}" if in_section else file.path
        if name == "socket" and is_name(value):
            settings.set(name, value, file.path)
        elif name == "scope" and WIDTH.index(value) <= WIDTH.index(scope):
            narrower = settings.narrow is None or WIDTH.index(value) < WIDTH.index(settings.narrow.value)
            if narrower and value != scope:
                settings.narrow_to(value, source)
        elif name == "clients" and value == "exact":
            settings.set(name, value, source)
        else:
            refused.append(f"{name} = {shown(value)} in {key}" if in_section else f"{key} = {shown(value)}")
    if refused:
        directory = os.path.dirname(file.path)
        allow = f"`mux trust {directory}` allows it"
        file.complain(f"{', '.join(refused)}: ignored, since the file comes with a project and is not trusted; {allow}")


def _trusted(file: File, environ: Mapping[str, str]) -> bool:
    try:
        return is_trusted(file.path, file.content, environ, file.settings.complaints.append)
    except MuxError:
        return False


def _socket(file: File, value: str) -> str:
    """A path in a file starts where the file is, or at home."""
    if value.startswith("~/"):
        return os.path.expanduser(value)
    return os.path.normpath(os.path.join(os.path.dirname(file.path), value)) if "/" in value else value


def _foreign(found: os.stat_result) -> str:
    """Why a file is not surely the user's own; "" if it is."""
    if found.st_uid != os.geteuid():
        return f"it belongs to uid {found.st_uid}, not to {os.geteuid()}"
    if found.st_mode & 0o022:
        return f"others can write to it (mode {stat.S_IMODE(found.st_mode):04o}): `chmod go-w` it"
    return ""


def _option(key: str) -> str:
    return key.replace("_", "-") if "-" not in key else ""
