"""A backend is no way out of a sandbox, and nobody in one serves those outside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.security.support import CONFINED, ROOT, ask, confined, listening, sandboxes, started
from tests.support.runtime import SCRIPTED, Runtime

PLACES = "from mux.rendezvous.paths import places; print(places()[0].socket)"
SECRET = "canary-7f3a-of-the-sandbox"
ELSEWHERE = "another sandbox or container"


def no_new_privileges(pid: int) -> str:
    found = re.search(r"NoNewPrivs:\t(\d)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return found[1]


@sandboxes
def test_whoever_asks_from_a_sandbox_is_refused_by_a_backend_outside(runtime: Runtime, sandbox: str) -> None:
    prefix = confined(sandbox)
    session = runtime.ready()
    kind, why = ask(runtime, "none", prefix)
    assert kind == "refused"
    assert ELSEWHERE in why
    assert session.call("echo", text="and on") == "and on"
    assert ask(runtime, "none") == ["welcome", ""], "the same from outside"


@sandboxes
def test_a_shim_in_a_sandbox_runs_its_server_there_and_sends_nothing_out(runtime: Runtime, sandbox: str) -> None:
    prefix = confined(sandbox)
    shared = runtime.ready()
    inside = started(runtime, [*prefix, *runtime.shim(*SCRIPTED)])
    inside.initialize()
    assert ELSEWHERE in inside.stderr
    assert "running" in inside.stderr
    assert len(runtime.status()["sessions"]) == 1
    assert inside.call("environment", name="MUX_INSIDE") == "null", "no backend has started it"
    assert inside.finish() == 0
    assert shared.call("echo", text="and on") == "and on"


@sandboxes
def test_a_listener_in_a_sandbox_gets_not_a_byte_from_outside(runtime: Runtime, sandbox: str) -> None:
    prefix = confined(sandbox)
    with listening(runtime, "none", prefix) as heard:
        session = started(runtime, runtime.shim(*SCRIPTED), API_TOKEN=SECRET)
        session.initialize()
        assert session.pid() == session.child.pid, "the server runs directly"
        assert f"{ELSEWHERE}; nothing was sent there" in session.stderr
        assert session.finish() == 0
    assert heard["connections"] >= 1
    assert (heard["bytes"], heard["descriptors"]) == (0, 0)


def test_a_backend_that_a_sandboxed_shim_has_started_serves_nobody_outside(runtime: Runtime) -> None:
    """An explicit path has no mark of the sandbox in it: both ends have to look."""
    confined("nnp")
    inside = started(runtime, [*CONFINED, "nnp", *runtime.shim(*SCRIPTED)])
    inside.initialize()
    assert no_new_privileges(inside.pid()) == "1"
    outside = runtime.ready(environment={"API_TOKEN": SECRET})
    assert outside.pid() == outside.child.pid
    assert ELSEWHERE in outside.stderr
    assert no_new_privileges(outside.pid()) == "0"
    again = started(runtime, [*CONFINED, "nnp", *runtime.shim(*SCRIPTED)])
    again.initialize()
    assert again.pid() == inside.pid(), "those inside share among themselves"


@sandboxes
def test_inside_and_outside_have_different_names_by_default(sandbox: str) -> None:
    """So that they do not even meet."""
    argv = [sys.executable, "-c", PLACES]
    where = [
        subprocess.run(
            [*prefix, *argv],
            env={**os.environ, "PYTHONPATH": ROOT},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
        for prefix in ([], confined(sandbox))
    ]
    assert where[0].endswith(".sock\n")
    assert Path(where[0]).name != Path(where[1]).name
