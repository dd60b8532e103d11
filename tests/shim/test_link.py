"""One connection: what leaves whole counts as sent, what comes whole comes out, and nothing here waits."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from mux.limits import FRAME_BYTES, MIB, READ_BYTES, SMALL_READ_BYTES
from mux.rendezvous.sockets import Socket
from mux.shim.journal import Journal
from mux.shim.link import Link
from mux.wire.frames import HEADER, LINE, OUT, FrameReader, frame
from tests.shim.backend import Frame

LONG = b"x" * (2 * MIB)
"""More than a socket takes at once."""


class Joined:
    """A connection that was welcomed."""

    def __init__(self, sock: Socket) -> None:
        self.sock = sock
        self.session = b"s"
        self.frames: list[Frame] = []
        self.reader = FrameReader()


class Ends:
    """A link and the backend's end of its socket."""

    def __init__(self) -> None:
        ours, self.backend = socket.socketpair()
        self.backend.setblocking(False)
        self.journal = Journal()
        self.link = Link(Joined(ours), self.journal)
        self._reader = FrameReader()

    def pass_on(self) -> list[bytes]:
        """Flush and read until all has left: the payloads that the backend gets."""
        found: list[bytes] = []
        while True:
            self.link.flush()
            last = self.link.idle
            with contextlib.suppress(BlockingIOError):
                while data := self.backend.recv(MIB):
                    found += [payload for _, _, _, payload in self._reader.feed(data)]
            if last:
                return found

    def fill(self) -> None:
        """Send until the socket takes no more: empty lines, which the backend's reader skips."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.link.sock.send(b"\n" * 4096)

    def say(self, *lines: bytes) -> None:
        self.link.say(self.journal.accept(lines))


@pytest.fixture
def ends() -> Iterator[Ends]:
    pair = Ends()
    yield pair
    pair.link.close()
    pair.backend.close()


def lines(*payloads: bytes) -> Iterator[bytes]:
    return (frame(LINE, payload) for payload in payloads)


# --- out ----------------------------------------------------------------------------------------


def test_what_leaves_at_once_is_sent_and_the_link_is_idle(ends: Ends) -> None:
    ends.say(b"a", b"b")
    assert ends.link.idle
    assert ends.pass_on() == [b"a", b"b"]
    assert ends.journal.withdraw(sent=True) == [b"a", b"b"]


def test_what_does_not_leave_at_once_leaves_whole_and_once(ends: Ends) -> None:
    ends.say(b"a", LONG)
    assert not ends.link.idle
    assert ends.pass_on() == [b"a", LONG]
    assert ends.journal.withdraw(sent=True) == [b"a", LONG]


def test_a_full_socket_takes_nothing_and_nothing_is_lost(ends: Ends) -> None:
    ends.fill()
    ends.say(b"a")
    ends.link.flush()
    assert not ends.link.idle
    assert ends.pass_on() == [b"a"]


def test_a_line_of_which_a_part_has_left_counts_as_never_sent_once_the_link_is_closed(ends: Ends) -> None:
    ends.say(b"whole", LONG)
    ends.link.close()
    assert ends.journal.withdraw(sent=True) == [b"whole"]
    assert ends.journal.withdraw() == [LONG]
    assert ends.link.sock.fileno() == -1


def test_queued_frames_leave_behind_what_was_said_in_the_order_of_their_queues(ends: Ends) -> None:
    ends.say(LONG)
    ends.link.queue(lines(b"one", b"two"))
    ends.link.queue(lines(b"three"))
    assert not ends.link.idle
    assert ends.pass_on() == [LONG, b"one", b"two", b"three"]


def test_a_queue_without_frames_is_nothing_to_send(ends: Ends) -> None:
    ends.link.queue(lines())
    ends.link.flush()
    assert ends.link.idle


@pytest.mark.parametrize("size", [100, 10_000, READ_BYTES * 2])
def test_queued_frames_are_drawn_a_reads_worth_at_a_time(ends: Ends, size: int) -> None:
    drawn = 0

    def endless() -> Iterator[bytes]:
        nonlocal drawn
        while True:
            chunk = frame(LINE, b"x" * size)
            drawn += len(chunk)
            yield chunk

    ends.fill()
    ends.link.queue(endless())
    ends.link.flush()
    assert READ_BYTES <= drawn < READ_BYTES + size + 2 * HEADER.size


def test_frames_drawn_later_are_those_that_are_still_needed_then(ends: Ends) -> None:
    ends.journal.accept([LONG, b"settled meanwhile", b"needed"])
    ends.fill()
    ends.link.queue(ends.journal.resume())
    ends.link.flush()
    ends.journal.settle(2)
    assert ends.pass_on() == [b"", LONG, b"needed"], "a READY, and two LINEs"


def test_a_held_link_sends_nothing_more(ends: Ends) -> None:
    ends.fill()
    ends.say(b"said")
    ends.link.queue(lines(b"queued"))
    before = ends.link.held
    ends.link.hold()
    assert (before, ends.link.held, ends.link.idle) == (False, True, True)
    assert ends.pass_on() == []
    assert ends.journal.withdraw() == [b"said"]


def test_what_is_said_to_a_backend_that_is_gone_was_never_sent(ends: Ends) -> None:
    ends.backend.close()
    with pytest.raises(BrokenPipeError):
        ends.say(b"a")
    assert not ends.link.idle
    ends.link.close()
    assert ends.journal.withdraw() == [b"a"]


def test_a_backend_that_goes_while_something_is_on_its_way_is_noticed(ends: Ends) -> None:
    ends.say(LONG)
    ends.backend.close()
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        ends.link.flush()


# --- in -----------------------------------------------------------------------------------------


def test_nothing_to_read_is_no_frame_and_no_end(ends: Ends) -> None:
    assert ends.link.receive() == []


def test_frames_come_out_whole_and_a_part_waits(ends: Ends) -> None:
    first, second = frame(OUT, b"a", seq=1), frame(OUT, b"b", seq=2)
    ends.backend.sendall(first + second[:-1])
    assert ends.link.receive() == [(OUT, 0, 1, b"a")]
    assert not ends.link.between_frames
    ends.backend.sendall(second[-1:])
    assert ends.link.receive() == [(OUT, 0, 2, b"b")]
    assert ends.link.between_frames


def test_a_read_is_small_while_little_comes_and_large_after_a_full_one(ends: Ends) -> None:
    many = 3 * SMALL_READ_BYTES // HEADER.size
    ends.backend.sendall(frame(OUT) * many)
    first, second = ends.link.receive() or [], ends.link.receive() or []
    assert len(first) == SMALL_READ_BYTES // HEADER.size
    assert len(first) + len(second) == many
    ends.backend.sendall(frame(OUT))
    assert len(ends.link.receive() or []) == 1
    ends.backend.sendall(frame(OUT) * many)
    assert len(ends.link.receive() or []) == len(first)


def test_a_backend_that_has_closed_is_gone(ends: Ends) -> None:
    ends.backend.close()
    assert ends.link.receive() is None


def test_a_backend_that_left_things_unread_is_gone_too(ends: Ends) -> None:
    ends.say(b"unread")
    ends.backend.close()
    assert ends.link.receive() is None


def test_who_announces_more_than_a_frame_may_hold_is_none_of_ours(ends: Ends) -> None:
    ends.backend.sendall(HEADER.pack(OUT, 0, 0, FRAME_BYTES + 1))
    assert ends.link.receive() is None
