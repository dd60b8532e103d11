"""Whether each rule of the protocol has a test that fails without it.

`python -m tests.suites.mutations` copies the tree, checks that the tests named in `rules.toml` pass there, removes one
rule after the other, and checks that each of its tests fails. It prints a table, and exits 1 if a rule can go without a
test that notices. `--only WORDS`, once or more, takes the rows that contain WORDS.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.suites.mutations.rules import CORE, ROOT, Rule, rules

SECONDS_A_TEST = 180
"""A rule whose removal hangs its test is noticed. Where machines are busy, Hypothesis takes minutes for its first."""

_FAILED = re.compile(r"^FAILED (\S+?)(?:\[| |$)", re.MULTILINE)
_QUIETLY = ["-q", "--tb=line", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]


class Broken(Exception):
    """The tests could not be run; `str()` says why."""


class Tree:
    """A copy of what the tests need, and a worker that runs them there."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "tree"
        self.path.mkdir()
        for name in ("mux", "tests"):
            shutil.copytree(ROOT / name, self.path / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", self.path)
        self.worker = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("worker.py"))],
            cwd=self.path,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def failures(self, tests: Iterable[str]) -> dict[str, str]:
        """Which of `tests` fail, with all that was said. Raises Broken if they can not be run."""
        assert self.worker.stdin is not None
        assert self.worker.stdout is not None
        arguments = [*_QUIETLY, f"--timeout={SECONDS_A_TEST}", *sorted(set(tests))]
        print(json.dumps(arguments), file=self.worker.stdin, flush=True)
        code, output = json.loads(self.worker.stdout.readline())
        if code not in (0, 1):
            raise Broken(f"the tests can not be run:\n{output[-2000:]}")
        return dict.fromkeys(_FAILED.findall(output), output)

    def close(self) -> None:
        assert self.worker.stdin is not None
        self.worker.stdin.close()
        self.worker.wait()


def complaint(tree: Tree, rule: Rule) -> str:
    """Remove the rule, run its tests, put it back. What is wrong, or nothing."""
    path = tree.path / rule.file
    source = path.read_text(encoding="utf-8")
    if source.count(rule.text) != 1:
        return f"its text stands {source.count(rule.text)} times in {rule.file}"
    path.write_text(source.replace(rule.text, rule.instead), encoding="utf-8")
    try:
        failed = tree.failures(rule.fails)
    except Broken as error:
        return str(error)
    finally:
        path.write_text(source, encoding="utf-8")
    unnoticed = [test.removeprefix(CORE) for test in rule.fails if test not in failed]
    return f"not noticed by {', '.join(unnoticed)}" if unnoticed else ""


def remove_each(tree: Tree, chosen: list[Rule]) -> int:
    """Print the table; how many rules can go without a test that notices."""
    before = tree.failures(test for rule in chosen for test in rule.fails)
    if before:
        raise Broken(f"these fail with every rule in place: {', '.join(before)}\n{next(iter(before.values()))[-4000:]}")
    wrong = 0
    for rule in chosen:
        why = complaint(tree, rule)
        wrong += bool(why)
        print(f"{'SURVIVES' if why else 'noticed '}  {rule.row}" + (f"\n          {why}" if why else ""), flush=True)
    print(f"{len(chosen)} rules removed, one at a time: {len(chosen) - wrong} noticed, {wrong} not")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.suites.mutations", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", action="append", metavar="WORDS", help="only rows that contain this, or another")
    options = parser.parse_args()
    wanted = options.only or [""]
    chosen = [rule for rule in rules() if any(words in rule.row for words in wanted)]
    with tempfile.TemporaryDirectory(prefix="mutations-") as directory:
        tree = Tree(Path(directory))
        try:
            return int(remove_each(tree, chosen) > 0)
        except Broken as error:
            print(error)
            return 1
        finally:
            tree.close()


if __name__ == "__main__":
    sys.exit(main())
