"""`mcp-fuzzer` against a real server: directly, and through mux-shim beside a session that works all the while.

`python -m tests.suites.fuzzer` installs the fuzzer from PyPI and the server, which is the Python SDK's own for its
conformance tests, into the cache. Each way takes a minute or two. It fails if through the shim the fuzzer finds a fault
of a kind that it does not find directly, if the companion gets one answer that is not its own, hears anything else or
is asked anything, if backend or server do not survive, or if anything is left behind. `--record` writes the baseline.

What the fuzzer sends differs a little from run to run, whatever its seed, so only kinds of findings are compared.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from tests.suites.conformance.__main__ import HERE as CONFORMANCE
from tests.suites.python_sdk import sdk
from tests.support.installed import environment
from tests.support.runtime import DIRECT, SHIM, Runtime
from tests.support.session import Session

VERSION = "0.7.0"
HERE = Path(__file__).parent
OPTIONS = "--mode all --phase both --protocol-phase aggressive --runs 3 --runs-per-type 5 --stateful --havoc --seed 7"
ANSWER_SECONDS = 20  # the server's start on a busy machine; the fuzzer waits so long for what will never be answered
RUN_SECONDS = 600
WEIGHT_BYTES = 4096
BETWEEN_SECONDS = 0.01
OPENING = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"experimental": {}, "roots": {"listChanged": True}, "sampling": {}},
    "clientInfo": {"name": "mcp-fuzzer", "version": VERSION},
}
"""The companion says of itself what the fuzzer says, or the two would not share a server."""

TIMED = {"memory_growth", "performance_outlier"}
"""Findings that a busy machine brings about."""

FOR_ALL = "/list_changed"
GRACE = 60.0

Json = dict[str, Any]


class Companion(threading.Thread):
    """A session that keeps calling, each time with words of its own, and looks at each answer."""

    def __init__(self, session: Session) -> None:
        super().__init__(daemon=True)
        self.session = session
        self.answers = 0
        self.complaint = ""
        self._over = threading.Event()
        session.request("initialize", OPENING)
        session.notify("notifications/initialized")

    def run(self) -> None:
        try:
            while not self._over.is_set():
                self._ask(f"{self.answers}-" + "x" * (self.answers * 37 % WEIGHT_BYTES))
                self._over.wait(BETWEEN_SECONDS)
        except AssertionError as error:
            self.complaint = f"after {self.answers} answers: {error}"

    def _ask(self, words: str) -> None:
        given = {"arg1": words, "arg2": "other"}
        prompt = self.session.request("prompts/get", {"name": "test_prompt_with_arguments", "arguments": given})
        said = prompt["messages"][0]["content"]["text"]
        assert said == f"Prompt with arguments: arg1='{words}', arg2='other'", f"it heard {said[:200]!r}"
        read = self.session.request("resources/read", {"uri": f"test://template/{self.answers}/data"})
        about = json.loads(read["contents"][0]["text"])
        assert about["id"] == str(self.answers), f"it heard {about!r}"
        assert self.session.call("test_simple_text") == "This is a simple text response for testing."
        self.answers += 3

    def end(self) -> None:
        """Raises AssertionError with what was wrong."""
        self._over.set()
        self.join()
        heard = [message for message in self.session.notifications if not message["method"].endswith(FOR_ALL)]
        assert not self.complaint, self.complaint
        assert not heard, f"it was told {heard[0]}"
        assert not self.session.questions, f"it was asked {self.session.questions[0]}"
        assert all(len(found) == 1 for found in self.session.answers().values()), "a request was answered twice"


def fuzz(runtime: Runtime, python: str, command: list[str]) -> Json:
    """One run: how it ended, how much it covered, how many findings of each kind."""
    out = runtime.directory / "out"
    options = [*shlex.split(OPTIONS), "--timeout", str(ANSWER_SECONDS), "--output-dir", str(out), "--no-network"]
    done = subprocess.run(
        [python, "-m", "mcp_fuzzer", *options, "--protocol", "stdio", "--endpoint", shlex.join(command)],
        cwd=runtime.project,
        env=runtime.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the fuzzer failed: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    summary: Json = json.loads((out / "run_summary.json").read_text(encoding="utf-8"))
    protocol = summary["protocols"]["by_type"]
    return {
        "status": summary["status"],
        "tools": len(summary["tools"]["by_name"]),
        "runs": sum(entry["total_runs"] for entry in protocol.values()),
        "types": len(protocol),
        "findings": summary["findings"]["by_category"],
    }


def shared(runtime: Runtime, python: str, server: list[str]) -> Json:
    """Beside a companion. Raises AssertionError if it, the backend or the server noticed anything."""
    companion = Companion(runtime.session(*server))
    before = alive(runtime)
    companion.start()
    found = fuzz(runtime, python, runtime.shim(*server))
    companion.end()
    after = alive(runtime)
    assert after == before, f"backend or server did not survive: {before} became {after}"
    beside = len(re.findall(r"session\.joined .*upstream=1 ", (runtime.directory / "s.log").read_text("utf-8"))) - 1
    assert beside > 0, "the fuzzer and its companion never shared a server"
    return {**found, "sessions beside the companion": beside, "answers of the companion": companion.answers}


def alive(runtime: Runtime) -> tuple[int, int, int]:
    """Process ids of the backend and of the companion's server, and how often that was started."""
    state = runtime.status()
    (upstream,) = (upstream for upstream in state["upstreams"] if upstream["id"] == 1)
    return state["backend"]["pid"], upstream["pid"], upstream["generation"]


def run(mode: str, python: str) -> Json:
    """Fails if anything is left behind."""
    server = [str(sdk.PYTHON), str(CONFORMANCE / "server.py")]
    with tempfile.TemporaryDirectory(prefix="mux-", dir="/tmp") as root:
        runtime = Runtime(Path(root) / "r", grace=GRACE)
        runtime.environment = {
            **{name: value for name, value in runtime.environment.items() if not name.lower().endswith("_proxy")},
            "PYTHONPATH": str(sdk.EXAMPLES),
        }
        try:
            found = shared(runtime, python, server) if mode == SHIM else fuzz(runtime, python, server)
        finally:
            runtime.close()
    print(f"{mode}: {json.dumps(found)}", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    sdk.install()
    python = environment(f"mcp-fuzzer-{VERSION}", f"mcp-fuzzer=={VERSION}")
    if python is None:
        raise SystemExit("mcp-fuzzer is not to be had")
    seen = {mode: run(mode, python) for mode in (DIRECT, SHIM)}
    if given.record:
        baseline = {"mcp-fuzzer": VERSION, "mcp": sdk.VERSION, "options": OPTIONS, **seen}
        (HERE / "baseline.json").write_text(json.dumps(baseline, indent=1) + "\n", encoding="utf-8")
    worse = sorted(set(seen[SHIM]["findings"]) - set(seen[DIRECT]["findings"]) - TIMED)
    for kind in worse:
        print(f"only through the shim: {kind}")
    covered = all(seen[SHIM][what] == seen[DIRECT][what] for what in ("status", "tools", "types"))
    if not covered:
        print("through the shim the fuzzer does not reach what it reaches directly")
    return bool(worse or not covered)


if __name__ == "__main__":
    sys.exit(main())
