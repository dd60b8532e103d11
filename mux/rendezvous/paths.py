"""Where a backend is met: the runtime directory, its checks, the names in it, and a connection to one.

The directory is the same for every host of a user, so it never derives from TMPDIR or XDG_RUNTIME_DIR: some hosts
drop them. A directory that is not ours, or open to others, is refused and never repaired.
"""

from __future__ import annotations

import os
import stat
import sys

from mux.errors import Denied, PathTooLong, RendezvousError, UnsafePath, UsageError
from mux.limits import BACKOFF_CEILING_SECONDS, SUN_PATH_BYTES
from mux.rendezvous import confinement
from mux.rendezvous.sockets import unix_stream
from mux.wire.frames import MAJOR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mux.rendezvous.sockets import Socket

_CS_DARWIN_USER_TEMP_DIR = 65537
_SUFFIX = ".sock"


class Place:
    """The files of one backend: `socket`, and beside it `lock`, `record` (.json), `fail` and `stopped`.

    All are in `directory`. `fail`: why the last start failed. `stopped`: why no session that comes back starts one.

    Raises PathTooLong if `socket` does not fit `sun_path`.
    """

    __slots__ = ("directory", "fail", "lock", "record", "socket", "stopped")

    def __init__(self, socket: str) -> None:
        length = len(os.fsencode(socket))
        if length > SUN_PATH_BYTES:
            raise PathTooLong(f"socket path {socket} has {length} bytes; the limit is {SUN_PATH_BYTES}: shorten it")
        stem = socket.removesuffix(_SUFFIX)
        self.socket = socket
        self.lock = f"{stem}.lock"
        self.record = f"{stem}.json"
        self.fail = f"{stem}.fail"
        self.stopped = f"{stem}.stopped"
        self.directory = os.path.dirname(socket)

    def __repr__(self) -> str:
        return f"Place({self.socket!r})"

    def exists(self) -> bool:
        """Whether the directory is there, and safe. Raises UnsafePath if it is there and not safe."""
        try:
            check_directory(self.directory)
        except FileNotFoundError:
            return False
        return True

    def prepare(self) -> None:
        """Make the directory if only it is missing; check it.

        Raises UnsafePath, Denied, or RendezvousError if it can not be made.
        """
        if self.exists():
            return
        mask = os.umask(0o077)
        try:
            os.mkdir(self.directory, 0o700)
        except FileExistsError:
            pass
        except OSError as error:
            raise unusable(f"cannot make {self.directory}", error) from error
        finally:
            os.umask(mask)
        if not self.exists():
            raise RendezvousError(f"{self.directory} vanished while it was being made")


def unusable(what: str, error: OSError) -> RendezvousError:
    """The error of ours for one of the kernel's: Denied where permission is what is missing."""
    kind = Denied if isinstance(error, PermissionError) else RendezvousError
    return kind(f"{what}: {error.strerror or error}")


def check_directory(path: str) -> None:
    """Guarantees that `path` is a directory, no link, of this user, closed to all others.

    Raises FileNotFoundError if there is none, else UnsafePath.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        advice = "remove it, or name another --socket"
        raise UnsafePath(f"{path} is not a directory of ours ({error.strerror}): {advice}") from error
    try:
        found = os.fstat(fd)
    finally:
        os.close(fd)
    if found.st_uid != os.geteuid():
        raise UnsafePath(f"{path} belongs to uid {found.st_uid}, not to {os.geteuid()}: name another --socket")
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise UnsafePath(
            f"{path} is open to others (mode {mode:04o}): a socket needs a directory that only you can enter (0700). "
            "Name one of your own, or give --socket a name without a slash"
        )


def runtime_directories(*, run: str = "/run/user", tmp: str = "/tmp") -> list[str]:  # noqa: S108
    """Candidates, best first. None need exist but the parent of each."""
    uid = os.geteuid()
    found: list[str] = []
    if sys.platform == "darwin":
        if base := os.confstr(_CS_DARWIN_USER_TEMP_DIR):
            found.append(os.path.join(base, f"mux-{uid}"))
    elif _is_ours(session := f"{run}/{uid}"):
        found.append(f"{session}/mux")
    found.append(f"{tmp}/mux-{uid}")
    return found


def _is_ours(path: str) -> bool:
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def places(socket: str | None = None) -> list[Place]:
    """Where to look for a backend, in order; one is started in the first only.

    `socket`: None for the user's default; with a slash, a path that is used as it is; without, a name in the runtime
    directory. A name gets the wire major, and on Linux the confinement, so that what may not meet does not.

    Raises UsageError for a name that is none, PathTooLong, Denied where the confinement can not be read.
    """
    if socket is not None and "/" in socket:
        return [Place(os.path.abspath(socket))]
    name = "mux" if socket is None else socket.removesuffix(_SUFFIX)
    if name in ("", ".", "..") or "\0" in name:
        raise UsageError(f"--socket {socket!r} is neither a path nor a name")
    mark = confinement.mark()
    full = f"{name}-{MAJOR}-{mark}" if mark else f"{name}-{MAJOR}"
    return [Place(f"{directory}/{full}{_SUFFIX}") for directory in runtime_directories()]


def connected(place: Place) -> Socket | None:
    """A connection to a backend, None where nobody listens.

    Raises BlockingIOError if the backlog is full, Denied where it is forbidden, RendezvousError if it cannot be.
    """
    try:
        sock = unix_stream()
    except OSError as error:
        raise Denied(f"Unix sockets are forbidden here: {error.strerror}") from error
    try:
        sock.settimeout(BACKOFF_CEILING_SECONDS)
        sock.connect(place.socket)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except (BlockingIOError, TimeoutError) as error:
        sock.close()
        raise BlockingIOError(*error.args) from error
    except OSError as error:
        sock.close()
        raise unusable(f"cannot connect to {place.socket}", error) from error
    return sock
