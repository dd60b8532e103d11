"""`@modelcontextprotocol/conformance` against one stdio server: directly, and with mux-shim in front of it.

`python -m tests.suites.conformance` installs the suite from npm and the server, which is the Python SDK's own, into the
cache, puts `adapter.py` before the server, runs all server scenarios on the wire of each era, and fails if the shim
changes the outcome of a check without a reason in `differences.json`. `--companions N` adds a run in which N other
sessions keep asking the same server. `--record` writes the baseline.

It wants an idle machine: each HTTP session starts a server, and a check that waits too long for one is a failure. The
suite's client scenarios start a client against an HTTP server: nothing there speaks stdio, so they are not run.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.suites import differences
from tests.suites.differences import BESIDE, DIRECT, SHIM
from tests.suites.python_sdk import sdk
from tests.support.installed import Node, node, npm_package
from tests.support.runtime import Runtime

PACKAGE, VERSION = "@modelcontextprotocol/conformance", "0.2.0-alpha.11"
"""The one that knows both eras, and against which that server is tested at home."""

WIRES = ("2025-11-25", "2026-07-28")
PROCESSES = {DIRECT: 1, SHIM: 3}
"""Over how many processes, or sessions, requests that belong to none are spread."""

GRACE = 60.0
"""Seconds; HTTP sessions of one scenario after the other find the server of the one before."""

SUITE_SECONDS = 1200
STAMP = re.compile(r"-\d{4}-\d\d-\d\dT.*")
HERE = Path(__file__).parent


@contextmanager
def adapter(runtime: Runtime, mode: str, companions: int) -> Generator[str]:
    """The URL of the server. Raises RuntimeError if a companion complains."""
    server = [str(sdk.PYTHON), str(HERE / "server.py")]
    command = runtime.shim(*server) if mode == SHIM else server
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [str(sdk.PYTHON), str(HERE / "adapter.py"), str(PROCESSES[mode]), str(companions), *command],
            cwd=runtime.project,
            env={**runtime.environment, "PYTHONPATH": str(sdk.EXAMPLES)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
        finally:
            process.stdin.close()
            process.stdout.close()
            if process.wait(60):
                log.seek(0)
                raise RuntimeError(f"{mode}: the adapter failed: {log.read()[-4000:]}")


def scenarios(found: Node, package: Path, url: str, wire: str, to: Path) -> dict[str, str]:
    """Run them all; `wire scenario check` → outcome. What is only noted is left out."""
    suite = ["node", str(package / "dist" / "index.js"), "server", "--url", url, "--suite", "all"]
    done = subprocess.run(
        [*suite, "--spec-version", wire, "-o", str(to)],
        env={**os.environ, "PATH": found.path},
        capture_output=True,
        text=True,
        timeout=SUITE_SECONDS,
        check=False,
    )
    outcomes: dict[str, str] = {}
    for path in sorted(to.glob("*/checks.json")):
        scenario = STAMP.sub("", path.parent.name.removeprefix("server-"))
        seen: Counter[str] = Counter()
        for check in json.loads(path.read_text(encoding="utf-8")):
            seen[check["id"]] += 1
            nth = f" {seen[check['id']]}" if seen[check["id"]] > 1 else ""
            if check["status"] != "INFO":
                outcomes[f"{wire} {scenario} {check['id']}{nth}"] = check["status"]
    if not outcomes:
        raise SystemExit(f"{wire}: nothing ran\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return outcomes


def run(found: Node, package: Path, mode: str, companions: int = 0) -> dict[str, str]:
    """All wires. Fails if anything is left behind."""
    outcomes: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="mux-", dir="/tmp") as root:
        runtime = Runtime(Path(root) / "r", grace=GRACE)
        try:
            with adapter(runtime, mode, companions) as url:
                for wire in WIRES:
                    outcomes |= scenarios(found, package, url, wire, Path(root) / wire)
        finally:
            runtime.close()
    print(f"{mode}: {len(outcomes) - len(differences.failed(outcomes))} of {len(outcomes)} checks pass", flush=True)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--companions", type=int, default=0, metavar="N")
    given = parser.parse_args()
    sdk.install()
    found, package = node(), npm_package(PACKAGE, VERSION)
    if isinstance(found, str) or isinstance(package, str):
        raise SystemExit(f"not to be had: {found if isinstance(found, str) else package}")
    seen = {way: run(found, package, way) for way in (DIRECT, SHIM)}
    if given.companions:
        seen[BESIDE] = run(found, package, SHIM, given.companions)
    if given.record:
        about = {"conformance": VERSION, "mcp": sdk.VERSION, "checks": len(seen[DIRECT])}
        differences.record(HERE, about, seen)
    return bool(differences.unexplained(HERE, seen, lambda name: name.split()[1]))


if __name__ == "__main__":
    sys.exit(main())
