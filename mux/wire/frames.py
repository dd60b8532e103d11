"""Frames between shim and backend: pure, standard library only. The page `PROTOCOL` is the specification.

The shim's start-up time is the user's: nothing here imports more than `struct`.
"""

from __future__ import annotations

from struct import Struct

from mux.errors import WireError
from mux.limits import FRAME_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Frame = tuple[int, int, int, bytes]
    """(kind, flags, seq, payload)"""

MAJOR = 1
"""Changes when an old peer could misread a new one. It is part of every socket's name."""

HEADER = Struct("<BBII")
HEADER_BYTES = HEADER.size
SEQ_LIMIT = 1 << 32

# from the shim
HELLO = 0x01
LINE = 0x02
REPLAY = 0x03
READY = 0x04
EOF = 0x05
PARKED = 0x06
AWAKE = 0x07
# from the backend
WELCOME = 0x81
REFUSE = 0x82
OUT = 0x83
ACK = 0x84
KEEP = 0x85
CLOSED = 0x86
GOAWAY = 0x87
STOPPED = 0x88
PARK = 0x89
BYE = 0x8A

WAKE_BYTE = b"\n"
"""The one frame without a header; no kind has its value."""

# flags of LINE
OVERSIZE = 0x01
# flags of REPLAY
ANSWERED = 0x02
REPEATED = 0x04
# flags of OUT
ASKS = 0x01

ROLE_SESSION = b"session"
ROLE_CONTROL = b"control"
ROLE_PARK = b"park"

NEVER = 0xFFFFFFFF
"""Retry interval of a REFUSE that is final, milliseconds."""

# reasons of a REFUSE that a peer acts on; the text after the colon is for a person
REFUSE_DRAINING = "draining"
REFUSE_DENIED = "denied"
REFUSE_FULL = "full"

_REPLAY_HEAD = Struct("<I")
_REFUSE_HEAD = Struct("<I")
_GOAWAY = Struct("<II")


def frame(kind: int, payload: bytes = b"", *, seq: int = 0, flags: int = 0) -> bytes:
    """One frame as bytes."""
    return HEADER.pack(kind, flags, seq, len(payload)) + payload


class FrameReader:
    """Bytes in, whole frames out, in order; a partial frame waits. Linear in the bytes fed, however cut.

    Raises WireError at a header that announces more than FRAME_BYTES; the reader is then spent.
    """

    __slots__ = ("_chunks", "_head", "_missing", "_rest")

    def __init__(self) -> None:
        self._rest = b""  # part of a header
        self._head = (0, 0, 0)  # of the frame of which a part is missing,
        self._missing = 0  # so many bytes,
        self._chunks: list[bytes | memoryview] = []  # and these are there

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes."""
        frames: list[Frame] = []
        append = frames.append
        unpack = HEADER.unpack_from
        at = 0
        if self._missing:
            at = self._resume(data, append)
        elif self._rest:
            data = self._rest + data
            self._rest = b""
        end = len(data)
        while end - at >= HEADER_BYTES:
            kind, flags, seq, length = unpack(data, at)
            if kind == 0x0A:
                at += 1
                continue
            if length > FRAME_BYTES:
                raise WireError(f"frame kind {kind:#04x} announces {length} bytes; the limit is {FRAME_BYTES}")
            at += HEADER_BYTES
            stop = at + length
            if stop > end:
                self._head = (kind, flags, seq)
                self._missing = stop - end
                self._chunks.append(memoryview(data)[at:])
                return frames
            append((kind, flags, seq, data[at:stop]))
            at = stop
        while at < end and data[at] == 0x0A:
            at += 1
        self._rest = data[at:]
        return frames

    def _resume(self, data: bytes, append: Callable[[Frame], None]) -> int:
        """Go on with the frame that is not whole; returns how much of `data` is its."""
        taken = min(self._missing, len(data))
        self._missing -= taken
        self._chunks.append(data if taken == len(data) else memoryview(data)[:taken])
        if not self._missing:
            kind, flags, seq = self._head
            append((kind, flags, seq, b"".join(self._chunks)))
            self._chunks.clear()
        return taken

    @property
    def buffered(self) -> int:
        """Bytes of an incomplete frame held."""
        return HEADER_BYTES + sum(map(len, self._chunks)) if self._missing else len(self._rest)


def next_seq(seq: int) -> int:
    """The number after `seq`: 1, 2, … 2^32-1, 1. Zero names no line."""
    return seq + 1 if seq + 1 < SEQ_LIMIT else 1


class Hello:
    """What a shim says first. All values are bytes as the kernel gave them; no text decoding happens.

    options: NAME=VALUE as on the command line, without the dashes. environment: NAME=VALUE as in environ.
    limits: NAME=SOFT:HARD, RLIM_INFINITY as -1. session: empty, or the id from an earlier WELCOME.
    """

    __slots__ = ("argv", "cwd", "environment", "limits", "major", "options", "role", "session", "umask", "version")

    def __init__(
        self,
        *,
        role: bytes,
        version: bytes,
        session: bytes = b"",
        options: Sequence[bytes] = (),
        cwd: bytes = b"/",
        argv: Sequence[bytes] = (),
        environment: Sequence[bytes] = (),
        umask: int = 0o022,
        limits: Sequence[bytes] = (),
        major: int = MAJOR,
    ) -> None:
        self.role = role
        self.major = major
        self.version = version
        self.session = session
        self.options = tuple(options)
        self.cwd = cwd
        self.argv = tuple(argv)
        self.environment = tuple(environment)
        self.umask = umask
        self.limits = tuple(limits)

    def encode(self) -> bytes:
        """NUL-separated fields: role, major, version, session, cwd, umask, then four counted lists."""
        fields = [self.role, b"%d" % self.major, self.version, self.session, self.cwd, b"%o" % self.umask]
        for group in (self.options, self.argv, self.limits, self.environment):
            fields.append(b"%d" % len(group))
            fields.extend(group)
        return b"\0".join(fields)

    @classmethod
    def decode(cls, payload: bytes) -> Hello:
        """Raises WireError for anything that `encode` does not produce."""
        fields = iter(payload.split(b"\0"))
        try:
            role, major, version, session, cwd, umask = (next(fields) for _ in range(6))
            groups = [_counted(fields) for _ in range(4)]
        except (StopIteration, RuntimeError, ValueError) as error:
            raise WireError("HELLO is cut short or malformed") from error
        if next(fields, None) is not None:
            raise WireError("HELLO has fields after its end")
        try:
            return cls(
                role=role,
                major=int(major),
                version=version,
                session=session,
                cwd=cwd,
                umask=int(umask, 8),
                options=groups[0],
                argv=groups[1],
                limits=groups[2],
                environment=groups[3],
            )
        except ValueError as error:
            raise WireError("HELLO holds a number that is none") from error


def _counted(fields: Iterator[bytes]) -> list[bytes]:
    count = int(next(fields))
    if count < 0:
        raise ValueError(count)
    return [next(fields) for _ in range(count)]


def replay_payload(blob: bytes, line: bytes) -> bytes:
    """Payload of a REPLAY: the blob of its KEEP (or empty), then the line."""
    return _REPLAY_HEAD.pack(len(blob)) + blob + line


def parse_replay(payload: bytes) -> tuple[bytes, bytes]:
    """(blob, line) of a REPLAY payload. Raises WireError if it is cut short."""
    if len(payload) < 4 or len(payload) < 4 + _REPLAY_HEAD.unpack_from(payload)[0]:
        raise WireError("REPLAY is cut short")
    stop = 4 + _REPLAY_HEAD.unpack_from(payload)[0]
    return payload[4:stop], payload[stop:]


def refuse_payload(retry_ms: int, reason: str) -> bytes:
    """Payload of a REFUSE; `reason` is one of REFUSE_*, with ": text for a person" after it where it helps."""
    return _REFUSE_HEAD.pack(retry_ms) + reason.encode()


def parse_refuse(payload: bytes) -> tuple[int, str]:
    """(retry in milliseconds or NEVER, reason). Raises WireError if it is cut short."""
    if len(payload) < 4:
        raise WireError("REFUSE is cut short")
    return _REFUSE_HEAD.unpack_from(payload)[0], payload[4:].decode(errors="replace")


def goaway_payload(last_seq: int, hold_off_ms: int) -> bytes:
    """Payload of a GOAWAY: lines after `last_seq` were not run; connect again after `hold_off_ms`."""
    return _GOAWAY.pack(last_seq, hold_off_ms)


def parse_goaway(payload: bytes) -> tuple[int, int]:
    """(last accepted seq, hold-off in milliseconds). Raises WireError if it is malformed."""
    if len(payload) != _GOAWAY.size:
        raise WireError("GOAWAY has the wrong size")
    last, hold_off = _GOAWAY.unpack(payload)
    return last, hold_off
