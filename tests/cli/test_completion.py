"""`mux completion`: each shell completes by the script that is made for it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from mux.cli.main import COMMANDS
from tests.support.runtime import program

NAMES = [module.__name__.rpartition(".")[2] for module in COMMANDS]

BASH = """
. "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_mux
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = "source $argv[1]; complete -C $argv[2]"


def needs(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


@pytest.fixture
def script(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> str:
    """The script for the shell that the test's parameter names, in a file."""
    shell: str = request.param
    needs(shell)
    path = tmp_path_factory.mktemp("completion") / f"mux.{shell}"
    done = subprocess.run([program("mux"), "completion", shell], capture_output=True, timeout=60, check=True)
    path.write_bytes(done.stdout)
    return str(path)


CASES = [
    (["mux", "stat"], {"status"}),
    (["mux", "doc"], {"doctor"}),
    (["mux", "install", "cl"], {"claude-code", "claude-desktop"}),
    (["mux", "completion", ""], {"bash", "fish", "zsh"}),
    (["mux", "status", "--js"], {"--json"}),
]


@pytest.mark.parametrize(("words", "offered"), CASES)
@pytest.mark.parametrize("script", ["bash"], indirect=True)
def test_bash_completes(script: str, words: list[str], offered: set[str]) -> None:
    done = subprocess.run(
        ["bash", "-c", BASH, "bash", script, *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert offered <= set(done.stdout.split()), done.stderr
    assert done.stderr == ""
    if words[-1]:
        assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("script", ["bash"], indirect=True)
def test_bash_offers_files_where_an_option_takes_a_path(script: str) -> None:
    words = ["mux", "status", "--socket", ""]
    done = subprocess.run(
        ["bash", "-c", BASH, "bash", script, *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout.split(), done.stderr) == ([], "")


@pytest.mark.parametrize(("words", "offered"), CASES)
@pytest.mark.parametrize("script", ["fish"], indirect=True)
def test_fish_completes(script: str, words: list[str], offered: set[str]) -> None:
    line = " ".join(words)
    done = subprocess.run(
        ["fish", "--no-config", "-c", FISH, script, line], capture_output=True, text=True, timeout=30, check=False
    )
    found = {line.partition("\t")[0] for line in done.stdout.splitlines()}
    assert offered <= found, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("script", ["zsh"], indirect=True)
def test_zsh_reads_it(script: str) -> None:
    done = subprocess.run(["zsh", "-f", "-n", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_each_script_knows_every_command_with_its_options(shell: str) -> None:
    done = subprocess.run([program("mux"), "completion", shell], capture_output=True, text=True, timeout=60, check=True)
    for name in NAMES:
        assert name in done.stdout
    assert ("follow" if shell == "fish" else "--follow") in done.stdout


def test_an_unknown_shell_is_answered_with_those_that_are_known() -> None:
    done = subprocess.run(
        [program("mux"), "completion", "tcsh"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "fish" in done.stderr
