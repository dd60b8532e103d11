"""The journal says to a new connection exactly what the old one left open."""

from __future__ import annotations

from mux.limits import JOURNAL_BYTES, MESSAGE_BYTES
from mux.shim.journal import Journal
from mux.wire.frames import (
    ANSWERED,
    LINE,
    OVERSIZE,
    READY,
    REPEATED,
    REPLAY,
    FrameReader,
    frame,
    parse_replay,
)

Frame = tuple[int, int, int, bytes]


def frames(chunk: bytes) -> list[Frame]:
    return FrameReader().feed(chunk)


def resumed(journal: Journal) -> list[Frame]:
    """What a new connection is told, all of which leaves."""
    chunk = b"".join(journal.resume())
    journal.left(chunk, len(chunk))
    return frames(chunk)


def sent(journal: Journal, *lines: bytes) -> bytes:
    chunk = journal.accept(lines)
    journal.sent_through(journal.last)
    return chunk


def test_lines_are_numbered_from_one_and_framed_verbatim() -> None:
    journal = Journal()
    assert frames(journal.accept([b"a", b"bb\r"])) == [(LINE, 0, 1, b"a"), (LINE, 0, 2, b"bb\r")]
    assert frames(journal.accept([b""])) == [(LINE, 0, 3, b"")]
    assert (journal.bytes, journal.outstanding) == (4, 3)


def test_a_settled_line_is_forgotten_and_settled_once() -> None:
    journal = Journal()
    sent(journal, b"a", b"b")
    for _ in range(2):
        journal.settle(1)
    assert (journal.bytes, journal.outstanding) == (1, 1)
    assert [entry[2] for entry in resumed(journal)] == [2, 0]


def test_unsettled_lines_are_replayed_in_order_and_then_ready_follows() -> None:
    journal = Journal()
    sent(journal, b"a", b"b", b"c")
    journal.settle(2)
    first, second, ready = resumed(journal)
    assert (first[:3], parse_replay(first[3])) == ((REPLAY, 0, 1), (b"", b"a"))
    assert (second[:3], parse_replay(second[3])) == ((REPLAY, 0, 3), (b"", b"c"))
    assert ready[0] == READY


def test_a_line_whose_frame_did_not_leave_whole_goes_as_a_new_line_after_ready() -> None:
    journal = Journal()
    chunk = journal.accept([b"whole", b"cut"])
    journal.left(chunk, len(chunk) - 1)
    assert [entry[:3] for entry in resumed(journal)] == [(REPLAY, 0, 1), (READY, 0, 0), (LINE, 0, 2)]
    assert [entry[:3] for entry in resumed(journal)] == [(REPLAY, REPEATED, 1), (REPLAY, 0, 2), (READY, 0, 0)]


def test_a_replay_that_left_whole_is_marked_as_repeated_the_next_time_and_one_that_did_not_is_not() -> None:
    journal = Journal()
    sent(journal, b"a", b"b")
    chunk = b"".join(journal.resume())
    journal.left(chunk, len(frame(REPLAY, b"\0\0\0\0a")) + 3)
    assert [entry[:3] for entry in resumed(journal)] == [(REPLAY, REPEATED, 1), (REPLAY, 0, 2), (READY, 0, 0)]


def test_a_kept_line_survives_its_answer_with_its_latest_blob_and_counts_as_settled() -> None:
    journal = Journal()
    sent(journal, b"initialize")
    journal.keep(1, b"old")
    journal.keep(1, b"digest")
    journal.settle(1)
    journal.settle(1)
    assert (journal.bytes, journal.outstanding) == (0, 0)
    replay, _ = resumed(journal)
    assert (replay[:3], parse_replay(replay[3])) == ((REPLAY, ANSWERED, 1), (b"digest", b"initialize"))


def test_a_kept_line_that_was_not_answered_is_replayed_as_unanswered() -> None:
    journal = Journal()
    sent(journal, b"subscribe")
    journal.keep(1, b"x")
    assert resumed(journal)[0][:3] == (REPLAY, 0, 1)
    assert journal.outstanding == 1


def test_an_acknowledged_line_is_forgotten_kept_or_not_answered_or_not() -> None:
    journal = Journal()
    sent(journal, b"kept", b"kept and answered", b"plain")
    journal.keep(1, b"")
    journal.keep(2, b"")
    journal.settle(2)
    for seq in (1, 2, 3, 99):
        journal.forget(seq)
    assert (journal.bytes, journal.outstanding) == (0, 0)
    assert resumed(journal) == [(READY, 0, 0, b"")]


def test_keep_of_a_line_that_is_gone_keeps_nothing() -> None:
    journal = Journal()
    journal.keep(5, b"x")
    assert resumed(journal) == [(READY, 0, 0, b"")]


def test_oversize_is_told_in_line_and_replay() -> None:
    journal = Journal()
    assert [entry[1] for entry in frames(journal.accept([b"edges", b"b"], oversize=True))] == [OVERSIZE, 0]
    assert [entry[:3] for entry in resumed(journal)][1] == (LINE, OVERSIZE, 1)
    assert resumed(journal)[0][:3] == (REPLAY, OVERSIZE, 1)


def test_after_a_goaway_the_lines_that_were_not_accepted_go_as_new_lines() -> None:
    journal = Journal()
    sent(journal, b"a", b"b", b"c")
    journal.not_run(1)
    assert [entry[:3] for entry in resumed(journal)] == [(REPLAY, 0, 1), (READY, 0, 0), (LINE, 0, 2), (LINE, 0, 3)]


def test_a_goaway_never_makes_a_line_of_an_earlier_backend_new_again() -> None:
    journal = Journal()
    sent(journal, b"ran elsewhere")
    resumed(journal)
    sent(journal, b"new")
    journal.not_run(0)
    assert [entry[:3] for entry in resumed(journal)] == [(REPLAY, REPEATED, 1), (READY, 0, 0), (LINE, 0, 2)]


def test_a_goaway_beyond_what_was_sent_changes_nothing() -> None:
    journal = Journal()
    journal.left(journal.accept([b"a", b"b"]), len(frame(LINE, b"a")))
    journal.not_run(2)
    assert [entry[0] for entry in resumed(journal)] == [REPLAY, READY, LINE]


def test_lines_settled_while_the_replay_is_drawn_are_left_out() -> None:
    journal = Journal()
    sent(journal, b"a", b"b")
    replay = journal.resume()
    next(replay)
    journal.settle(2)
    assert [entry[0] for entry in frames(b"".join(replay))] == [READY]


def test_only_lines_that_were_never_sent_can_be_withdrawn() -> None:
    journal = Journal()
    sent(journal, b"sent")
    journal.accept([b"held", b"held too"])
    assert journal.withdraw() == [b"held", b"held too"]
    assert journal.withdraw() == []
    assert (journal.outstanding, journal.bytes) == (1, 4)
    assert [entry[:3] for entry in resumed(journal)] == [(REPLAY, 0, 1), (READY, 0, 0)]
    sent(journal, b"next")
    assert [entry[:3] for entry in resumed(journal)] == [(REPLAY, REPEATED, 1), (REPLAY, 0, 4), (READY, 0, 0)]


def test_numbers_wrap_past_zero_and_past_a_line_that_is_kept_since_the_beginning() -> None:
    journal = Journal()
    sent(journal, b"initialize")
    journal.keep(1, b"")
    journal.settle(1)
    journal.last = journal._sent = 2**32 - 2
    assert [entry[2] for entry in frames(journal.accept([b"y", b"z"]))] == [2**32 - 1, 2]
    assert [entry[:3] for entry in resumed(journal)] == [
        (REPLAY, ANSWERED, 1),
        (READY, 0, 0),
        (LINE, 0, 2**32 - 1),
        (LINE, 0, 2),
    ]


def test_a_line_kept_for_three_billion_numbers_is_replayed_not_sent_anew() -> None:
    journal = Journal()
    sent(journal, b"initialize")
    journal.keep(1, b"")
    journal.settle(1)
    journal.last = journal._sent = 3_000_000_000
    journal.accept([b"new"])
    assert [entry[:3] for entry in resumed(journal)] == [
        (REPLAY, ANSWERED, 1),
        (READY, 0, 0),
        (LINE, 0, 3_000_000_001),
    ]


def test_the_bound_is_in_bytes_and_one_line_of_the_largest_size_always_fits() -> None:
    journal = Journal()
    journal.accept([b"x" * MESSAGE_BYTES])
    full = [journal.full]
    journal.accept([b"x" * (JOURNAL_BYTES - MESSAGE_BYTES)])
    full.append(journal.full)
    journal.settle(2)
    full.append(journal.full)
    assert full == [False, True, False]
