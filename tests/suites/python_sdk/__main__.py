"""The Python SDK's interaction tests: in memory, through a server's stdio, and through mux-shim.

`python -m tests.suites.python_sdk` downloads the SDK's source and what its tests need into the cache, runs them in each
way, and fails if the shim makes a difference that `differences.json` does not explain. `--record` writes the baseline.
`--companions N` lets N other sessions of each test's server send requests with equal ids and tokens meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from typing import Any

from tests.support.installed import CACHE
from tests.support.runtime import program

VERSION = "2.3.0"
HERE = Path(__file__).parent
ROOT = CACHE / f"python-sdk-{VERSION}"
PYTHON = ROOT / "venv" / "bin" / "python"
SOURCE = ROOT / f"mcp-{VERSION}"
NEEDED = "trio inline-snapshot dirty-equals logfire opentelemetry-sdk blockbuster pytest pytest-examples pytest-timeout"
TESTS = ("tests/interaction/lowlevel", "tests/interaction/mcpserver")
OUTCOME = re.compile(r"^(\S+::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL)\b", re.MULTILINE)


def install() -> None:
    if (ROOT / "complete").exists():
        return
    venv.create(ROOT / "venv", with_pip=True)
    pip = [str(PYTHON), "-m", "pip", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", f"mcp[cli]=={VERSION}", *NEEDED.split()], check=True)
    subprocess.run(
        [*pip, "download", "--no-binary", "mcp", "--no-deps", "-d", str(ROOT), f"mcp=={VERSION}"], check=True
    )
    with tarfile.open(ROOT / f"mcp-{VERSION}.tar.gz") as archive:
        archive.extractall(ROOT, filter="data")
    (ROOT / "complete").touch()


def run(mode: str, companions: int = 0) -> dict[str, str]:
    """Test → outcome."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), "MUX_SUITE": mode, "MUX_SUITE_SHIM": program("mux-shim")}
    environment["MUX_SUITE_COMPANIONS"] = str(companions)
    pytest = [str(PYTHON), "-m", "pytest", "-p", "redirect", "-p", "anyio", "-p", "no:cacheprovider", "-v", "--tb=no"]
    options = ["-o", "addopts=", "-o", "log_cli=false", "--timeout=60", "-k", "not streamable-http and not sse"]
    done = subprocess.run(
        [*pytest, *options, *TESTS], cwd=SOURCE, env=environment, capture_output=True, text=True, check=False
    )
    outcomes = {name: outcome for name, outcome in OUTCOME.findall(done.stdout) if outcome != "SKIPPED"}
    if not outcomes:
        raise SystemExit(f"{mode}: nothing ran\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    print(f"{mode}: {sum(outcome == 'PASSED' for outcome in outcomes.values())} of {len(outcomes)} pass", flush=True)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--companions", type=int, default=0)
    given = parser.parse_args()
    install()
    seen = {"memory": run("memory"), "direct": run("direct"), "shim": run("shim", given.companions)}
    failed = {mode: sorted(name for name, how in found.items() if how != "PASSED") for mode, found in seen.items()}
    if given.record:
        baseline: dict[str, Any] = {"mcp": VERSION, "tests": len(seen["memory"]), "failed": failed}
        (HERE / "baseline.json").write_text(json.dumps(baseline, indent=1) + "\n", encoding="utf-8")
    reasons: dict[str, dict[str, str]] = json.loads((HERE / "differences.json").read_text(encoding="utf-8"))
    explained = {**reasons["always"], **(reasons["companions"] if given.companions else {})}
    different = [name for name in failed["shim"] if name not in failed["direct"]]
    for name in different:
        print(f"{name}\n    {explained.get(name.rpartition('::')[2].partition('[')[0], 'NOT EXPLAINED')}")
    unexplained = [name for name in different if name.rpartition("::")[2].partition("[")[0] not in explained]
    print(f"{len(different)} differences, {len(unexplained)} not explained")
    return bool(unexplained)


if __name__ == "__main__":
    sys.exit(main())
