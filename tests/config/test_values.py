"""What a setting may be, and the plain form that it takes. Limits have a file of their own."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mux.backend.resolve import duration
from mux.config.values import (
    CHOICES,
    NAMES,
    TIMES,
    checked,
    from_file,
    is_name,
    is_variable,
    limit,
    printable,
    seconds,
    shown,
)
from mux.errors import UsageError

# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_is_one_of_its_words_and_nothing_else(name: str) -> None:
    for word in CHOICES[name]:
        assert checked(name, word) == word
    for other in ("", CHOICES[name][0].upper(), f" {CHOICES[name][0]}"):
        with pytest.raises(UsageError, match=" or ".join(CHOICES[name])):
            checked(name, other)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("0", "0"),
        ("30", "30"),
        ("30s", "30"),
        ("1.5", "1.5"),
        (".5m", "30"),
        ("1.m", "60"),
        ("90s", "90"),
        ("15m", "900"),
        ("1h", "3600"),
        ("0.0001h", "0.36"),
        ("4.1m", "246"),
        ("0.00001", "0.00001"),
        ("0.0000001", "0"),
        ("007", "7"),
        ("99999999999999h", "31536000"),
    ],
)
def test_a_time_is_plain_seconds_a_year_at_most(written: str, plain: str) -> None:
    assert seconds(written) == plain
    assert {checked(name, written) for name in TIMES} == {plain}


@pytest.mark.parametrize(
    "written",
    [
        "",
        "s",
        ".",
        "-1",
        "+1",
        "1 s",
        " 1",
        "1e3",
        "1.5.5",
        "1d",
        "inf",
        "nan",
        "1ms",
        "\u0661",
        "\xb2",
        "1_000",
        "9" * 16,
    ],
)
def test_anything_else_is_no_time(written: str) -> None:
    with pytest.raises(UsageError, match=r"is a time such as 30, 90s or 15m, not "):
        seconds(written)


@settings(deadline=None)
@given(st.decimals(0, 365, places=4), st.sampled_from([("", 1), ("s", 1), ("m", 60), ("h", 3600)]))
def test_a_plain_time_is_its_own_plain_form_and_the_backend_reads_it_so(number: Decimal, unit: tuple[str, int]) -> None:
    plain = seconds(f"{number}{unit[0]}")
    assert Decimal(plain) == number * unit[1]
    assert seconds(plain) == plain
    assert duration(plain, "grace") == float(plain)


@pytest.mark.parametrize("value", ["a", "/run/s.sock", "./s", " "])
def test_a_socket_is_any_text_and_is_judged_where_it_is_used(value: str) -> None:
    assert checked("socket", value) == value


@pytest.mark.parametrize("value", ["", "a\0b"])
def test_no_socket_has_such_a_name(value: str) -> None:
    with pytest.raises(UsageError, match="a path or a name"):
        checked("socket", value)


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize(("value", "plain"), [(30, "30"), (0, "0"), (1.5, "1.5"), (2.0, "2"), ("15m", "900")])
def test_in_a_file_a_time_may_be_a_number(name: str, value: object, plain: str) -> None:
    assert from_file(name, value) == plain


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TIMES])
@pytest.mark.parametrize("value", [1, 1.5, True, [], {}, None])
def test_in_a_file_every_other_setting_is_text(name: str, value: object) -> None:
    with pytest.raises(UsageError, match="is text, not"):
        from_file(name, value)


@pytest.mark.parametrize("value", [True, False, [], None])
def test_in_a_file_a_time_is_no_truth_and_no_list(value: object) -> None:
    with pytest.raises(UsageError, match="is text, not"):
        from_file("grace", value)


@pytest.mark.parametrize("value", [-1, -0.5, float("inf"), float("nan"), 1e300])
def test_in_a_file_a_time_is_no_number_below_nothing_or_without_end(value: float) -> None:
    with pytest.raises(UsageError, match="is a time"):
        from_file("grace", value)


# --- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "written", "says"),
    [
        ("message_bytes", "16 TiB", "a number of bytes, or a size such as 16 MiB"),
        ("message_bytes", "MiB", "a number of bytes"),
        ("message_bytes", 16.5, "a number of bytes"),
        ("message_bytes", "1.5 MiB", "a number of bytes"),
        ("message_bytes", "9" * 16, "a number of bytes"),
        ("kept_lines", "7 KiB", "is a whole number"),
        ("kept_lines", [7], "is a whole number"),
        ("kept_lines", True, "is a number, not True"),
        ("host_slow_seconds", False, "is a number, not False"),
        ("host_slow_seconds", "soon", "is a time"),
        ("host_slow_seconds", [1], "is a time"),
    ],
)
def test_what_is_no_number_of_its_kind_is_refused_in_its_terms(name: str, written: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        limit(name, written)


@pytest.mark.parametrize(
    ("name", "written"), [("message_bytes", "1 MiB"), ("kept_lines", " 7 "), ("hello_seconds", 5), ("sessions", 9)]
)
def test_a_limit_in_seconds_is_a_float_and_any_other_an_integer(name: str, written: object) -> None:
    assert type(limit(name, written)) is (float if name.endswith("_seconds") else int)


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 32, "0"])
def test_a_plain_name_stands_in_the_runtime_directory(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "-a", "a/b", "/a", "x" * 33, "a b", "a\0", "ä", "a\n", "~"])
def test_what_could_lead_elsewhere_or_does_not_fit_is_no_name(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize("name", ["A", "a", "A*", "*", "A B", "ä"])
def test_a_variable_has_a_name_or_the_beginning_of_one(name: str) -> None:
    assert is_variable(name)


@pytest.mark.parametrize("name", ["", "A=B", "=", "A*B", "**", "A\0", "A\n", None, 1, ["A"]])
def test_no_variable_has_such_a_name(name: object) -> None:
    assert not is_variable(name)


# --- what an error shows ------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text())
def test_a_value_is_shown_in_one_short_printable_line(value: str) -> None:
    found = shown(value)
    assert len(found) <= 60
    assert found.isprintable()


def test_a_long_value_is_shown_by_its_beginning() -> None:
    assert shown("x" * 58) == f"'{'x' * 58}'"
    assert shown("x" * 59) == f"'{'x' * 58}…"


@pytest.mark.parametrize("text", ["\x1b[2J", "a\rb", "a\nb", "\u202eb", "\x9b", "\udcff"])
def test_what_could_move_a_cursor_or_begin_a_line_is_a_question_mark(text: str) -> None:
    found = printable(f"<{text}>")
    assert found.isprintable()
    assert found.startswith("<")
    assert "?" in found
    assert printable(found) == found
