"""What is counted is work that is really done, and a dearer count is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import instructions, workloads
from mux.core.events import ProcessLine


def test_every_stretch_handles_the_messages_that_it_names() -> None:
    names = [stretch.name for stretch in workloads.stretches()]
    assert len(names) == len(set(names))
    recorded = json.loads(instructions.BASE_LINE.read_text(encoding="utf-8"))
    assert [name for name in recorded["instructions"] if not name.startswith("start: ")] == names


def test_the_core_forwards_what_the_workload_asks() -> None:
    stage = workloads.Stage(3)
    ids = stage.ask([(session, workloads._call(session)) for session in (1, 2, 3)])
    answered = [stage.give(ProcessLine(1, line)) for line in workloads._answers(ids)]
    assert [len(done) for done in answered] == [1, 1, 1]


@pytest.mark.parametrize(("counted", "code"), [(1000, 0), (1029, 0), (1031, 1)])
def test_a_comparison_fails_beyond_the_tolerance(
    counted: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "base.json"
    base.write_text(json.dumps({"versions": {"python": "3.11.0"}, "instructions": {"x": 1000}}), encoding="utf-8")
    monkeypatch.setattr(instructions, "count", lambda: {"x": counted})
    monkeypatch.setattr("sys.argv", ["bench.instructions", "--compare", "--base-line", str(base)])
    assert instructions.main() == code
    assert ("dearer than the base line: x" in capsys.readouterr().err) is bool(code)


def test_without_valgrind_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench.instructions"])
    monkeypatch.setenv("PATH", "")
    assert instructions.main() == 1
    assert "apt-get install valgrind" in capsys.readouterr().err
