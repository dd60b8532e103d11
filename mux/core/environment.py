"""Which variables count for the key, and what a server gets: the same ones.

What is not in the key does not reach the server. So one list serves for both, and every rule here is about what two
sessions that mean the same must not differ in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from mux.core.noise import FORMER_DIRECTORIES, NOISE, PROJECT_DIRECTORIES

OURS = b"MUX_"
"""The multiplexer's own variables: never counted, never passed on."""

INSIDE = b"MUX_INSIDE"
"""The base keys, in hexadecimal, of the servers above this process, joined with `:`."""

_FNM_LINK = re.compile(rb"(.*/fnm_multishells/[^/]+)(/.*)?", re.DOTALL)
_PER_PROCESS = re.compile(rb".*/(?:codex-arg0[A-Za-z0-9]{6}|xfs-[0-9a-f]{8})/?", re.DOTALL)
"""PATH entries made for one process: Codex 0.169 (under its home), `yarn run` of Yarn 4 (under TMPDIR)."""


class Names:
    """A set of variable names, some of them beginnings that end in `*`."""

    __slots__ = ("_beginnings", "_names")

    def __init__(self, patterns: Iterable[bytes] = ()) -> None:
        patterns = frozenset(patterns)
        self._beginnings = tuple(pattern[:-1] for pattern in patterns if pattern.endswith(b"*"))
        self._names = patterns

    def __contains__(self, name: bytes) -> bool:
        return name in self._names or name.startswith(self._beginnings)


_NOISE = Names(name for names in NOISE.values() for name in names)


def variables(environment: Sequence[bytes]) -> dict[bytes, bytes]:
    """NAME → value. Of a name that occurs twice the first counts, as for getenv; what is no NAME=VALUE is left out."""
    found: dict[bytes, bytes] = {}
    for entry in environment:
        name, equals, value = entry.partition(b"=")
        if name and equals:
            found.setdefault(name, value)
    return found


def prepare(
    found: dict[bytes, bytes],
    *,
    cwd: bytes,
    session_cwd: bytes,
    path: Sequence[bytes] = (),
    ignore: Iterable[bytes] = (),
    count: Iterable[bytes] = (),
) -> tuple[bytes, ...]:
    """NAME=VALUE of what counts and reaches the server, sorted. Preparing the result again changes nothing.

    cwd: where the server starts. session_cwd: where the session is. path: the entries of PATH, from `stable_path`.
    ignore, count: names, or beginnings with `*`, for which the list of noise does not decide; ignore wins.
    """
    ignored, counted = Names(ignore), Names(count)
    given: dict[bytes, bytes] = {}
    for name, value in found.items():
        if name.startswith(OURS) or name in ignored:
            continue
        if name in counted:
            given[name] = value
        elif name == b"PATH":
            given[name] = b":".join(path)
        elif name in PROJECT_DIRECTORIES:
            given[name] = cwd if _without_slash(value) == session_cwd else value
        elif name not in FORMER_DIRECTORIES and name not in _NOISE:
            given[name] = value
    if b"PWD" not in ignored and b"PWD" not in counted:
        given[b"PWD"] = cwd
    return _joined(given)


def untouched(found: dict[bytes, bytes]) -> tuple[bytes, ...]:
    """NAME=VALUE of everything but the multiplexer's own, sorted: for a server that is not shared."""
    return _joined({name: value for name, value in found.items() if not name.startswith(OURS)})


def without_links(path: bytes, link_target: Callable[[bytes], bytes]) -> list[bytes]:
    """The entries of PATH, each under the name that it has in every shell.

    fnm gives each shell a link of its own to the Node installation in use; `link_target` tells what a link means now.
    """
    entries = path.split(b":")
    for at, entry in enumerate(entries):
        link = _FNM_LINK.fullmatch(entry)
        if link:
            entries[at] = link_target(link[1]) + (link[2] or b"")
    return entries


def stable_path(entries: Sequence[bytes], command: bytes | None) -> list[bytes]:
    """The entries without those made for one process; `command`, the entry in which COMMAND was found, always stays."""
    return [entry for entry in entries if entry == command or not _PER_PROCESS.fullmatch(entry)]


def _without_slash(path: bytes) -> bytes:
    return path.rstrip(b"/") or b"/"


def _joined(found: dict[bytes, bytes]) -> tuple[bytes, ...]:
    return tuple(name + b"=" + value for name, value in sorted(found.items()))
