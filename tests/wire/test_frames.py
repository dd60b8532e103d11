"""The wire, against its written page, against recorded bytes, and cut at any place."""

from __future__ import annotations

import contextlib
import re
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.errors import WireError
from mux.limits import FRAME_BYTES
from mux.wire import frames
from mux.wire.frames import FrameReader, Hello, frame

PAGE = (resources.files("mux.wire") / "PROTOCOL").read_text(encoding="utf-8")
KINDS = {
    name: getattr(frames, name)
    for name in (
        *("HELLO", "LINE", "REPLAY", "READY", "EOF", "PARKED", "AWAKE"),
        *("WELCOME", "REFUSE", "OUT", "ACK", "KEEP", "CLOSED", "GOAWAY", "STOPPED", "PARK", "BYE"),
    )
}

a_frame = st.tuples(
    st.sampled_from(sorted(KINDS.values())),
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=300),
)


def encode(value: tuple[int, int, int, bytes]) -> bytes:
    kind, flags, seq, payload = value
    return frame(kind, payload, seq=seq, flags=flags)


def test_every_kind_has_the_number_that_the_page_gives_it() -> None:
    on_page = {name: int(number, 16) for number, name in re.findall(r"\b(0x[0-9A-F]{2}) ([A-Z]{3,})\b", PAGE)}
    flags = {"OVERSIZE", "ANSWERED", "REPEATED", "ASKS"}
    assert {name: number for name, number in on_page.items() if name not in flags} == KINDS


def test_every_flag_has_the_value_that_the_page_gives_it() -> None:
    line = PAGE[PAGE.index("0x02 LINE") : PAGE.index("0x03 REPLAY")]
    replay = PAGE[PAGE.index("0x03 REPLAY") : PAGE.index("0x04 READY    ")]
    assert f"0x{frames.OVERSIZE:02X} OVERSIZE" in line
    for name in ("OVERSIZE", "ANSWERED", "REPEATED"):
        assert f"0x{getattr(frames, name):02X} {name}" in " ".join(replay.split())
    assert f"Flag 0x{frames.ASKS:02X} ASKS" in PAGE


def test_the_page_names_the_major_and_the_byte_of_wake() -> None:
    assert PAGE.startswith(f"Shim to backend protocol, major {frames.MAJOR}\n")
    assert f"0x{frames.WAKE_BYTE[0]:02X} alone" in PAGE
    assert frames.WAKE_BYTE[0] not in KINDS.values()


@pytest.mark.parametrize(
    ("made", "golden"),
    [
        (frame(frames.LINE, b"{}", seq=7), "02 00 07000000 02000000 7b7d"),
        (frame(frames.LINE, b"ab", seq=0x01020304, flags=frames.OVERSIZE), "02 01 04030201 02000000 6162"),
        (frame(frames.READY), "04 00 00000000 00000000"),
        (frame(frames.EOF), "05 00 00000000 00000000"),
        (frame(frames.WELCOME, b"s1"), "81 00 00000000 02000000 7331"),
        (
            frame(frames.REFUSE, frames.refuse_payload(250, "draining")),
            "82 00 00000000 0c000000 fa000000 647261696e696e67",
        ),
        (
            frame(frames.REFUSE, frames.refuse_payload(frames.NEVER, "full")),
            "82 00 00000000 08000000 ffffffff 66756c6c",
        ),
        (frame(frames.OUT, b"x\n", seq=0xFFFFFFFF), "83 00 ffffffff 02000000 780a"),
        (frame(frames.GOAWAY, frames.goaway_payload(9, 500)), "87 00 00000000 08000000 09000000 f4010000"),
        (
            frame(frames.REPLAY, frames.replay_payload(b"B", b"{}"), seq=1, flags=frames.ANSWERED | frames.REPEATED),
            "03 06 01000000 07000000 01000000 42 7b7d",
        ),
    ],
)
def test_the_bytes_of_a_frame_are_these(made: bytes, golden: str) -> None:
    assert made == bytes.fromhex(golden)


def test_the_bytes_of_a_hello_are_these() -> None:
    hello = Hello(
        role=frames.ROLE_SESSION,
        version=b"0.1.0",
        session=b"s1",
        options=[b"scope=user"],
        cwd=b"/w",
        argv=[b"server", b""],
        environment=[b"A=1", b"B="],
        umask=0o27,
        limits=[b"RLIMIT_NOFILE=1024:-1"],
    )
    assert hello.encode() == (
        b"session\x001\x000.1.0\0s1\0/w\x0027\x001\0scope=user\x002\0server\0\x001\0RLIMIT_NOFILE=1024:-1\x002\0A=1\0B="
    )


@given(st.lists(a_frame, max_size=20), st.data())
def test_frames_come_out_whole_and_in_order_however_the_bytes_are_cut(
    values: list[tuple[int, int, int, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(encode(value) for value in values)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=30)))
    reader = FrameReader()
    found: list[tuple[int, int, int, bytes]] = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        if start < stop:
            found += reader.feed(stream[start:stop])
    assert found == values
    assert reader.buffered == 0


@given(st.lists(a_frame, min_size=1, max_size=8), st.lists(st.integers(0, 3), min_size=9, max_size=9))
def test_wake_bytes_between_frames_are_ignored_one_byte_at_a_time(
    values: list[tuple[int, int, int, bytes]], wakes: list[int]
) -> None:
    pieces = [frames.WAKE_BYTE * count + encode(value) for value, count in zip(values, wakes, strict=False)]
    stream = b"".join(pieces) + frames.WAKE_BYTE * wakes[-1]
    reader = FrameReader()
    found = [value for at in range(len(stream)) for value in reader.feed(stream[at : at + 1])]
    assert found == values
    assert reader.buffered == 0


def test_an_unfinished_frame_stays_buffered() -> None:
    reader = FrameReader()
    whole = frame(frames.OUT, b"abc\n", seq=1)
    assert reader.feed(whole[:-1]) == []
    assert reader.buffered == len(whole) - 1
    assert reader.feed(whole[-1:]) == [(frames.OUT, 0, 1, b"abc\n")]


def test_a_header_that_announces_too_much_is_an_error_at_once() -> None:
    with pytest.raises(WireError, match=str(FRAME_BYTES)):
        FrameReader().feed(frames.HEADER.pack(frames.OUT, 0, 0, FRAME_BYTES + 1))


def test_a_frame_of_many_megabytes_in_small_pieces_is_joined_once() -> None:
    payload = b"x" * (12 << 20)
    stream = frame(frames.LINE, payload, seq=1)
    reader = FrameReader()
    found = [value for at in range(0, len(stream), 65536) for value in reader.feed(stream[at : at + 65536])]
    assert found == [(frames.LINE, 0, 1, payload)]


def test_numbers_of_lines_skip_zero_at_the_wrap() -> None:
    assert [frames.next_seq(seq) for seq in (0, 1, 2**32 - 2, 2**32 - 1)] == [1, 2, 2**32 - 1, 1]


without_nul = st.binary(max_size=40).map(lambda value: value.replace(b"\0", b""))
some = st.lists(without_nul, max_size=5)


@given(
    session=without_nul,
    cwd=without_nul,
    options=some,
    argv=some,
    environment=some,
    limits=some,
    umask=st.integers(0, 0o777),
)
def test_a_hello_comes_back_as_it_was(
    session: bytes,
    cwd: bytes,
    options: list[bytes],
    argv: list[bytes],
    environment: list[bytes],
    limits: list[bytes],
    umask: int,
) -> None:
    hello = Hello(
        role=frames.ROLE_SESSION,
        version=b"1",
        session=session,
        cwd=cwd,
        options=options,
        argv=argv,
        environment=environment,
        limits=limits,
        umask=umask,
    )
    again = Hello.decode(hello.encode())
    assert {name: getattr(again, name) for name in Hello.__slots__} == {
        name: getattr(hello, name) for name in Hello.__slots__
    }


@given(st.binary(max_size=200))
def test_a_hello_that_is_none_raises_nothing_but_wire_error(payload: bytes) -> None:
    with contextlib.suppress(WireError):
        Hello.decode(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"session\x001\0v\0\0/\x0022\x002\0a",
        b"session\0x\0v\0\0/\x0022\x000\x000\x000\x000",
        b"session\x001\0v\0\0/\x0022\x000\x000\x000\x000\0more",
        b"session\x001\0v\0\0/\x0022\0-1\x000\x000\x000",
    ],
)
def test_a_malformed_hello_is_a_wire_error(payload: bytes) -> None:
    with pytest.raises(WireError):
        Hello.decode(payload)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_a_replay_gives_back_its_blob_and_its_line(blob: bytes, line: bytes) -> None:
    assert frames.parse_replay(frames.replay_payload(blob, line)) == (blob, line)


@given(st.integers(0, frames.NEVER), st.text(max_size=30))
def test_a_refusal_gives_back_its_interval_and_its_reason(retry_ms: int, reason: str) -> None:
    reason = reason.encode(errors="replace").decode()
    assert frames.parse_refuse(frames.refuse_payload(retry_ms, reason)) == (retry_ms, reason)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_goaway_gives_back_its_numbers(last: int, hold_off: int) -> None:
    assert frames.parse_goaway(frames.goaway_payload(last, hold_off)) == (last, hold_off)


def test_payloads_that_are_cut_short_are_wire_errors() -> None:
    for parse, payload in (
        (frames.parse_replay, b"\5\0\0\0abc"),
        (frames.parse_replay, b"\1\0"),
        (frames.parse_refuse, b"\1"),
        (frames.parse_goaway, b"1234567"),
    ):
        with pytest.raises(WireError):
            parse(payload)
