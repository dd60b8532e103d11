"""The README says what the repository holds."""

from __future__ import annotations

import re
from pathlib import Path

from bench.report import CLOSING, OPENING, embedded
from mux.shim.main import USAGE

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_numbers_are_those_of_the_committed_run() -> None:
    tables = (ROOT / "bench" / "results" / "latest.md").read_text(encoding="utf-8")
    assert embedded(README, tables) == README
    assert README.count(OPENING) == README.count(CLOSING) == 1


def test_its_demo_output_is_the_committed_one() -> None:
    said = (ROOT / "bench" / "results" / "demo-context-mode.txt").read_text(encoding="utf-8")
    assert said.strip() in README


def test_every_option_that_it_names_is_one_of_the_shims() -> None:
    table = [line for line in README.splitlines() if line.startswith("| `--")]
    named = {match for line in table for match in re.findall(r"--[a-z-]+", line.split("|")[1])}
    assert named
    assert named <= set(re.findall(r"--[a-z-]+", USAGE))
