"""Which project files the user trusts: one record per file, with the digest of what was in it.

A file that changes is not trusted any more. Records stand below `~/.local/state/mux/trust`, which is only ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from hashlib import blake2b, sha256

from mux.config import home_directory
from mux.errors import MuxError, UnsafePath
from mux.rendezvous import files

STATE = os.path.join(".local", "state", "mux")
_RECORD_BYTES = 8192
_DIGEST_LENGTH = 64

Complain = Callable[[str], object]
"""Takes one line for a person, about a record that is there and does not count."""


def digest(content: bytes) -> str:
    """What a record says of a file's content."""
    return sha256(content).hexdigest()


def is_trusted(path: str, content: bytes, environ: Mapping[str, str], complain: Complain) -> bool:
    """Whether the user has trusted the file at `path` with exactly this content. A record that is not ours is none."""
    known = _read(_record(path, environ), complain)
    return known is not None and known == (digest(content), os.path.realpath(path))


def trust(path: str, content: bytes, environ: Mapping[str, str]) -> None:
    """Record it. Raises MuxError if that is not possible, UnsafePath for a directory of others."""
    record = _record(path, environ)
    directory = os.path.dirname(record)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        _check(os.stat(directory), directory)
        files.replace(record, os.fsencode(f"{digest(content)}\n{os.path.realpath(path)}\n"))
    except OSError as error:
        what = f"cannot record it in {directory}: {error.strerror or error}"
        raise MuxError(f"{what}. Mend that, then repeat this") from error


def forget(path: str, environ: Mapping[str, str]) -> bool:
    """Take the trust back; whether there was any. Raises MuxError if the record can not be removed."""
    record = _record(path, environ)
    try:
        os.unlink(record)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise MuxError(f"cannot remove {record}: {error.strerror or error}. Mend that, then repeat this") from error
    return True


def trusted(environ: Mapping[str, str], complain: Complain) -> list[tuple[str, str]]:
    """(path, digest) of every record that is ours and whole, by path."""
    directory = os.path.dirname(_record("/", environ))
    try:
        names = [name for name in os.listdir(directory) if "." not in name]  # without what is being written
    except OSError:
        return []
    records = [_read(os.path.join(directory, name), complain) for name in names]
    return sorted((path, known) for known, path in filter(None, records))


def _record(path: str, environ: Mapping[str, str]) -> str:
    home = home_directory(environ)
    if home is None:
        raise MuxError("there is no home directory to keep it in: set HOME or XDG_STATE_HOME")
    name = blake2b(os.fsencode(os.path.realpath(path)), digest_size=16).hexdigest()
    return os.path.join(home, STATE, "trust", name)


def _read(record: str, complain: Complain) -> tuple[str, str] | None:
    """(digest, path), or None: there is none, or, with one complaint, it is torn, empty, unreadable or not ours."""
    try:
        _check(os.stat(os.path.dirname(record)), record)
        fd = os.open(record, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
        with open(fd, "rb") as file:
            _check(os.fstat(fd), record)
            content = file.read(_RECORD_BYTES)
    except FileNotFoundError:
        return None
    except (OSError, UnsafePath):
        content = b""
    known, _, path = os.fsdecode(content).removesuffix("\n").partition("\n")
    if len(known) == _DIGEST_LENGTH and path:
        return known, path
    complain(f"{record} is ignored: it is no record of ours, or torn. `mux trust DIR` writes it anew")
    return None


def _check(found: os.stat_result, path: str) -> None:
    if hasattr(os, "geteuid") and (found.st_uid != os.geteuid() or found.st_mode & 0o022):
        raise UnsafePath(f"{path} belongs to another user, or others can write to it: `chmod go-w` it")
