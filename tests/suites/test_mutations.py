"""The rules that `python -m tests.suites.mutations` removes are where its list says, and so are their tests."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from tests.suites.mutations.rules import ROOT, Rule, rules


@cache
def names_in(file: str) -> set[str]:
    """The tests of a file, as pytest names them."""
    found: set[str] = set()
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.row)
def test_a_rule_stands_once_where_the_list_says_and_has_the_tests_that_it_names(rule: Rule) -> None:
    assert (ROOT / rule.file).read_text(encoding="utf-8").count(rule.text) == 1
    assert rule.fails
    for test in rule.fails:
        file, _, name = test.partition("::")
        assert name in names_in(file)


def test_each_removal_has_a_name_of_its_own() -> None:
    rows = [rule.row for rule in rules()]
    assert len(set(rows)) == len(rows)
