from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mux.core.lines import LineBuffer, Oversize
from mux.limits import MESSAGE_BYTES, OVERSIZE_EDGE_BYTES

LIMIT, EDGE = 12, 3

stream = st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r\n", b"\0", b"0123456789", b"x" * 40])).map(b"".join)


def plain(item: bytes | Oversize | None) -> bytes | tuple[bytes] | None:
    return (item.edges,) if isinstance(item, Oversize) else item


def expected(line: bytes) -> bytes | tuple[bytes]:
    return line if len(line) <= LIMIT else (line[:EDGE] + line[-EDGE:],)


def chunks(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(at)]


@given(stream, st.lists(st.integers(0, 10_000)))
def test_the_lines_do_not_depend_on_how_the_bytes_are_cut(data: bytes, cuts: list[int]) -> None:
    buffer = LineBuffer(LIMIT, EDGE)
    lines = []
    for chunk in chunks(data, cuts):
        lines += buffer.feed(chunk)
        assert buffer.buffered <= LIMIT + EDGE
    *whole, rest = data.split(b"\n")
    assert [plain(line) for line in lines] == [expected(line) for line in whole]
    assert plain(buffer.rest()) == (expected(rest) if rest else None)
    assert buffer.rest() is None
    assert buffer.buffered == 0


@given(st.binary(min_size=1, max_size=60).filter(lambda data: b"\n" not in data), st.integers(1, 7))
def test_the_edges_are_the_first_and_last_bytes_of_an_oversize_line(line: bytes, step: int) -> None:
    buffer = LineBuffer(LIMIT, EDGE)
    for at in range(0, len(line), step):
        assert buffer.feed(line[at : at + step]) == []
    (taken,) = buffer.feed(b"\nnext")
    assert plain(taken) == expected(line)
    assert buffer.rest() == b"next"


def test_a_line_ends_at_a_newline_and_at_nothing_else() -> None:
    """What other readers take for the end of a line is content: U+2028, U+0085, a form feed, a carriage return."""
    line = "\u2028\u2029\u0085\f\v\r\x1c".encode()
    assert LineBuffer(LIMIT, EDGE).feed(line + b"\n" + line) == [line]


def test_a_line_may_be_longer_than_64_kib() -> None:
    buffer = LineBuffer(MESSAGE_BYTES, OVERSIZE_EDGE_BYTES)
    line = b"x" * (1 << 17)
    assert buffer.feed(line[:1000]) + buffer.feed(line[1000:] + b"\n") == [line]


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT, LIMIT + 1])
def test_a_line_of_exactly_the_limit_is_whole(size: int) -> None:
    (line,) = LineBuffer(LIMIT, EDGE).feed(b"x" * size + b"\n")
    assert isinstance(line, Oversize) == (size > LIMIT)


def test_a_line_after_an_oversize_one_is_untouched() -> None:
    buffer = LineBuffer(LIMIT, EDGE)
    buffer.feed(b"y" * 100)
    big, small, empty = buffer.feed(b"z\nsmall\n\n")
    assert plain(big) == (b"yyyyyz",)
    assert (small, empty) == (b"small", b"")


def test_memory_of_an_endless_line_is_bounded() -> None:
    buffer = LineBuffer(1024, 64)
    for _ in range(1000):
        assert buffer.feed(b"x" * 10_000) == []
        assert buffer.buffered <= 1024 + 64


def test_every_byte_is_searched_once_even_in_pieces_of_one() -> None:
    searched = 0

    class Piece(bytes):
        def __contains__(self, key: Any) -> bool:
            nonlocal searched
            searched += len(self)
            return key in bytes(self)

        def split(self, *arguments: Any, **named: Any) -> list[bytes]:
            nonlocal searched
            searched += len(self)
            return bytes(self).split(*arguments, **named)

    buffer = LineBuffer(1 << 20, 64)
    size = 200_000
    for _ in range(size):
        assert buffer.feed(Piece(b"x")) == []
    assert buffer.feed(b"\n") == [b"x" * size]
    assert searched == size


def test_no_edge_keeps_nothing_of_an_oversize_line() -> None:
    buffer = LineBuffer(2, 0)
    assert [plain(line) for line in [*buffer.feed(b"abc\nde"), *buffer.feed(b"f\n")]] == [(b"",), (b"",)]


@pytest.mark.parametrize(("limit", "edge"), [(5, 3), (10, -1), (-1, 0)])
def test_edges_that_do_not_fit_the_limit_are_refused(limit: int, edge: int) -> None:
    with pytest.raises(ValueError, match="edges"):
        LineBuffer(limit, edge)
