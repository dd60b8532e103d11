"""The key: which sessions are indistinguishable to a server, and why two are not.

Two sessions share a server only if it could not have told them apart when it started. An `Identity` therefore holds
everything that a server is started with, in the form in which it gets it; the base key is a digest of all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

FORMAT = b"2"
"""Changes with what goes into a key: two builds that compute it differently do not share."""

KEY_BYTES = 16
"""Length of a base key. 128 bits: no two keys of one user collide by chance."""

DIRECTORY = "directory"
PROJECT = "project"
USER = "user"
SESSION = "session"
SCOPES = (DIRECTORY, PROJECT, USER, SESSION)
WIDTH = (SESSION, DIRECTORY, PROJECT, USER)
"""Scopes from the narrowest to the widest."""

EXACT = "exact"
ANY = "any"
CLIENTS = (EXACT, ANY)

BOTH = "both"
LEGACY = "legacy"
MODERN = "modern"
ERAS = (BOTH, LEGACY, MODERN)
"""Which sessions are served: those of both eras, each era by a process of its own, or those of one only."""

OWN = "own"
SHARE = "share"
LOGS = (OWN, SHARE)
"""Who hears a log message of the server that could be anybody's: nobody, or all who allow that theirs is heard so."""


class Sharing(msgspec.Struct, frozen=True):
    """How widely a server is shared and who said so: sentences for a person. hint: a wider scope that it could bear."""

    scope: str = DIRECTORY
    reason: str = "by default"
    clients: str = EXACT
    hint: str = ""
    era: str = BOTH
    logs: str = OWN

    @property
    def only(self) -> str:
        """The one era whose sessions are served, "" for both. One server for every kind of client speaks one era."""
        if self.era != BOTH:
            return self.era
        return LEGACY if self.clients == ANY else ""


class Identity(msgspec.Struct, frozen=True):
    """What a server is started with.

    cwd: the server's own, which the scope has chosen. salt: empty, or never the same twice, for a session that shares
    with none. clients: whether the server sees who its client is (`exact`), or nobody in particular (`any`). era: the
    one in which it is spoken to, or `both`.
    """

    scope: str
    argv: tuple[bytes, ...]
    executable: bytes
    cwd: bytes
    environment: tuple[bytes, ...]
    umask: int
    limits: tuple[bytes, ...]
    salt: bytes = b""
    clients: str = EXACT
    era: str = BOTH

    def salted(self, salt: bytes) -> Identity:
        """The same, shared with no other."""
        return msgspec.structs.replace(self, salt=salt)

    def base_key(self) -> bytes:
        """KEY_BYTES that are equal for equal identities, whatever the order of environment and limits."""
        choices = (FORMAT, self.scope.encode(), self.clients.encode(), self.era.encode())
        groups: tuple[Sequence[bytes], ...] = (
            (*choices, self.executable, self.cwd, b"%o" % self.umask, self.salt),
            self.argv,
            sorted(self.environment),
            sorted(self.limits),
        )
        digest = blake2b(digest_size=KEY_BYTES)
        for group in groups:
            digest.update(b"%d[" % len(group))
            for item in group:
                digest.update(b"%d:" % len(item))
                digest.update(item)
        return digest.digest()


def between(scope: str) -> tuple[str, ...]:
    """The scopes that are narrower than this one and yet share."""
    return WIDTH[WIDTH.index(DIRECTORY) : max(WIDTH.index(DIRECTORY), WIDTH.index(scope))]


def names_relative_path(argv: Sequence[bytes], exists: Callable[[bytes], bool]) -> bool:
    """Whether COMMAND or an argument, or what follows its `=`, is a path relative to the working directory.

    `exists` tells whether a relative path names something there. A COMMAND without a slash is looked up in PATH.
    """
    words = list(argv[1:])
    if b"/" in argv[0]:
        words.append(argv[0])
    words += [word.partition(b"=")[2] for word in words]
    return any(word.startswith(b".") or exists(word) for word in words if word and not word.startswith(b"/"))


def canonical_initialize(params: bytes) -> bytes:
    """The `params` of an `initialize` request, so that equal ones are equal bytes: keys sorted, no white space.

    `_meta.progressToken` names one request of one session and is left out; all else counts. What the parser refuses
    comes back as it is.
    """
    try:
        value: Any = msgspec.json.decode(params)
        if isinstance(value, dict):
            _forget_progress_token(value)
        return msgspec.json.encode(value, order="sorted")
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return params


_PARTS = ("argv", "clients", "cwd", "era", "executable", "scope", "umask")


def differences(a: Identity, b: Identity) -> list[str]:
    """The parts in which two identities differ, sorted: names of parts and of variables, never a value."""
    parts = [name for name in _PARTS if getattr(a, name) != getattr(b, name)]
    if a.salt != b.salt:
        parts.append("session")
    parts += [f"environment {name}" for name in _differing(a.environment, b.environment)]
    parts += [f"limit {name}" for name in _differing(a.limits, b.limits)]
    return sorted(parts)


def _differing(a: Iterable[bytes], b: Iterable[bytes]) -> set[str]:
    return {entry.partition(b"=")[0].decode(errors="replace") for entry in set(a) ^ set(b)}


def _forget_progress_token(params: dict[str, Any]) -> None:
    meta = params.get("_meta")
    if isinstance(meta, dict):
        meta.pop("progressToken", None)
        if not meta:
            del params["_meta"]
