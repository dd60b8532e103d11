from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mux.shim.splitter import Splitter


def cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


@given(st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=20), st.integers(1, 30))
def test_lines_come_out_whole_and_in_order_however_the_bytes_are_cut(lines: list[bytes], size: int) -> None:
    splitter = Splitter()
    found: list[bytes] = []
    for piece in cut(b"".join(line + b"\n" for line in lines), size):
        complete, oversize = splitter.feed(piece)
        assert not oversize
        found += complete
    assert found == lines
    assert splitter.end() == ([], False)


def test_a_last_line_without_newline_comes_at_the_end_of_input() -> None:
    splitter = Splitter()
    assert splitter.feed(b"a\r\nhalf") == ([b"a\r"], False)
    assert splitter.unfinished
    assert splitter.end() == ([b"half"], False)
    assert not splitter.unfinished


@given(st.integers(101, 400), st.integers(1, 100))
def test_of_an_oversize_line_its_two_edges_are_kept_and_the_next_line_is_whole(length: int, size: int) -> None:
    line = bytes(at % 251 for at in range(length)).replace(b"\n", b"-")
    splitter = Splitter(limit=100, edge=10)
    found: list[tuple[list[bytes], bool]] = []
    for piece in cut(line + b"\nnext\n", size):
        complete, oversize = splitter.feed(piece)
        if complete:
            found.append((complete, oversize))
    whole = [entry for complete, _ in found for entry in complete]
    assert whole == [line[:10] + line[-10:], b"next"]
    assert found[0][1]


def test_an_oversize_line_that_never_ends_holds_no_more_than_the_limit_and_a_read() -> None:
    splitter = Splitter(limit=1000, edge=10)
    for _ in range(10_000):
        splitter.feed(b"x" * 100)
    assert sum(map(len, splitter._chunks)) <= 1100
    assert splitter.end() == ([b"x" * 20], True)


def test_a_line_of_exactly_the_limit_is_whole() -> None:
    splitter = Splitter(limit=100, edge=10)
    splitter.feed(b"x" * 60)
    assert splitter.feed(b"x" * 40 + b"\n") == ([b"x" * 100], False)
