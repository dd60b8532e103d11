"""Connections after their WELCOME or REFUSE: frames in, frames out, and the bounds of one slow or broken peer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from mux import limits
from mux.backend import logs
from mux.backend.outbox import Outbox
from mux.backend.pace import Speaker
from mux.backend.park import Nap, Parking
from mux.backend.portions import Portions, never
from mux.core.events import Event, SessionEof, SessionLine, SessionOpened, SessionReady, SessionReplay
from mux.errors import WireError
from mux.failpoints import ARMED, hit
from mux.limits import CLOSE_SECONDS, OVERSIZE_EDGE_BYTES, SESSION_TURN_LINES
from mux.wire import frames

_pack = frames.HEADER.pack
_OF_THE_HOST = (frames.LINE, frames.REPLAY)


class Connection(asyncio.Protocol):
    """A peer that speaks frames. Ends by `close`, by `drop`, or by the peer; then `lost` is called once.

    What a peer does not read is bounded: HOST_QUEUE_BYTES besides the largest message, or HOST_SLOW_BYTES for
    HOST_SLOW_SECONDS; beyond that the connection is dropped, with a line in the log.
    """

    def __init__(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        pause: Callable[[Sequence[frames.Frame]], float] = never,
    ) -> None:
        """pause: seconds that must pass after such frames before the next are taken."""
        self.name = name
        self._loop = loop
        self._reader = frames.FrameReader()
        self._heard = Portions(loop, self._hear, SESSION_TURN_LINES, pause)
        self.outbox = Outbox(loop, self._written)
        self._transport: asyncio.Transport | None = None
        self._ending: asyncio.TimerHandle | None = None
        self._closing = False
        self._largest = 0
        self.reason = ""  # why it ended, the first that was given; for the log
        self.stirred = True  # something was said either way since somebody last looked

    def received(self, batch: Sequence[frames.Frame], /) -> None:
        """Whole frames from the peer that came together. Raises WireError for one that makes no sense."""
        raise NotImplementedError

    def lost(self) -> None:
        """The connection is gone."""
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        """Whether nothing is taken from the peer any more."""
        return self._closing

    def send(self, kind: int, payload: bytes = b"", seq: int = 0) -> None:
        """Queue one frame; it leaves at the end of this turn of the loop."""
        size = len(payload)
        if size > self._largest:  # noqa: PLR1730 - `max` costs three times this, on the hot path
            self._largest = size
        self.stirred = True
        self.outbox.put((_pack(kind, 0, seq, size), payload))

    def close(self) -> None:
        """Send what is queued, then end the connection, within CLOSE_SECONDS."""
        if self._closing:
            return
        self._closing = True
        self._heard.discard()
        self.outbox.close()
        if self._transport is not None:
            self._transport.close()
            self.end_in(CLOSE_SECONDS, "its host did not read")

    def drop(self, reason: str) -> None:
        """End the connection now; what is queued is lost."""
        logs.event("warning", "connection.dropped", connection=self.name, reason=reason)
        self.because(reason)
        self.abort()

    def because(self, reason: str) -> None:
        """Why it ends, unless that is known already."""
        self.reason = self.reason or reason

    def abort(self) -> None:
        """End the connection now, without a word."""
        self._closing = True
        self._heard.discard()
        self.outbox.discard()
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast: uvloop's transports descend from none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(limits.HOST_SLOW_BYTES)
        self.outbox.open(self._transport)
        self._heard.open(self._transport)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if ARMED:
            hit("backend.frame")
        self.stirred = True
        try:
            self._heard.put(self._reader.feed(data))
        except WireError as error:
            self.drop(str(error))

    def eof_received(self) -> None:
        # A live shim says EOF in a frame: the end of the stream is its death, and nobody reads what is queued.
        self.because("its shim has ended")
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        if exc is not None:
            self.because("its shim has ended")  # reset: it had not read all
        self._heard.discard()
        self.outbox.discard()
        self._transport = None
        if self._ending is not None:
            self._ending.cancel()
        self.lost()

    def pause_writing(self) -> None:
        if not self._closing:
            self.end_in(limits.HOST_SLOW_SECONDS, "its host does not read: too much has waited for too long")

    def resume_writing(self) -> None:
        self._largest = 0
        if not self._closing and self._ending is not None:
            self._ending.cancel()
            self._ending = None

    def _hear(self, batch: Sequence[frames.Frame]) -> None:
        try:
            self.received(batch)
        except WireError as error:
            self.drop(str(error))

    def _written(self, unread: int) -> None:
        if unread > limits.HOST_QUEUE_BYTES + self._largest:
            self.drop("its host does not read: too much waits")

    def end_in(self, seconds: float, reason: str) -> None:
        """Drop the connection after that time, instead of any set before."""
        if self._ending is not None:
            self._ending.cancel()
        self._ending = self._loop.call_later(seconds, self.drop, reason)


@dataclass(frozen=True)
class Peer:
    """Who opened a session: for the status and the log. opened: monotonic seconds."""

    pid: int
    version: bytes
    opened: float


class Owner(Protocol):
    """Who keeps the sessions: the runtime."""

    def dispatch(self, *batch: Event) -> None: ...

    def opened(self, event: SessionOpened, connection: SessionConnection, /) -> None: ...

    def closed(self, session: int, /) -> None: ...

    def unanswered(self, session: int, /) -> int: ...


class SessionConnection(Connection):
    """One session: its frames become events. It is opened as soon as it has a transport, and then closed once.

    park_after: seconds of quiet after which its shim may be asked to sleep; 0: never.
    """

    def __init__(
        self,
        event: SessionOpened,
        peer: Peer,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        parking: Parking,
        park_after: float,
        speaker: Speaker,
    ) -> None:
        super().__init__(f"session-{event.session}", loop, self._pause)
        self._speaker = speaker
        self._paced = False
        self.peer = peer
        self.session = event.session
        self._event = event
        self._parking = parking
        self._park_after = park_after
        self._nap: Nap | None = None
        self._owner = owner
        self._dispatch = owner.dispatch
        self._accepted = 0
        self._away = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._owner.opened(self._event, self)
        if self._park_after:
            self._nap = self._parking.nap(self, self._park_after)

    @property
    def alone(self) -> bool:
        """Whether its server is its own, whatever others ask for."""
        return not self._event.shared

    @property
    def parked(self) -> bool:
        """Whether its shim sleeps, or did a moment ago."""
        return self._nap is not None and self._nap.asleep

    def offer_stdin(self, pid: int, stdin: int) -> bool:
        """A duplicate of the host's end, from process `pid`; whether it is taken, and ours to close then."""
        return self._nap is not None and pid == self.peer.pid and self._nap.offer(stdin)

    def drop(self, reason: str) -> None:
        logs.event("warning", "session.dropped", session=self.session, pid=self.peer.pid, reason=reason)
        self.because(reason)
        self.abort()

    def nudge(self) -> None:
        """WAKE, past whatever is held back."""
        if self._transport is not None:
            self._transport.write(frames.WAKE_BYTE)

    def close(self) -> None:
        if self._nap is None or not self._nap.defers():
            super().close()

    def go_away(self, hold_off_ms: int) -> None:
        """GOAWAY with the last line that was taken; those that arrive from now on are not run."""
        if not self._away:
            self._away = True
            self.send(frames.GOAWAY, frames.goaway_payload(self._accepted, hold_off_ms))

    def received(self, batch: Sequence[frames.Frame], /) -> None:
        events: list[Event] = []
        session = self.session
        for kind, flags, seq, payload in batch:
            if self._away and kind in _OF_THE_HOST:
                continue
            if kind == frames.LINE:
                self._accepted = seq
                if flags or len(payload) > limits.MESSAGE_BYTES:
                    events.append(_edges(session, flags, seq, payload))
                else:
                    events.append(SessionLine(session, seq, payload))
            elif kind == frames.REPLAY:
                self._accepted = seq
                events.append(_replayed(session, flags, seq, payload))
            elif kind == frames.READY:
                events.append(SessionReady(session))
            elif kind == frames.EOF:
                self.because("its host closed its end")
                events.append(SessionEof(session))
            elif self._nap is not None:
                self._dispatch(*events)  # what was said before it slept
                events.clear()
                if kind == frames.PARKED:
                    self._nap.parked()
                elif kind == frames.AWAKE:
                    self._nap.awoke()
        if events:
            self._dispatch(*events)

    def _pause(self, batch: Sequence[frames.Frame]) -> float:
        pause = self._speaker.pause(batch, self._owner.unanswered(self.session))
        if pause and not self._paced:
            self._paced = True
            reason = "it floods while another session works; the limit flood_rate says from where on"
            logs.event("warning", "session.paced", session=self.session, pid=self.peer.pid, reason=reason)
        return pause

    def lost(self) -> None:
        if self._nap is not None:
            self._nap.end()
        self._speaker.leave()
        self._owner.closed(self.session)


def _edges(session: int, flags: int, seq: int, payload: bytes) -> SessionLine:
    """A line of which the shim has kept the ends, or one that it would have cut had it been started with our limit."""
    if len(payload) > limits.MESSAGE_BYTES:
        payload, flags = payload[:OVERSIZE_EDGE_BYTES] + payload[-OVERSIZE_EDGE_BYTES:], frames.OVERSIZE
    return SessionLine(session, seq, payload, bool(flags & frames.OVERSIZE))


def _replayed(session: int, flags: int, seq: int, payload: bytes) -> SessionReplay:
    """Raises WireError."""
    blob, line = frames.parse_replay(payload)
    return SessionReplay(
        session,
        seq,
        line,
        answered=bool(flags & frames.ANSWERED),
        repeated=bool(flags & frames.REPEATED),
        blob=blob,
        oversize=bool(flags & frames.OVERSIZE),
    )
