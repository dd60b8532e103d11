"""What the commands print."""

from __future__ import annotations

import io

import pytest

from mux.cli import text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "-"), (-1, "0s"), (59.9, "59s"), (60, "1m00s"), (3725, "1h02m"), (86400 * 4 + 7 * 3600, "4d07h")],
)
def test_a_duration_has_two_units_at_most(seconds: float | None, said: str) -> None:
    assert text.duration(seconds) == said


@pytest.mark.parametrize(("seconds", "said"), [(None, "-"), (1.5, "1500 ms"), (0.0123, "12 ms"), (0.0012, "1.2 ms")])
def test_milliseconds_have_the_decimals_that_mean_something(seconds: float | None, said: str) -> None:
    assert text.milliseconds(seconds) == said


def test_a_name_cannot_move_the_cursor_or_fake_a_line() -> None:
    assert text.printable("\x1b[2Jevil\nline\u202e ü") == "?[2Jevil?line? ü"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert text.table([("a", "b", "c"), ("long", "1000", "")], right=[1]) == "a        b  c\nlong  1000"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_rewrites_one_line_on_a_terminal_and_leaves_it_empty() -> None:
    stream = Terminal()
    progress = text.Progress(stream)
    progress.step("working", 1, 2)
    progress.close()
    assert stream.getvalue() == "\r\x1b[Kworking: 1 of 2\r\x1b[K"


def test_progress_elsewhere_is_a_few_plain_lines() -> None:
    stream = io.StringIO()
    progress = text.Progress(stream)
    for number in range(1, 27):
        progress.step("working", number, 26)
    progress.step("ending")
    progress.close()
    counts = "".join(f"working: {number} of 26\n" for number in (1, 10, 20, 26))
    assert stream.getvalue() == counts + "ending\n"
