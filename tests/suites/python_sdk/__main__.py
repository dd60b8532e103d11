"""The Python SDK's interaction tests: in memory, through a server's stdio, and through mux-shim.

`python -m tests.suites.python_sdk` downloads the SDK's source and what its tests need into the cache, runs them in each
way, and fails if the shim makes a difference that `differences.json` does not explain. `--companions N` adds a run in
which N other sessions of each test's server send requests with equal ids and tokens. `--record` writes the baseline.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from tests.suites import differences
from tests.suites.differences import BESIDE, DIRECT, SHIM
from tests.suites.python_sdk import sdk
from tests.support.runtime import program

HERE = Path(__file__).parent
TESTS = ("tests/interaction/lowlevel", "tests/interaction/mcpserver")
OUTCOME = re.compile(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL)\b", re.MULTILINE)


def run(mode: str, companions: int = 0) -> dict[str, str]:
    """Test → outcome."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "MUX_SUITE": mode, "MUX_SUITE_SHIM": program("mux-shim")}
    environment["MUX_SUITE_COMPANIONS"] = str(companions)
    pytest = [str(sdk.PYTHON), "-m", "pytest", "-p", "redirect", "-p", "anyio", "-p", "no:cacheprovider", "-v"]
    options = ["-o", "addopts=", "-o", "log_cli=false", "--tb=no", "--timeout=60"]
    wanted = ["-k", "not streamable-http and not sse", *TESTS]
    done = subprocess.run(
        [*pytest, *options, *wanted], cwd=sdk.SOURCE, env=environment, capture_output=True, text=True, check=False
    )
    outcomes = {name: outcome for name, outcome in OUTCOME.findall(done.stdout) if outcome != "SKIPPED"}
    if not outcomes:
        raise SystemExit(f"{mode}: nothing ran\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    print(f"{mode}: {len(outcomes) - len(differences.failed(outcomes))} of {len(outcomes)} pass", flush=True)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--companions", type=int, default=0, metavar="N")
    given = parser.parse_args()
    sdk.install()
    seen = {way: run(way) for way in ("memory", DIRECT, SHIM)}
    if given.companions:
        seen[BESIDE] = run(SHIM, given.companions)
    if given.record:
        about = {"mcp": sdk.VERSION, "python": platform.python_version(), "tests": len(seen["memory"])}
        differences.record(HERE, about, seen)
    return bool(differences.unexplained(HERE, seen, lambda name: name.rpartition("::")[2].partition("[")[0]))


if __name__ == "__main__":
    sys.exit(main())
