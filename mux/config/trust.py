"""Which project files the user trusts: one record per file, with the digest of what was in it.

A file that changes is not trusted any more. Records stand below `~/.local/state/mux/trust`, which is only ours.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from hashlib import blake2b, sha256

from mux.config import home_directory
from mux.errors import MuxError, UnsafePath

STATE = os.path.join(".local", "state", "mux")
_RECORD_BYTES = 8192


def digest(content: bytes) -> str:
    """What a record says of a file's content."""
    return sha256(content).hexdigest()


def is_trusted(path: str, content: bytes, environ: Mapping[str, str]) -> bool:
    """Whether the user has trusted the file at `path` with exactly this content. A record that is not ours is none."""
    known = _read(_record(path, environ))
    return known is not None and known == (digest(content), os.path.realpath(path))


def trust(path: str, content: bytes, environ: Mapping[str, str]) -> None:
    """Record it. Raises MuxError if that is not possible, UnsafePath for a directory of others."""
    record = _record(path, environ)
    directory = os.path.dirname(record)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        _check(os.stat(directory), directory)
        fd, temporary = tempfile.mkstemp(dir=directory, prefix=".new-")
        try:
            with open(fd, "wb") as file:
                file.write(os.fsencode(f"{digest(content)}\n{os.path.realpath(path)}\n"))
                file.flush()
                os.fsync(fd)
            os.rename(temporary, record)
        except BaseException:
            os.unlink(temporary)
            raise
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


def trusted(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """(path, digest) of every record that is ours and whole, by path."""
    directory = os.path.dirname(_record("/", environ))
    try:
        names = [name for name in os.listdir(directory) if not name.startswith(".")]
    except OSError:
        return []
    records = [_read(os.path.join(directory, name)) for name in names]
    return sorted((path, known) for known, path in filter(None, records))


def _record(path: str, environ: Mapping[str, str]) -> str:
    home = home_directory(environ)
    if home is None:
        raise MuxError("there is no home directory to keep it in: set HOME or XDG_STATE_HOME")
    name = blake2b(os.fsencode(os.path.realpath(path)), digest_size=16).hexdigest()
    return os.path.join(home, STATE, "trust", name)


def _read(record: str) -> tuple[str, str] | None:
    try:
        _check(os.stat(os.path.dirname(record)), record)
        fd = os.open(record, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
        with open(fd, "rb") as file:
            _check(os.fstat(fd), record)
            content = file.read(_RECORD_BYTES)
    except (OSError, UnsafePath):
        return None
    known, newline, path = os.fsdecode(content).removesuffix("\n").partition("\n")
    return (known, path) if newline else None


def _check(found: os.stat_result, path: str) -> None:
    if hasattr(os, "geteuid") and (found.st_uid != os.geteuid() or found.st_mode & 0o022):
        raise UnsafePath(f"{path} belongs to another user, or others can write to it: `chmod go-w` it")
