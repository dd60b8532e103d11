"""The loop of a session: the host's lines to the backend, the backend's lines to the host, while the host lives.

One thread, one `poll`, and no wait without an end. The backend may die at any point of it: what it left unsettled goes
to the next one. The host may stop reading while it writes: nothing here blocks on it.
"""

from __future__ import annotations

import os
from select import POLLIN, POLLOUT, poll
from time import monotonic

from mux.errors import RendezvousError, Stopped, WireError
from mux.failpoints import ARMED, hit
from mux.limits import (
    BACKOFF_CEILING_SECONDS,
    EOF_WAIT_SECONDS,
    HEAP_BLOCK_BYTES,
    READ_BYTES,
    SHIM_QUEUE_BYTES,
    SMALL_READ_BYTES,
)
from mux.shim.breaker import Breaker, jittered, longer
from mux.shim.host import HostGone, HostOutput
from mux.shim.journal import Journal
from mux.shim.link import Link
from mux.shim.splitter import Splitter
from mux.wire.frames import ACK, AWAKE, BYE, EOF, GOAWAY, KEEP, OUT, PARK, STOPPED, frame, parse_goaway

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from mux.rendezvous.attach import Attached, Wait
    from mux.rendezvous.sockets import Socket
    from mux.shim.link import Joined
    from mux.wire.frames import Frame

    Attach = Callable[[bytes, float, Wait], Attached]
    Park = Callable[[Socket, bytes, Journal, Breaker], None]
    Left = tuple[Journal, Breaker]

STDIN = 0
STDOUT = 1
_NEVER = float("inf")


class _Leave(Exception):
    """The session is over; the argument is the exit code."""


class Relay:
    """A session on stdin and stdout. `attach(session, not_before, wait)` reaches a backend, and may start one.

    `park(socket, session, journal, breaker)` answers PARK and does not return, if all goes well. `woken`: what a
    session had that was parked; `joined` is its connection then.
    """

    def __init__(self, joined: Joined, attach: Attach, park: Park, woken: Left | None = None) -> None:
        self._attach = attach
        self._park = park
        self._woken = woken is not None
        self._journal, self._breaker = woken or (Journal(), Breaker())
        self._splitter = Splitter()
        self._output = HostOutput(STDOUT)
        self._poll = poll()
        self._interest: dict[int, int] = {}
        self._link: Link | None = None
        self._first = joined
        self._size = SMALL_READ_BYTES  # of the next read of stdin
        self._session = b""
        self._not_before = 0.0  # no backend is started earlier: GOAWAY and STOPPED say so
        self._ended = False  # the host's input is over
        self._owed = _NEVER  # how many lines had no answer since then, at the least
        self._deadline = _NEVER  # when to leave, whatever is owed
        self._offline = ""  # why no backend can be reached; "" while one is looked for, or there

    def run(self) -> int:
        """Relay until the host is gone; the exit code. The backend may come and go meanwhile."""
        bytearray(HEAP_BLOCK_BYTES)  # once it is freed, which is at once, glibc keeps as much as a backend's heap does
        try:
            self._adopt(self._first)
            if self._woken:
                self._stay_awake()
            while True:
                self._pump(_NEVER)
                self._reattach()
        except HostGone:
            return 0
        except _Leave as leave:
            return int(leave.args[0])
        finally:
            self._output.close()

    # --- with a backend -------------------------------------------------------------------

    def _adopt(self, joined: Joined) -> None:
        """Go on with a connection: replay first, if the session is an old one."""
        link = self._link = Link(joined, self._journal)
        if self._session:
            link.queue(self._opening())
        self._session = joined.session
        self._not_before = 0.0
        self._offline = ""
        if not self._ended:
            self._deadline = _NEVER
        self._heed(link, joined.frames)
        self._flush()

    def _opening(self) -> Iterator[bytes]:
        yield from self._journal.resume()
        if self._ended:
            yield frame(EOF)

    def _pump(self, until: float) -> None:
        """Relay until the connection is lost, or, without one, until `until`."""
        online = self._link is not None
        while (self._link is not None) == online:
            self._express_interest()
            end = min(until, self._deadline) if self._ended else until
            for fd, event in self._poll.poll(None if end == _NEVER else _milliseconds(end - monotonic())):
                if fd == STDIN:
                    self._read_host()
                elif fd == STDOUT:
                    self._write_host(event)
                elif self._link is not None:
                    if event & ~POLLOUT:
                        self._receive(self._link)
                    if event & POLLOUT:
                        self._flush()
            if self._ended:
                self._leave_if_done()
            if until != _NEVER and monotonic() >= until:
                return

    def _express_interest(self) -> None:
        """What to poll for now. What is not wanted is not registered: a hang-up that nobody reads would spin."""
        link = self._link
        clear = link is None or link.held or link.idle
        hungry = clear and not self._ended and (not self._journal.full or self._splitter.unfinished)
        self._watch(STDIN, POLLIN if hungry else None)
        self._watch(STDOUT, POLLOUT if self._output.queued else 0)
        if link is not None:
            mask = POLLIN if self._output.queued < SHIM_QUEUE_BYTES else 0
            if not link.idle:
                mask |= POLLOUT
            self._watch(link.fd, mask or None)

    def _watch(self, fd: int, mask: int | None) -> None:
        if self._interest.get(fd) == mask:
            return
        if mask is None:
            del self._interest[fd]
            self._poll.unregister(fd)
        else:
            self._interest[fd] = mask
            self._poll.register(fd, mask)

    def _receive(self, link: Link) -> None:
        frames = link.receive()
        if frames is None:
            self._close(link)
        else:
            self._heed(link, frames)

    def _heed(self, link: Link, frames: Sequence[Frame]) -> None:
        try:
            self._take(frames)
        except WireError:
            self._close(link)

    def _take(self, frames: Sequence[Frame]) -> None:
        """Act on whole frames. Raises WireError or HostGone, and leaves at BYE."""
        lines: list[bytes] = []
        settle = self._journal.settle
        park = False
        for kind, _, seq, payload in frames:
            if kind == OUT:
                lines.append(payload)
                if seq:
                    settle(seq)
            elif kind == ACK:
                self._journal.forget(seq)
            elif kind == KEEP:
                self._journal.keep(seq, payload)
            elif kind == GOAWAY:
                last, hold_off = parse_goaway(payload)
                self._hold(monotonic() + hold_off / 1000)
                self._journal.not_run(last)
            elif kind == STOPPED:
                self._hold(_NEVER)
                self._offline = payload.decode(errors="replace") or "the backend was stopped"
            elif kind == PARK:
                park = True
            elif kind == BYE and self._ended:
                self._finish(b"".join(lines), payload[0] if payload else 0)
        if lines:
            self._output.put(b"".join(lines))
        if park:
            self._rest()

    def _rest(self) -> None:
        """PARK: the backend says nothing until it has PARKED or AWAKE. This process is a shell then, or goes on."""
        link = self._link
        if link is None or link.held:
            return
        said = link.idle and not self._output.queued
        heard = not self._ended and not self._splitter.unfinished and link.between_frames
        if said and heard and self._journal.settled:
            self._park(link.sock, self._session, self._journal, self._breaker)
        self._stay_awake()

    def _stay_awake(self) -> None:
        if self._link is not None and not self._link.held:
            self._link.queue(iter((frame(AWAKE),)))
            self._flush()

    def _hold(self, not_before: float) -> None:
        if self._link is not None:
            self._link.hold()
        self._not_before = not_before

    # --- the host -------------------------------------------------------------------------

    def _read_host(self) -> None:
        try:
            data = os.read(STDIN, self._size)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a terminal that hung up, a reset socket, a directory: no input will come
        if ARMED:
            hit("shim.line")
        self._size = READ_BYTES if len(data) >= SMALL_READ_BYTES else SMALL_READ_BYTES
        if data:
            lines, oversize = self._splitter.feed(data)
        else:
            lines, oversize = self._splitter.end()
            self._ended = True
            self._deadline = monotonic() + EOF_WAIT_SECONDS
        if self._offline:
            self._answer(lines)
        elif lines:
            self._say(self._journal.accept(lines, oversize=oversize))
        if self._ended and self._link is not None and not self._link.held:
            self._link.queue(iter((frame(EOF),)))
            self._flush()

    def _say(self, chunk: bytes) -> None:
        """Send frames that the journal has just made; held, or without a connection, they leave it later."""
        link = self._link
        if link is None or link.held:
            return
        try:
            link.say(chunk)
        except OSError:
            link.hold()  # what the backend wrote before it went is still to be read; then comes the end

    def _flush(self) -> None:
        link = self._link
        if link is None:
            return
        try:
            link.flush()
        except OSError:
            link.hold()

    def _write_host(self, event: int) -> None:
        self._output.flush()
        if event & ~POLLOUT:
            raise HostGone
        if self._ended:
            self._deadline = monotonic() + EOF_WAIT_SECONDS

    def _leave_if_done(self) -> None:
        """After the host's end of input: leave when nothing is owed and all is written, or when no more comes of it."""
        said = self._link is None or self._link.idle
        owed = self._journal.outstanding
        if (said and not owed and not self._output.queued) or monotonic() >= self._deadline:
            raise _Leave(0)
        if owed < self._owed:
            self._owed = owed
            self._deadline = monotonic() + EOF_WAIT_SECONDS

    def _finish(self, last: bytes, code: int) -> None:
        """BYE: write what the host has not got yet, and leave with the server's exit code."""
        self._output.put(last)
        while self._output.queued and (left := self._deadline - monotonic()) > 0:
            self._wait((), left)
        raise _Leave(code)

    # --- without a backend ----------------------------------------------------------------

    def _close(self, link: Link) -> None:
        self._watch(link.fd, None)
        link.close()
        self._link = None

    def _reattach(self) -> None:
        """Reach a backend, however long it takes; answer the host meanwhile, once it is known to take long."""
        planned = self._not_before > 0.0
        pause = 0.0 if planned else self._breaker.died(monotonic())
        self._offline = self._offline or ("" if planned else self._breaker.reason)
        if self._offline:
            self._answer(self._journal.withdraw())
            self._pump(monotonic() + (pause or BACKOFF_CEILING_SECONDS))
        elif pause:
            self._wait((), jittered(pause))
        pause = 0.0
        while True:
            try:
                attached = self._attach(self._session, self._not_before, self._wait)
            except Stopped as error:
                self._not_before = _NEVER
                self._offline = str(error)
                self._answer(self._journal.withdraw(sent=True), sent=True)
            except (RendezvousError, OSError) as error:
                if self._not_before != _NEVER:
                    self._offline = str(error)
            else:
                self._adopt(attached)
                return
            self._answer(self._journal.withdraw())
            pause = longer(pause)
            self._pump(monotonic() + jittered(pause))

    def _wait(self, fds: Sequence[int], seconds: float) -> Collection[int]:
        """Wait for `fds` on behalf of `attach`, writing to the host meanwhile. Raises HostGone, leaves at its end.

        A host that hangs up is not read: it gets EOF_WAIT_SECONDS, like one whose end of input was read.
        """
        waiter = poll()
        for fd in fds:
            waiter.register(fd, POLLIN)
        waiter.register(STDOUT, POLLOUT if self._output.queued else 0)
        if self._deadline == _NEVER:
            waiter.register(STDIN, 0)
        ready: list[int] = []
        for fd, event in waiter.poll(_milliseconds(min(seconds, self._deadline - monotonic()))):
            if fd == STDIN:
                self._deadline = monotonic() + EOF_WAIT_SECONDS
            elif fd == STDOUT:
                self._write_host(event)
            else:
                ready.append(fd)
        if monotonic() >= self._deadline:
            raise _Leave(0)
        return ready

    def _answer(self, lines: Sequence[bytes], *, sent: bool = False) -> None:
        if not lines:
            return
        from mux.shim.offline import answer

        answers, held = answer(lines, self._offline, sent=sent)
        if held:
            self._journal.accept(held)
        if answers:
            self._output.put(answers)


def _milliseconds(seconds: float) -> float:
    return max(0.0, seconds) * 1000
