"""A server that idles out under a session that stays: stopped, started again by the next call, unseen by the host."""

from __future__ import annotations

import time

from tests.support.processes import eventually, running
from tests.support.runtime import Runtime

IDLE = 0.3
OPTIONS = ("--idle-timeout", str(IDLE))
URI = {"uri": "file:///a"}


def test_an_idle_server_is_stopped_and_the_next_call_works_while_the_host_sees_no_other_line(runtime: Runtime) -> None:
    session = runtime.ready(options=OPTIONS)
    server = session.pid()
    heard = len(session.lines)
    eventually("the idle server is stopped", lambda: not running(server))
    assert runtime.servers("scripted.py") == []
    assert session.pid() != server
    assert session.call("echo", text="on") == "on"
    assert len(session.lines) == heard + 2
    assert session.stderr == ""
    assert session.finish() == 0


def test_a_server_with_a_subscription_is_never_idle(runtime: Runtime) -> None:
    session, other = runtime.ready(options=OPTIONS), runtime.ready(options=(*OPTIONS, "--scope", "session"))
    session.request("resources/subscribe", URI)
    server, idle = session.pid(), other.pid()
    begun = time.monotonic()
    eventually("another session's server, without one, is stopped", lambda: not running(idle))
    time.sleep(max(0.0, begun + 5 * IDLE - time.monotonic()))
    assert session.pid() == server
