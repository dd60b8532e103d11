"""What outlives SIGKILL, as a process does that the kernel holds, holds no backend up."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager

import psutil
import pytest

from mux.wire import frames
from tests.backend.support import PATIENCE, World
from tests.support.processes import eventually, running

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_O_TRACEEXIT, WALL = 17, 0x4206, 0x40, 0x40000000


@contextmanager
def held_at_its_end(pid: int) -> Generator[None]:
    """The process can not end: its tracer, this thread, is told of the end and lets it go only after the block."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if ptrace(PTRACE_SEIZE, pid, None, PTRACE_O_TRACEEXIT) != 0:
        pytest.skip(f"the system lets nobody trace: {errno.errorcode[ctypes.get_errno()]}")
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)  # if nobody else did; it is there as long as it is held
        os.waitpid(pid, WALL)
        ptrace(PTRACE_DETACH, pid, None, None)


@pytest.mark.skipif(sys.platform != "linux", reason="by ptrace")
def test_a_server_that_outlives_sigkill_is_named_and_the_backend_leaves_without_it(world: World) -> None:
    backend = world.start()
    peer = world.session("/bin/cat")
    peer.send(frames.LINE, b"x", seq=1)
    assert peer.line() == b"x\n"
    (server,) = psutil.Process(backend.pid).children()
    with held_at_its_end(server.pid):
        backend.send_signal(signal.SIGTERM)
        assert backend.wait(PATIENCE) == 0
        assert running(server.pid)
    assert "upstream.unkillable" in world.log()
    assert world.files() == {"s.lock", "s.log"}
    eventually("it is gone", lambda: not running(server.pid))
