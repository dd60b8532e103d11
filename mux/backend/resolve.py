"""What a HELLO asks for: the server to start, its key, and how long it may outlive its last session.

Whatever the key takes from the filesystem is asked here: where COMMAND is, what a link means, where a project begins.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping

from mux.core import identity
from mux.core.environment import INSIDE, prepare, stable_path, untouched, variables, without_links
from mux.core.events import LaunchSpec, SessionOpened
from mux.core.identity import Identity
from mux.errors import Denied, UsageError
from mux.limits import DURATION_CEILING_SECONDS, GRACE_SECONDS
from mux.wire.frames import Hello

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{0,9})?(?:e\+\d\d)?)(ms|s|m|h|)", re.ASCII)
_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_SALT_BYTES = 16


def resolve(session: int, hello: Hello) -> SessionOpened:
    """The session that `hello` asks for. A COMMAND that is not found is no error here: its launch fails, with a reason.

    Raises UsageError for a malformed option, or no COMMAND; Denied if the session comes from below the server that it
    would share, which would wait for itself.
    """
    grace = duration(_option(hello, "grace", str(GRACE_SECONDS)), "grace")
    wanted = identify(hello)
    key = wanted.base_key().hex().encode()
    above = [outer for outer in variables(hello.environment).get(INSIDE, b"").split(b":") if outer]
    if key in above:
        raise Denied("this command would run below itself")
    shared = wanted.scope != identity.SESSION
    if not shared:
        wanted = wanted.salted(os.urandom(_SALT_BYTES))
    return SessionOpened(
        session=session,
        base_key=wanted.base_key(),
        spec=LaunchSpec(
            argv=wanted.argv,
            executable=wanted.executable,
            cwd=wanted.cwd,
            environment=(*wanted.environment, INSIDE + b"=" + b":".join([*above, key])),
            umask=wanted.umask,
            limits=wanted.limits,
        ),
        grace=grace,
        resumed=bool(hello.session),
        shared=shared,
    )


def identify(hello: Hello) -> Identity:
    """What the server of `hello` would be started with, unsalted. Raises UsageError as `resolve` does."""
    if not hello.argv:
        raise UsageError("no command to run")
    if not os.path.isabs(hello.cwd):
        raise UsageError("the working directory is not an absolute path")
    found = variables(hello.environment)
    scope = _scope(hello)
    entries = without_links(found.get(b"PATH", os.defpath.encode()), os.path.realpath)
    executable, entry = find_command(hello.argv[0], entries, hello.cwd)
    if scope == identity.SESSION:
        cwd, environment = hello.cwd, untouched(found)
    else:
        cwd = _directory(scope, hello, found)
        path = stable_path(entries, entry)
        environment = prepare(found, cwd=cwd, session_cwd=hello.cwd, path=path)
    return Identity(
        scope=scope,
        argv=hello.argv,
        executable=executable,
        cwd=cwd,
        environment=environment,
        umask=hello.umask,
        limits=tuple(sorted(hello.limits)),
    )


def duration(text: str, name: str) -> float:
    """Seconds of `30`, `1.5`, `500ms`, `90s`, `15m`, `1h`, `1e+06`. Raises UsageError, which names the option."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise UsageError(f"{name}: {text!r} is not a duration; write seconds, or 90s, 15m, 1h")
    return min(float(match[1]) * _UNITS[match[2]], DURATION_CEILING_SECONDS)


def find_command(command: bytes, entries: list[bytes], cwd: bytes) -> tuple[bytes, bytes | None]:
    """(path, the entry of PATH in which it stands). With a slash: from `cwd`, no entry. Not found: the bare name."""
    if b"/" in command:
        return os.path.join(cwd, command), None
    for entry in entries:
        path = os.path.join(cwd, entry, command)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path, entry
    return command, None


def git_root(cwd: bytes) -> bytes:
    """The nearest directory upward that holds `.git` (a directory; a file in a worktree); `cwd` if none does."""
    at = cwd
    while not os.path.exists(os.path.join(at, b".git")):
        parent = os.path.dirname(at)
        if parent == at:
            return cwd
        at = parent
    return at


def _scope(hello: Hello) -> str:
    if any(option.partition(b"=")[0] == b"no-share" for option in hello.options):
        return identity.SESSION
    scope = _option(hello, "scope", identity.DIRECTORY)
    if scope not in identity.SCOPES:
        raise UsageError(f"scope: {scope!r} is none of {', '.join(identity.SCOPES)}")
    return scope


def _option(hello: Hello, name: str, default: str) -> str:
    """The last value that the shim sent. The shim alone reads MUX_*, and forgives what is malformed there."""
    for option in reversed(hello.options):
        key, _, value = option.partition(b"=")
        if key == name.encode():
            return value.decode(errors="replace")
    return default


def _directory(scope: str, hello: Hello, found: Mapping[bytes, bytes]) -> bytes:
    """Where a server of that scope starts: the session's directory if a word of its command line means a file there."""
    cwd = hello.cwd
    if scope == identity.DIRECTORY:
        return cwd
    if identity.names_relative_path(hello.argv, lambda word: os.path.lexists(os.path.join(cwd, word))):
        return cwd
    return git_root(cwd) if scope == identity.PROJECT else _home(found)


def _home(found: Mapping[bytes, bytes]) -> bytes:
    home = found.get(b"HOME", b"")
    if os.path.isabs(home):
        return home
    try:
        return os.fsencode(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError as error:
        raise UsageError("scope: user needs a home directory, and HOME names none") from error
