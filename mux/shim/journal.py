"""What the host has said and nobody has settled: enough to go on with the next backend when this one dies. Pure.

A line is *sent* once its whole frame has left: a backend acts on whole frames only, so one of which a part is missing
was not run and may be sent again as new. Of a line that was sent the effect is unknown, and it goes as REPLAY.
"""

from __future__ import annotations

from struct import Struct

from mux import limits
from mux.wire.frames import (
    ANSWERED,
    HEADER,
    HEADER_BYTES,
    LINE,
    OVERSIZE,
    READY,
    REPEATED,
    REPLAY,
    SEQ_LIMIT,
    frame,
    next_seq,
    replay_payload,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_pack = HEADER.pack

_COUNTERS = Struct("<III")
_ENTRY = Struct("<IBII")
_KEPT = 0x80
"""A flag of a saved line beside those of REPLAY: it has a blob, if an empty one."""


class Journal:
    """Lines by seq, in the order in which the host wrote them. `last`: the newest seq given."""

    __slots__ = (
        "_answered",
        "_blobs",
        "_floor",
        "_limit",
        "_lines",
        "_oversize",
        "_repeated",
        "_sent",
        "bytes",
        "last",
    )

    def __init__(self, limit: int = 0) -> None:
        """limit: bytes, 0 for the configured ones."""
        self._limit = limit or limits.JOURNAL_BYTES
        self._lines: dict[int, bytes] = {}
        self._blobs: dict[int, bytes] = {}
        self._answered: set[int] = set()
        self._repeated: set[int] = set()
        self._oversize: set[int] = set()
        self._sent = 0
        self._floor = 0
        self.last = 0
        self.bytes = 0

    @property
    def full(self) -> bool:
        """Whether the bound on unsettled bytes is reached: read nothing more from the host but the line it is in."""
        return self.bytes >= self._limit

    @property
    def outstanding(self) -> int:
        """Lines that are not settled; answered lines that are kept do not count."""
        return len(self._lines) - len(self._answered)

    @property
    def settled(self) -> bool:
        """Whether nothing is held but lines that are kept."""
        return len(self._lines) == len(self._blobs)

    def accept(self, lines: Sequence[bytes], *, oversize: bool = False) -> bytes:
        """Number and remember lines of the host; their LINE frames, for a connection that is free to take them now.

        `oversize`: the first of them is cut to its edges.
        """
        parts: list[bytes] = []
        add = parts.append
        known = self._lines
        seq = self.last
        total = 0
        for line in lines:
            seq = next_seq(seq)
            while seq in known:  # kept since before the numbers wrapped
                seq = next_seq(seq)
            known[seq] = line
            size = len(line)
            total += size
            if oversize:
                self._oversize.add(seq)
            add(_pack(LINE, OVERSIZE if oversize else 0, seq, size))
            add(line)
            oversize = False
        self.last = seq
        self.bytes += total
        return b"".join(parts)

    def settle(self, seq: int) -> None:
        """The host has the answer to `seq`. A kept line stays for the next backend, any other is forgotten."""
        if self._blobs and seq in self._blobs:
            if seq not in self._answered:
                self._answered.add(seq)
                self.bytes -= len(self._lines[seq])
            return
        line = self._lines.pop(seq, None)
        if line is not None:
            self.bytes -= len(line)
            if self._repeated or self._oversize:
                self._repeated.discard(seq)
                self._oversize.discard(seq)

    def forget(self, seq: int) -> None:
        """ACK: nothing of `seq` is needed any more, kept or not."""
        self._blobs.pop(seq, None)
        if seq in self._answered:
            self._answered.discard(seq)
            self.bytes += len(self._lines[seq])
        self.settle(seq)

    def keep(self, seq: int, blob: bytes) -> None:
        """KEEP: `seq` is needed to rebuild the session, answered or not. Without that line, nothing."""
        if seq in self._lines:
            self._blobs[seq] = blob

    def sent_through(self, seq: int) -> None:
        """Every LINE up to `seq` has left whole."""
        self._sent = seq

    def left(self, chunk: bytes, count: int) -> None:
        """The first `count` bytes of `chunk`, a sequence of frames, have left; the rest never will if it is a part."""
        at = 0
        while at + HEADER_BYTES <= count:
            kind, _, seq, length = HEADER.unpack_from(chunk, at)
            at += HEADER_BYTES + length
            if at > count:
                return
            if kind == LINE:
                self._sent = seq
            elif kind == REPLAY and seq in self._lines:
                self._repeated.add(seq)

    def not_run(self, last: int) -> None:
        """GOAWAY: of the lines first sent on this connection, those after `last` were not run: never sent."""
        if self._after(self._sent, last):
            self._sent = last if self._after(last, self._floor) else self._floor

    def withdraw(self, *, sent: bool = False) -> list[bytes]:
        """Take out the lines that were never sent: they were not run, and can be answered here.

        sent: instead, those that were, and are neither answered nor kept: what became of them is unknown.
        """
        done = self._answered | self._blobs.keys()
        chosen = [seq for seq in self._lines if seq not in done and self._after(seq, self._sent) != sent]
        lines = [self._lines[seq] for seq in chosen]
        for seq in chosen:
            self.forget(seq)
        return lines

    def resume(self) -> Iterator[bytes]:
        """The frames that a new connection of an old session begins with: REPLAYs ascending, READY, LINEs never sent.

        Lines settled while the frames are drawn are left out. What is sent from here on belongs to that connection.
        """
        sent = self._floor = self._sent
        unsettled = list(self._lines)
        old = [seq for seq in unsettled if seq in self._answered or not self._after(seq, sent)]
        for seq in old:
            if seq in self._lines:
                yield self._replay(seq)
        yield frame(READY)
        for seq in unsettled[len(old) :]:
            if seq in self._lines:
                yield frame(LINE, self._lines[seq], seq=seq, flags=OVERSIZE if seq in self._oversize else 0)

    def saved(self) -> bytes:
        """All of it, for `restored`."""
        parts = [_COUNTERS.pack(self.last, self._sent, self._floor)]
        for seq, line in self._lines.items():
            flags = self._flags(seq) | (_KEPT if seq in self._blobs else 0)
            blob = self._blobs.get(seq, b"")
            parts += (_ENTRY.pack(seq, flags, len(blob), len(line)), blob, line)
        return b"".join(parts)

    @classmethod
    def restored(cls, data: bytes) -> Journal:
        """The journal that `saved` gave. Raises struct.error for anything else."""
        journal = cls()
        journal.last, journal._sent, journal._floor = _COUNTERS.unpack_from(data)
        at = _COUNTERS.size
        while at < len(data):
            seq, flags, blob, line = _ENTRY.unpack_from(data, at)
            at += _ENTRY.size
            journal._lines[seq] = data[at + blob : at + blob + line]
            if flags & _KEPT:
                journal._blobs[seq] = data[at : at + blob]
            for flag, which in ((OVERSIZE, journal._oversize), (REPEATED, journal._repeated)):
                if flags & flag:
                    which.add(seq)
            if flags & ANSWERED:
                journal._answered.add(seq)
            else:
                journal.bytes += line
            at += blob + line
        return journal

    def _after(self, seq: int, than: int) -> bool:
        """Whether `seq` was given after `than`. Seen from the newest: numbers wrap, and a kept line lives for days."""
        return (self.last - seq) % SEQ_LIMIT < (self.last - than) % SEQ_LIMIT

    def _replay(self, seq: int) -> bytes:
        payload = replay_payload(self._blobs.get(seq, b""), self._lines[seq])
        return frame(REPLAY, payload, seq=seq, flags=self._flags(seq))

    def _flags(self, seq: int) -> int:
        """Of a REPLAY."""
        flags = OVERSIZE if seq in self._oversize else 0
        if seq in self._answered:
            flags |= ANSWERED
        if seq in self._repeated:
            flags |= REPEATED
        return flags
