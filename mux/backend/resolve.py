"""What a HELLO asks for: the server to start, its key, and how long it may outlive its last session.

Whatever the key takes from the filesystem is asked here: where COMMAND is, what a link means, where a project begins.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping

from mux.backend import sharing
from mux.core import identity
from mux.core.environment import INSIDE, Names, prepare, stable_path, untouched, variables, without_links
from mux.core.events import LaunchSpec, SessionOpened
from mux.core.identity import Identity, Sharing
from mux.core.noise import HOST_MARKS
from mux.errors import Denied, UsageError
from mux.limits import DURATION_CEILING_SECONDS, GRACE_SECONDS
from mux.wire.frames import Hello

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{0,9})?(?:e\+\d\d)?)(ms|s|m|h|)", re.ASCII)
_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_SALT_BYTES = 16
_HOST_MARKS = frozenset(name for names in HOST_MARKS.values() for name in names)


def resolve(session: int, hello: Hello) -> SessionOpened:
    """The session that `hello` asks for. A COMMAND that is not found is no error here: its launch fails, with a reason.

    Raises UsageError for a malformed option, or no COMMAND; Denied if the session comes from below the server that it
    would share, which would wait for itself.
    """
    options = _options(hello)
    grace = duration(options.get("grace", str(GRACE_SECONDS)), "grace")
    entry = sharing.known(hello.argv)
    chosen = sharing.choose(options, entry)
    wanted = identify(hello, chosen)
    key = wanted.base_key().hex().encode()
    found = variables(hello.environment)
    above = [outer for outer in found.get(INSIDE, b"").split(b":") if outer]
    if key in above:
        raise Denied("this server has started itself again; shared, it would wait for itself")
    shared = wanted.scope != identity.SESSION
    if not shared:
        wanted = wanted.salted(os.urandom(_SALT_BYTES))
    idle = options.get("idle-timeout")
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
        idle_timeout=sharing.idle_timeout(entry) if idle is None else duration(idle, "idle-timeout"),
        sharing=chosen,
        places={scope: _directory(scope, hello, found) for scope in identity.between(chosen.scope)},
    )


def identify(hello: Hello, chosen: Sharing | None = None) -> Identity:
    """What the server of `hello` would be started with, unsalted. Raises UsageError as `resolve` does.

    chosen: how widely it is shared, where that is known already.
    """
    if not hello.argv:
        raise UsageError("no command to run")
    if not os.path.isabs(hello.cwd):
        raise UsageError("the working directory is not an absolute path")
    found = variables(hello.environment)
    if chosen is None:
        chosen = sharing.choose(_options(hello), sharing.known(hello.argv))
    scope = chosen.scope
    entries = without_links(found.get(b"PATH", os.defpath.encode()), os.path.realpath)
    executable, entry = find_command(hello.argv[0], entries, hello.cwd)
    if scope == identity.SESSION:
        cwd, environment = hello.cwd, untouched(found)
    else:
        cwd = _directory(scope, hello, found)
        count = _variables(hello, b"env-count")
        marks = _HOST_MARKS if chosen.clients == identity.ANY else ()
        environment = prepare(
            found,
            cwd=cwd,
            session_cwd=hello.cwd,
            path=stable_path(entries, entry),
            ignore=[*_variables(hello, b"env-ignore"), *(name for name in marks if name not in Names(count))],
            count=count,
        )
    return Identity(
        scope=scope,
        argv=hello.argv,
        executable=executable,
        cwd=cwd,
        environment=environment,
        umask=hello.umask,
        limits=tuple(sorted(hello.limits)),
        clients=chosen.clients,
        era=chosen.only or identity.BOTH,
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


def _options(hello: Hello) -> dict[str, str]:
    """The last value of each option. The shim alone reads MUX_* and files, and forgives what is malformed there."""
    found: dict[str, str] = {}
    for option in hello.options:
        name, _, value = option.partition(b"=")
        found[name.decode(errors="replace")] = value.decode(errors="replace")
    return found


def _variables(hello: Hello, name: bytes) -> list[bytes]:
    """The values of an option that can be given many times."""
    return [value for key, _, value in (option.partition(b"=") for option in hello.options) if key == name]


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
        advice = "set it, or choose another --scope"
        raise UsageError(f"scope: user needs a home directory, and HOME names none: {advice}") from error
