"""A value of the environment reaches the server that it was meant for, and nothing else that anybody could read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.park.support import sleeps
from tests.support.processes import GONE, eventually
from tests.support.runtime import SCRIPTED, Runtime
from tests.support.session import Failed, Session

CANARY = "canary-7f3a-of-the-environment"
ENVIRONMENT = {"API_TOKEN": CANARY, "CLAUDE_CODE_MESSAGING_TOKEN": CANARY, "ODD NAME": CANARY}


def files(runtime: Runtime) -> Iterator[tuple[str, bytes]]:
    """Everything that stands in the runtime directory, by name."""
    for path in runtime.directory.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(runtime.directory)), path.read_bytes()


def commands(runtime: Runtime) -> Iterator[tuple[str, bytes]]:
    """The command line of every process of the test; and the environment of the backend, which serves others too."""
    for process in runtime.processes():
        try:
            yield f"argv of {process.pid}", " ".join(process.cmdline()).encode()
        except GONE:
            continue
    for backend in runtime.backends():
        yield f"environment of {backend.pid}", Path(f"/proc/{backend.pid}/environ").read_bytes()


def screens(runtime: Runtime) -> Iterator[tuple[str, bytes]]:
    """What the operator's commands print."""
    socket = ("--socket", str(runtime.socket))
    for words in (
        ("status", *socket),
        ("status", "--json", *socket),
        ("explain", "1", *socket),
        ("explain", "1", "2", *socket),
        ("logs", *socket),
        ("config", *SCRIPTED),
        ("config", "--json", *SCRIPTED),
        ("doctor", *socket),
        ("prune", *socket),
    ):
        done = runtime.mux(*words)
        yield f"mux {' '.join(words)}", (done.stdout + done.stderr).encode()


def expect_nowhere(runtime: Runtime, *sessions: Session) -> None:
    """Nowhere but in the environment of servers and in what they were asked to say."""
    found = [*files(runtime), *commands(runtime), *screens(runtime)]
    for session in sessions:
        found.append(("stderr of a shim", session.stderr.encode()))
        found += [("a line to a host", line) for line in session.lines]
    assert len(found) >= 12
    assert [where for where, data in found if CANARY.encode() in data] == []


@pytest.fixture(autouse=True)
def in_the_operators_environment_too(runtime: Runtime) -> None:
    runtime.environment.update(ENVIRONMENT)


def test_of_sessions_that_are_served_no_value_is_shown_or_kept(runtime: Runtime) -> None:
    one = runtime.ready()
    other = runtime.ready(environment={"API_TOKEN": "another"})
    assert one.pid() != other.pid()
    assert CANARY in Path(f"/proc/{one.pid()}/environ").read_text(), "it does reach its server"
    expect_nowhere(runtime, one, other)


def test_of_servers_that_fail_no_value_is_shown_or_kept(runtime: Runtime) -> None:
    dies = runtime.session(*SCRIPTED, "--die-at-start", "3")
    with pytest.raises(Failed, match="-31001"):
        dies.initialize()
    missing = runtime.session("there-is-no-such-server")
    with pytest.raises(Failed, match="-31001"):
        missing.initialize()
    crashes = runtime.ready()
    with pytest.raises(Failed, match="-31002"):
        crashes.call("crash")
    expect_nowhere(runtime, dies, missing, crashes)


def test_of_a_backend_that_can_not_start_or_was_killed_no_value_is_kept(runtime: Runtime) -> None:
    (runtime.directory / "s.log").mkdir()
    direct = runtime.ready()
    assert direct.pid() == direct.child.pid
    assert (runtime.directory / "s.fail").exists()
    expect_nowhere(runtime, direct)
    (runtime.directory / "s.log").rmdir()
    (runtime.directory / "s.fail").unlink()
    killed = runtime.ready()
    runtime.backend().kill()
    assert killed.request("tools/list")["tools"], "a list is asked for again, whenever the backend died"
    expect_nowhere(runtime, killed)


def test_of_a_session_that_sleeps_no_value_is_in_a_file_or_a_command_line(runtime: Runtime) -> None:
    """What it needs to wake up is in a file without a name, in memory where the kernel can."""
    session = runtime.ready(options=["--park-after", "0.05"])
    eventually("the session sleeps", lambda: sleeps(session.child.pid))
    links = {os.readlink(f"/proc/{session.child.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{session.child.pid}/fd")}
    assert not [link for link in links if link.startswith(str(runtime.directory)) and "deleted" not in link]
    assert CANARY.encode() not in b" ".join(word.encode() for word in psutil.Process(session.child.pid).cmdline())
    expect_nowhere(runtime, session)
