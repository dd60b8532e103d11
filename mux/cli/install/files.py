"""Read a configuration file, and replace it whole: never half written, never over somebody else's change."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import shutil
import stat
import sys
import tempfile

from mux.cli.install.hosts import Home
from mux.errors import MuxError
from mux.limits import CONFIG_BACKUPS, CONFIG_BYTES


class Refused(MuxError):
    """A file is left as it is. The sentence names it, the reason and what to do."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A file as it was read. `target`: where its symbolic links lead, and what is replaced."""

    path: str
    target: str
    data: bytes

    @property
    def text(self) -> str:
        """Its text; a byte order mark is part of it. Raises Refused."""
        try:
            return self.data.decode()
        except UnicodeDecodeError as error:
            line = self.data.count(b"\n", 0, error.start) + 1
            column = error.start - (self.data.rfind(b"\n", 0, error.start) + 1) + 1
            raise Refused(
                f"{self.path} is left alone: line {line}, byte {column}: not UTF-8. Save it as UTF-8, then repeat this"
            ) from None


def read(path: str) -> Snapshot:
    """The file at `path`. Raises Refused."""
    target = os.path.realpath(path)
    try:
        status = os.stat(target)
        if not stat.S_ISREG(status.st_mode):
            raise Refused(f"{path} is left alone: it is not a regular file. Put one there, then repeat this")
        if status.st_size > CONFIG_BYTES:
            what = f"{status.st_size:,} bytes are too many for a configuration file"
            raise Refused(f"{path} is left alone: {what}. Put mux-shim in by hand")
        with open(target, "rb") as file:
            return Snapshot(path, target, file.read())
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror or error}. Mend that, then repeat this") from error


def replace(old: Snapshot, data: bytes, backups: str) -> str:
    """Put `data` in place of what was read, unless the file has changed since; returns the path of the backup.

    The file is replaced in one step and keeps mode, owner and attributes. Nothing can be locked against a host that
    rewrites its file at this very moment: the file is compared right before that step. Raises Refused.
    """
    try:
        status = os.stat(old.target)
        _check_writable(old, status)
        backup = _back_up(old, backups)
        _swap(old, status, data)
    except OSError as error:
        where = error.filename or old.target
        raise Refused(
            f"{old.path} is left alone: {where} cannot be written: {error.strerror or error}. "
            "Mend that, then repeat this"
        ) from error
    return backup


def backup_directory(home: Home) -> str:
    """Where backups lie: in the user's state, since a copy beside a project's file would end up in its repository."""
    return os.path.join(home.named("XDG_STATE_HOME", os.path.join(".local", "state")), "mux", "backups")


def _check_writable(old: Snapshot, status: os.stat_result) -> None:
    """A rename asks only for the directory's permission; what the file itself says counts as well."""
    if not status.st_mode & 0o222:
        raise Refused(f"{old.path} is left alone: it is read-only. `chmod u+w` makes it writable, then repeat this")
    if status.st_nlink > 1:
        raise Refused(
            f"{old.path} is left alone: it has {status.st_nlink} hard links, and replacing it would part them. "
            "Make them symbolic, then repeat this"
        )
    if sys.platform != "win32" and status.st_uid != os.geteuid() != 0:
        raise Refused(f"{old.path} is left alone: it belongs to another user. Run this as that user")


def _back_up(old: Snapshot, directory: str) -> str:
    """Keep what was read, readable to nobody else; of each file the last few."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    origin = hashlib.blake2b(os.fsencode(old.target), digest_size=4).hexdigest()
    prefix = f"{os.path.basename(old.target)}.{origin}."
    backup = os.path.join(directory, prefix + hashlib.blake2b(old.data, digest_size=4).hexdigest())
    descriptor, temporary = tempfile.mkstemp(dir=directory)
    try:
        with open(descriptor, "wb") as file:
            file.write(old.data)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, backup)
    except BaseException:
        os.unlink(temporary)
        raise
    earlier = [os.path.join(directory, name) for name in os.listdir(directory) if name.startswith(prefix)]
    for path in sorted(earlier, key=os.path.getmtime)[:-CONFIG_BACKUPS]:
        os.unlink(path)
    return backup


def _swap(old: Snapshot, status: os.stat_result, data: bytes) -> None:
    directory, name = os.path.split(old.target)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".mux", dir=directory)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if sys.platform != "win32":
                _keep_owner(descriptor, status)
            shutil.copystat(old.target, temporary)
            os.utime(temporary)
            os.fsync(descriptor)
        if os.path.realpath(old.path) != old.target or read(old.path).data != old.data:
            raise Refused(
                f"{old.path} is left alone: something else wrote it just now. Close its host, then repeat this"
            )
        os.replace(temporary, old.target)
    except BaseException:
        os.unlink(temporary)
        raise
    _sync_directory(directory)


if sys.platform != "win32":

    def _keep_owner(descriptor: int, status: os.stat_result) -> None:
        mine = os.fstat(descriptor)
        if (mine.st_uid, mine.st_gid) == (status.st_uid, status.st_gid):
            return
        try:
            os.fchown(descriptor, status.st_uid, status.st_gid)
        except PermissionError:
            # A group that we are not in: the owner is right, as checked before, and the mode still keeps others out.
            return


def _sync_directory(directory: str) -> None:
    """Make the rename outlive a power cut, where directories can be synchronised."""
    if sys.platform == "win32":
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
