"""From nothing to a WELCOME: join the backend of a place, or start it.

Slow is not dead: only a free lock means that nobody is there. Whatever happens before WELCOME is a safe retry.
"""

from __future__ import annotations

import os
from select import POLLIN, poll
from time import monotonic

from mux import limits
from mux.errors import AttachTimeout, Denied, NoBackend, RendezvousError, Stopped, WireError
from mux.failpoints import ARMED, hit
from mux.limits import (
    ATTACH_DRAINING_SECONDS,
    ATTACH_EMPTY_SECONDS,
    ATTACH_LOST_SECONDS,
    ATTACH_SECONDS,
    BACKOFF_CEILING_SECONDS,
    BACKOFF_FIRST_SECONDS,
    READ_BYTES,
)
from mux.rendezvous import peer
from mux.rendezvous.paths import connected
from mux.wire.frames import (
    HELLO,
    NEVER,
    REFUSE,
    REFUSE_DENIED,
    REFUSE_DRAINING,
    STOPPED,
    WAKE_BYTE,
    WELCOME,
    FrameReader,
    frame,
    parse_refuse,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from mux.rendezvous.birth import Birth, Start
    from mux.rendezvous.paths import Place
    from mux.rendezvous.sockets import Socket

    Wait = Callable[[Sequence[int], float], Collection[int]]


_NEVER = float("inf")
_FROM_BACKEND = 0x80
"""Kinds of a backend's frames have this bit; a greeting in text has not, and could pass for a long frame."""


class Attached:
    """A connection that was welcomed. `sock` has a timeout set; `frames` came behind WELCOME, `reader` goes on."""

    __slots__ = ("frames", "place", "reader", "session", "sock")

    def __init__(
        self,
        sock: Socket,
        place: Place,
        session: bytes,
        frames: list[tuple[int, int, int, bytes]],
        reader: FrameReader,
    ) -> None:
        self.sock = sock
        self.place = place
        self.session = session
        self.frames = frames
        self.reader = reader


def wait_readable(fds: Sequence[int], seconds: float) -> Collection[int]:
    """Those of `fds` that can be read or have ended, after at most `seconds`; with no `fds`, a pause."""
    waiter = poll()
    for fd in fds:
        waiter.register(fd, POLLIN)
    return [fd for fd, _ in waiter.poll(max(0.0, seconds) * 1000)]


def attach(
    places: Sequence[Place],
    hello: bytes,
    *,
    not_before: float = 0.0,
    resumed: bool = False,
    start: Start | None = None,
    wait: Wait = wait_readable,
) -> Attached:
    """Join the first live backend of `places`; if there is none, start one in `places[0]`.

    No backend is started before the monotonic time `not_before`, the end of the hold-off that a planned exit announced;
    infinity means never, and one look whether somebody is there. A resumed session, which lost its backend, starts none
    after `mux stop`: whoever else starts one brings it back. Every wait goes through `wait`, which may raise to
    give up. Returns within ATTACH_EMPTY_SECONDS where nobody is, ATTACH_LOST_SECONDS where a backend lives whose socket
    is gone, ATTACH_SECONDS where somebody is slow, longer only while a backend drains.

    Raises Stopped if the operator wants it so, Denied, StartFailed, AttachTimeout, UnsafePath or another
    RendezvousError; nothing is left open then.
    """
    if len(hello) > limits.HELLO_BYTES:
        raise RendezvousError(f"arguments and environment have {len(hello)} bytes; the limit is {limits.HELLO_BYTES}")
    places[0].prepare()
    loop = _Loop(places, hello, not_before, start, wait, resumed=resumed)
    try:
        return loop.run()
    finally:
        loop.close()


def connect(places: Sequence[Place], hello: bytes) -> Attached:
    """Join a live backend and never start one. Raises NoBackend if nobody listens, and as `attach` does."""
    for place in places:
        if not place.exists():
            continue
        try:
            sock = connected(place)
        except BlockingIOError as error:
            raise AttachTimeout(f"the backend at {place.socket} is too busy to take a connection") from error
        if sock is not None:
            patience = _Patience()
            patience.somebody()
            loop = _Loop(places, hello, _NEVER, None, wait_readable)
            answer = loop.introduce(sock, place, patience)
            if isinstance(answer, Attached):
                return answer
            raise RendezvousError(f"the backend at {place.socket} is leaving")
    raise NoBackend(f"no backend is running at {places[0].socket}")


class _Patience:
    """How long the loop goes on, and how long it rests between two attempts."""

    __slots__ = ("_begun", "_cut_off_until", "_rest", "_until")

    def __init__(self, not_before: float = 0.0) -> None:
        self._begun = monotonic()
        self._until = self._begun + ATTACH_EMPTY_SECONDS
        if 0.0 < not_before < _NEVER:
            self._until = max(self._begun, not_before) + ATTACH_DRAINING_SECONDS
        self._cut_off_until = _NEVER
        self._rest = BACKOFF_FIRST_SECONDS

    def somebody(self) -> None:
        """There is a lock holder or a listener: slow is not dead."""
        self._cut_off_until = _NEVER
        self._until = max(self._until, self._begun + ATTACH_SECONDS)

    def draining(self) -> None:
        """A backend is leaving, and says so; its successor can not start before it has gone."""
        self._until = max(self._until, min(monotonic() + ATTACH_SECONDS, self._begun + ATTACH_DRAINING_SECONDS))

    def nobody(self) -> None:
        """The lock is held by a backend that is cut off, for all that can be seen: if that stays so, give up soon."""
        self._cut_off_until = min(self._cut_off_until, monotonic() + ATTACH_LOST_SECONDS)

    @property
    def cut_off(self) -> bool:
        """Whether that is what was seen last."""
        return self._cut_off_until != _NEVER

    @property
    def left(self) -> float:
        """Seconds until the loop gives up, never below zero."""
        return max(0.0, min(self._until, self._cut_off_until) - monotonic())

    def rest(self, least: float) -> float:
        """Seconds to rest now: jittered, growing, not beyond the end."""
        jittered = self._rest * (0.5 + os.urandom(1)[0] / 255)
        self._rest = min(self._rest * 2, BACKOFF_CEILING_SECONDS)
        return min(max(jittered, least), self.left)


class _Loop:
    """One call of `attach`."""

    __slots__ = ("_begun", "_birth", "_died", "_hello", "_not_before", "_places", "_resumed", "_start", "_wait")

    def __init__(
        self,
        places: Sequence[Place],
        hello: bytes,
        not_before: float,
        start: Start | None,
        wait: Wait,
        *,
        resumed: bool = False,
    ) -> None:
        self._places = places
        self._hello = hello
        self._not_before = not_before
        self._start = start
        self._wait = wait
        self._resumed = resumed
        self._birth: Birth | None = None
        self._died = False  # one that we started
        self._begun = monotonic()

    def run(self) -> Attached:
        patience = _Patience(self._not_before)
        while True:
            least = 0.0
            try:
                found = self._join()
            except BlockingIOError:
                patience.somebody()  # with a full backlog: busy, and no reason to try the lock
            else:
                if found is None:
                    if self._try_to_start(patience):
                        continue
                else:
                    patience.somebody()
                    answer = self.introduce(*found, patience)
                    if isinstance(answer, Attached):
                        if self._birth is not None:
                            self._birth.serves()
                        return answer
                    least = answer
            if not patience.left:
                raise AttachTimeout(_why(self._places[0], cut_off=patience.cut_off))
            self._wait((), patience.rest(least))

    def close(self) -> None:
        """Let go of the status pipe."""
        if self._birth is not None:
            self._birth.close()
            self._birth = None

    def _join(self) -> tuple[Socket, Place] | None:
        """A connection to the first live listener, in the order of the places. Raises BlockingIOError if it is busy."""
        for number, place in enumerate(self._places):
            if number and not _usable(place):
                continue
            sock = connected(place)
            if sock is not None:
                return sock, place
        return None

    def introduce(self, sock: Socket, place: Place, patience: _Patience) -> Attached | float:
        """Say HELLO, hear the answer. A float: seconds to rest before the next attempt, and `sock` is closed."""
        try:
            if not peer.may_hear(sock, place.socket):
                sock.close()
                return 0.0
            if ARMED:
                hit("shim.connected")
            sock.settimeout(patience.left or BACKOFF_FIRST_SECONDS)
            try:
                sock.sendall(frame(HELLO, self._hello))
            except ConnectionError:
                pass  # a REFUSE may have come before the end
            answer = self._hear(sock, place, patience)
        except ConnectionError:
            answer = 0.0
        except TimeoutError as error:
            sock.close()
            raise AttachTimeout(f"the backend at {place.socket} does not read") from error
        except WireError as error:
            sock.close()
            raise RendezvousError(f"what listens at {place.socket} is no backend of ours: {error}") from error
        except BaseException:
            sock.close()
            raise
        if not isinstance(answer, Attached):
            sock.close()
        return answer

    def _hear(self, sock: Socket, place: Place, patience: _Patience) -> Attached | float:
        reader = FrameReader()
        fd = sock.fileno()
        while True:
            birth = self._birth
            left = patience.left
            ready = self._wait((fd,) if birth is None else (fd, birth.fd), left)
            if fd in ready:
                data = sock.recv(READ_BYTES)
                if not data:
                    return 0.0
                if not reader.buffered and data[0] < _FROM_BACKEND and data[:1] != WAKE_BYTE:
                    raise WireError("it greets in another protocol")
                frames = reader.feed(data)
                for number, (kind, _, _, payload) in enumerate(frames):
                    if kind == WELCOME:
                        if ARMED:
                            hit("shim.welcomed")
                        return Attached(sock, place, payload, frames[number + 1 :], reader)
                    if kind == REFUSE:
                        return _refused(payload, patience)
                    if kind == STOPPED:
                        raise Stopped(payload.decode(errors="replace") or "stopped by the operator")
            elif birth is not None and birth.fd in ready:
                self._heard(birth)
            elif not left:
                raise AttachTimeout(f"the backend at {place.socket} took the connection and did not answer")

    def _try_to_start(self, patience: _Patience) -> bool:
        """Take the lock if it is free and start a backend under it; whether the caller should connect at once."""
        birth = self._birth
        if birth is not None:
            # Refused by the socket of a backend that we started: its end is near, or its word.
            patience.somebody()
            if birth.fd in self._wait((birth.fd,), patience.rest(0.0)):
                self._heard(birth)
            return False
        if self._not_before == _NEVER:
            raise NoBackend(f"no backend is running at {self._places[0].socket}")
        if monotonic() < self._not_before:
            return False
        from mux.rendezvous.birth import begin, is_cut_off  # a shim that joins does not pay for what starts

        self._places[0].prepare()
        self._birth = begin(self._places[0], self._start, resumed=self._resumed)
        if self._birth is None and is_cut_off(self._places[0]):
            patience.nobody()
        else:
            patience.somebody()
        return self._birth is not None

    def _heard(self, birth: Birth) -> None:
        """The status pipe has something."""
        reason = birth.hear()
        if reason is None:
            return
        if not reason:
            birth.serves()
        self.close()
        if reason and not self._was_killed(reason):
            raise birth.failed(reason)

    def _was_killed(self, reason: str) -> bool:
        """Whether to try again: after a death without a word, which may have been a kill, once and for a while."""
        from mux.rendezvous.birth import DIED

        if reason != DIED:
            return False
        again = not self._died or monotonic() < self._begun + ATTACH_EMPTY_SECONDS
        self._died = True
        return again


def _why(place: Place, *, cut_off: bool) -> str:
    """What to say when the time is over."""
    if not cut_off:
        return f"no backend at {place.socket} answered in time"
    again = "sessions are shared again when those that it serves have ended"
    return f"{place.socket} was removed or replaced while its backend runs; {again}"


def _usable(place: Place) -> bool:
    """A later place that is not there, or not safe, is nobody's: others can make it, and must not stop us."""
    try:
        return place.exists()
    except RendezvousError:
        return False


def _refused(payload: bytes, patience: _Patience) -> float:
    """Seconds until a retry makes sense. Raises Denied if none does."""
    retry_ms, reason = parse_refuse(payload)
    kind, _, text = reason.partition(":")
    if retry_ms == NEVER or kind == REFUSE_DENIED:
        raise Denied(text.strip() or f"the backend refuses: {kind}")
    if kind == REFUSE_DRAINING:
        patience.draining()
    return retry_ms / 1000
