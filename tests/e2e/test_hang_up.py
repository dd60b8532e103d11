"""A host that hangs up is heard once: a shim that can not end yet waits without work."""

from __future__ import annotations

import os
import time

import psutil
import pytest

from tests.support.processes import eventually
from tests.support.runtime import Runtime
from tests.support.session import Session

IDLE_SHARE = 0.2
"""Of one processor: an idle shim takes none, a spinning one all that it gets."""
NOTE = b'{"jsonrpc":"2.0","method":"notifications/nothing"}\n' * 100


def share(process: psutil.Process) -> float:
    """What part of a processor it takes, over a second."""
    before, begun = sum(process.cpu_times()[:2]), time.monotonic()
    time.sleep(1.0)
    return (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - begun)


def fill(session: Session) -> None:
    """Write until its shim reads no more. A pipe's flags belong to one of its ends: the shim's stays as it is."""
    os.set_blocking(session._to, False)

    def full() -> bool:
        try:
            session.write(NOTE)
        except BlockingIOError:
            time.sleep(0.3)
            try:
                os.write(session._to, b"\n")
            except BlockingIOError:
                return True
        return False

    eventually("the shim reads no more", full)


@pytest.mark.parametrize("waits_for", ["answer", "backend"])
def test_a_shim_whose_host_has_hung_up_takes_no_processor_time(runtime: Runtime, waits_for: str) -> None:
    """It ends after its wait for the answer, or once the backend has what the host had written."""
    session = runtime.ready()
    backend = runtime.backend()
    shim = psutil.Process(session.child.pid)
    if waits_for == "answer":
        session.begin_call("sleep", seconds=30)
    else:
        backend.suspend()
        fill(session)
    session.end_input()
    try:
        assert share(shim) < IDLE_SHARE
    finally:
        backend.resume()
    assert session.wait() == 0
