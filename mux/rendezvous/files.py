"""Small files that others read while we write them: replaced whole, or not at all."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SUFFIX = ".tmp"


def replace(path: str, data: bytes, *, renaming: Callable[[], object] | None = None) -> None:
    """Put `data` at `path`, mode 0600; a reader sees the old content or the new, also after the machine has crashed.

    The name that it is written under is used by nobody else. renaming: called when all is written but the name.
    Raises OSError, and leaves nothing then.
    """
    temporary = f"{path}.{os.urandom(8).hex()}{_SUFFIX}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        if renaming is not None:
            renaming()
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    _sync_directory(os.path.dirname(path))


def discard_unfinished(path: str) -> None:
    """Remove what writers that were killed have left of `path`. For whoever knows that nobody is writing it."""
    directory, name = os.path.split(path)
    for entry in os.listdir(directory):
        if entry.startswith(f"{name}.") and entry.endswith(_SUFFIX):
            try:
                os.unlink(os.path.join(directory, entry))
            except FileNotFoundError:
                pass


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
