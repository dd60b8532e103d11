"""What a parked shim leaves for the one that wakes in its place: a file without a name, in memory where the kernel can.

u16 format, u16 wire major, then fields of a u32 length each: session id, HELLO, socket as configured, options of a
backend, limits, journal, deaths of backends. The two numbers stand first in every format.
"""

from __future__ import annotations

import os
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is a class

from mux.errors import WireError
from mux.shim.session import Session
from mux.wire.frames import MAJOR, Hello

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mux.shim.breaker import Breaker
    from mux.shim.journal import Journal

FORMAT = 2
"""Grows with every change. The format before this one stays readable: an upgrade finds sessions parked.

Format 1 has no deaths.
"""

CONTROL = 3
SAVED = 4
"""The descriptors of a parked shim: its connection, and this file. dash takes single digits only in a redirection."""

_HEAD = Struct("<HH")
_LENGTH = Struct("<I")
_NO_SOCKET = b""
_NO_DEATHS = b""


class Unreadable(Exception):
    """Another version wrote it."""


def save(directory: str, session: Session, identity: bytes, journal: Journal, breaker: Breaker) -> int:
    """A descriptor to read it from, close-on-exec. directory: ours alone. Raises OSError."""
    limits = "\0".join(f"{name}={value}" for name, value in session.limits.items())
    fields = (
        identity,
        session.hello.encode(),
        _NO_SOCKET if session.socket is None else os.fsencode(session.socket),
        os.fsencode("\0".join(session.backend)),
        limits.encode(),
        journal.saved(),
        breaker.saved(),
    )
    data = _HEAD.pack(FORMAT, MAJOR) + b"".join(part for field in fields for part in (_LENGTH.pack(len(field)), field))
    fd = _nameless(directory)
    try:
        at = 0
        while at < len(data):
            at += os.pwrite(fd, data[at:], at)
    except BaseException:
        os.close(fd)
        raise
    return fd


def restore(fd: int) -> tuple[Session, bytes, bytes, bytes, bool]:
    """(session, its id, journal and deaths for `restored` of both, whether the connection still speaks our wire).

    Raises Unreadable.
    """
    data = _content(fd)
    try:
        found, major = _HEAD.unpack_from(data)
        if found not in (FORMAT, FORMAT - 1):
            raise Unreadable(f"format {found}")
        fields = _fields(data)
        if found < FORMAT:
            fields.append(_NO_DEATHS)
        identity, hello, socket, backend, limits, journal, deaths = fields
        session = Session(
            Hello.decode(hello),
            os.fsdecode(socket) if socket != _NO_SOCKET else None,
            [os.fsdecode(option) for option in backend.split(b"\0") if option],
            dict(_limit(entry) for entry in limits.decode().split("\0") if entry),
        )
    except (StructError, ValueError, WireError) as error:
        raise Unreadable(str(error)) from error
    return session, identity, journal, deaths, major == MAJOR


def _nameless(directory: str) -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("mux-shim")
    path = os.path.join(directory, f"parked-{os.getpid()}-{os.urandom(8).hex()}")
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return fd


def _content(fd: int) -> bytes:
    parts: list[bytes] = []
    at = 0
    while part := os.pread(fd, 1 << 20, at):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _fields(data: bytes) -> list[bytes]:
    """Raises ValueError if they do not end where the data does."""
    found: list[bytes] = []
    at = _HEAD.size
    while at < len(data):
        length = _LENGTH.unpack_from(data, at)[0]
        at += _LENGTH.size
        found.append(data[at : at + length])
        at += length
    if at != len(data):
        raise ValueError("it is cut short")
    return found


def _limit(entry: str) -> tuple[str, int | float]:
    name, _, value = entry.partition("=")
    return name, float(value) if "." in value else int(value)
