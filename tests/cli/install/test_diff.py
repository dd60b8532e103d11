"""An edit as a person sees it: a diff that is true, without secrets and without endless lines."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mux.cli.install.diff import Diff
from mux.cli.install.syntax import Edit, Word, apply
from mux.limits import DIFF_CONTEXT_LINES, DIFF_LINE_CHARACTERS

TEXT = "".join(f"line {number}\n" for number in range(40))


def edit(text: str, old: str, new: str) -> Edit:
    at = text.index(old)
    return Edit(at, at + len(old), new)


def shown(text: str, *edits: Edit, secrets: tuple[Word, ...] = ()) -> list[str]:
    return list(Diff(text, edits, secrets).lines())


def patched(lines: list[str], diff: list[str]) -> list[str]:
    """What `patch` would make of it; every line of context and every removed line must stand where it is said."""
    done: list[str] = []
    at = 0
    for line in diff:
        if head := re.fullmatch(r"@@ -(\d+),(\d+) \+(\d+),(\d+) @@", line):
            first = int(head[1]) - 1
            done += lines[at:first]
            at = first
            assert len(done) == int(head[3]) - 1
        elif line.startswith("+"):
            done.append(line[1:])
        else:
            assert lines[at] == line[1:]
            if line.startswith(" "):
                done.append(lines[at])
            at += 1
    return done + lines[at:]


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 39), st.text("ab\n", max_size=5), min_size=1, max_size=6))
def test_applied_to_the_file_it_gives_the_new_one(changes: dict[int, str]) -> None:
    edits = [edit(TEXT, f"line {number}", text) for number, text in changes.items()]
    assert patched(TEXT.splitlines(), shown(TEXT, *edits)) == apply(TEXT, edits).splitlines()


def test_a_change_stands_in_its_context_and_the_rest_is_left_out() -> None:
    assert shown(TEXT, edit(TEXT, "line 20", "changed")) == [
        "@@ -18,7 +18,7 @@",
        " line 17",
        " line 18",
        " line 19",
        "-line 20",
        "+changed",
        " line 21",
        " line 22",
        " line 23",
    ]


def test_nothing_changed_is_nothing_shown() -> None:
    assert shown(TEXT) == []


def test_changes_within_each_others_context_stand_together_and_others_apart() -> None:
    for distance, hunks in ((1, 1), (2 * DIFF_CONTEXT_LINES + 1, 1), (2 * DIFF_CONTEXT_LINES + 2, 2)):
        found = shown(TEXT, edit(TEXT, "line 10", "a"), edit(TEXT, f"line {10 + distance}", "b"))
        assert sum(line.startswith("@@") for line in found) == hunks


def test_two_changes_of_one_line_are_one_change() -> None:
    assert shown("a b c\n", edit("a b c\n", "a", "A"), edit("a b c\n", "c", "C")) == [
        "@@ -1,1 +1,1 @@",
        "-a b c",
        "+A b C",
    ]


def test_a_file_without_a_last_newline_and_an_empty_one_are_shown() -> None:
    assert shown("a\nb", edit("a\nb", "b", "c")) == ["@@ -1,2 +1,2 @@", " a", "-b", "+c"]


@pytest.mark.parametrize("where", ["context", "changed"])
def test_a_secret_is_blanked_in_what_goes_in_what_comes_and_around_it(where: str) -> None:
    text = 'key = "secret"\nname = "x"\n'
    at = text.index('"secret"')
    word = Word(at, at + 8, "secret")
    change = edit(text, "name", "NAME") if where == "context" else edit(text, "key", "KEY")
    found = "\n".join(shown(text, change, secrets=(word,)))
    assert "secret" not in found
    assert '"…"' in found


def test_a_secret_of_several_lines_keeps_their_number() -> None:
    text = 'a\n"one\ntwo"\nb\n'
    word = Word(2, 11, "one\ntwo")
    assert shown(text, edit(text, "b", "B"), secrets=(word,)) == ["@@ -1,4 +1,4 @@", " a", ' "…"', " ", "-b", "+B"]


def test_of_an_endless_line_only_what_is_around_the_change_is_shown() -> None:
    text = "x" * 5000 + "A" + "y" * 5000 + "B" + "z" * 5000 + "\n"
    found = shown(text, edit(text, "A", "1"), edit(text, "B", "2"))
    assert [line[:3] for line in found[1:]] == ["-… ", "-… ", "+… ", "+… "]
    assert all(len(line) <= DIFF_LINE_CHARACTERS for line in found)
    assert "xAy" in found[1]
    assert "x1y" in found[3]
    assert "y2z" in found[4]


def test_near_changes_of_an_endless_line_are_shown_together() -> None:
    text = "x" * 5000 + "A--B" + "z" * 5000 + "\nC\n"
    found = shown(text, edit(text, "A", "1"), edit(text, "B", "2"), edit(text, "C", "3"))
    assert len(found) == 5
    assert "1--2" in found[2]
    assert found[3:] == ["-C", "+3"]


def test_an_endless_line_of_context_is_cut() -> None:
    text = "x" * 5000 + "\nb\n"
    assert shown(text, edit(text, "b", "c"))[1] == " " + "x" * DIFF_LINE_CHARACTERS + " …"


def test_what_could_move_a_cursor_is_a_question_mark_and_line_ends_of_windows_are_none() -> None:
    assert shown("\x1b[2J\tb\r\n", edit("\x1b[2J\tb\r\n", "b", "c")) == ["@@ -1,1 +1,1 @@", "-?[2J\tb", "+?[2J\tc"]
