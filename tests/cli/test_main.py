"""The command line of `mux`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mux import __version__
from mux.cli.main import main


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"mux {__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["statsu"], "Did you mean `mux status`?"),
        (["xyzzy"], "There are: completion, config, demo, doctor, "),
        (["demo", "no-such-server"], "no-such-server: no such command"),
        (["status", "--socket", "."], "neither a path nor a name"),
    ],
)
def test_a_wrong_word_is_answered_with_what_helps(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["status", "--jsn"],
        ["--jsn"],
        ["demo", "--sessions", "0"],
        ["demo", "--sesions", "3", "true"],
        ["demo", "--call", "echo=["],
        ["demo", "--call", "echo=[]"],
    ],
)
def test_a_wrong_option_ends_with_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_no_command_prints_the_help_and_ends_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "demo" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    line = f"{sys.executable} -m mux status --socket {tmp_path}/x.sock | true; exit ${{PIPESTATUS[0]}}"
    tmp_path.chmod(0o700)
    done = subprocess.run(["bash", "-c", line], capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
