"""What a shim loads on its way to the first answer: every module costs each session's start 0.2 ms, and memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mux.wire.frames import OUT, frame
from tests.shim.conftest import Bench, finish, hear, tell

STANDARD = {"__future__", "_socket", "_struct", "resource", "select", "struct"}
FIRST = {
    "mux",
    "mux.config",
    "mux.config.values",
    "mux.errors",
    "mux.failpoints",
    "mux.limits",
    "mux.rendezvous",
    "mux.rendezvous.attach",
    "mux.rendezvous.confinement",
    "mux.rendezvous.paths",
    "mux.rendezvous.peer",
    "mux.rendezvous.sockets",
    "mux.shim",
    "mux.shim.breaker",
    "mux.shim.host",
    "mux.shim.journal",
    "mux.shim.link",
    "mux.shim.main",
    "mux.shim.relay",
    "mux.shim.session",
    "mux.shim.splitter",
    "mux.wire",
    "mux.wire.frames",
}
AGAIN = FIRST - {name for name in FIRST if name.startswith("mux.config")} - {
    "mux.rendezvous.attach",
    "mux.rendezvous.confinement",
    "mux.rendezvous.paths",
    "mux.rendezvous.peer",
    "mux.shim.main",
} | {"mux.shim.saved", "mux.shim.wake"}
"""After a sleep there is no command line to read and no backend to look for."""

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "mux" / "shim" / "mux-shim"
PYTHON_ITSELF = {"_signal"}


def imported(report: str) -> set[str]:
    """The modules of `-X importtime`, without those that the interpreter needs for itself."""
    names = [line.rpartition("|")[2].strip() for line in report.splitlines() if line.startswith("import time:")]
    return set(names[names.index("site") + 1 :])


def test_a_shim_that_joins_a_backend_loads_these_modules_and_no_others(bench: Bench) -> None:
    backend = bench.backend
    # no file of the user's: what one costs, its owner has chosen
    shim = bench.shim(environment={"PYTHONPROFILEIMPORTTIME": "1", "HOME": str(bench.directory)})
    connection = backend.accept()
    tell(shim, b"initialize\n")
    assert connection.line() == (1, b"initialize")
    connection.send(frame(OUT, b"answer\n", seq=1))
    assert hear(shim, 7) == b"answer\n"
    _, _, report = finish(shim)  # before the backend goes: a shim that looks for the next one loads more
    connection.close()
    names = imported(report.decode())
    assert {name for name in names if name.startswith("mux")} == FIRST
    assert {name for name in names if not name.startswith("mux")} <= STANDARD


def test_a_shim_that_wakes_loads_less() -> None:
    code = "import sys; sys.path.append(sys.argv[1]); import os; before = set(sys.modules); import mux.shim.wake; "
    code += "print(*sorted(set(sys.modules) - before))"
    command = [sys.executable, "-I", "-S", "-c", code, str(ROOT)]
    names = set(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split())
    assert {name for name in names if name.startswith("mux")} == AGAIN
    assert {name for name in names if not name.startswith("mux")} <= STANDARD | PYTHON_ITSELF


def test_the_script_loads_nothing_beside_the_shim() -> None:
    assert SCRIPT.stat().st_mode & 0o111 == 0o111, "pip makes only that executable which is it in the checkout"
    assert SCRIPT.read_text(encoding="utf-8").startswith("#!python\n"), "installers put their interpreter there"
    code = "import sys; sys.argv = ['mux-shim', '--version']; before = set(sys.modules)\n"
    code += f"try: exec({SCRIPT.read_text(encoding='utf-8')!r})\n"
    code += "except SystemExit: print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    assert set(done.stdout.splitlines()[1].split()) <= FIRST | STANDARD
