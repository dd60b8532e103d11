"""Intruders in processes of their own, and the sandboxes that this machine permits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.security.intruder import NOBODY
from tests.support.runtime import Runtime
from tests.support.session import Session

INTRUDER = [sys.executable, str(Path(__file__).with_name("intruder.py"))]
CONFINED = [sys.executable, str(Path(__file__).with_name("confined.py"))]
ROOT = str(Path(__file__).parents[2])
PATIENCE = 30.0

SANDBOXES: dict[str, list[str]] = {
    "nnp": [*CONFINED, "nnp"],
    "seccomp": [*CONFINED, "seccomp"],
    "mount namespace": ["unshare", "--mount"],
    "network namespace": ["unshare", "--net"],
    "pid namespace": ["unshare", "--pid", "--fork", "--mount-proc"],
    "user namespace": ["unshare", "--user", "--map-root-user"],
}
"""How a command is put into each: what stands before it."""

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
sandboxes = pytest.mark.parametrize("sandbox", SANDBOXES)

__all__ = ["NOBODY", "ask", "confined", "intruder", "listening", "root_only", "sandboxes", "started"]


def confined(sandbox: str) -> list[str]:
    """What to put before a command; skips, with the reason, where that is not permitted."""
    prefix = SANDBOXES[sandbox]
    if shutil.which(prefix[0]) is None:
        pytest.skip(f"there is no {prefix[0]}")
    tried = subprocess.run(
        [*prefix, "/bin/true"],
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if tried.returncode:
        pytest.skip(f"no {sandbox} here: {tried.stderr.strip()}")
    return prefix


def started(runtime: Runtime, argv: Sequence[str], **environment: str) -> Session:
    """A shim that is started in an odd way; closed with the runtime."""
    found = Session(argv, environment={**runtime.environment, "PYTHONPATH": ROOT, **environment}, cwd=runtime.project)
    runtime.sessions.append(found)
    return found


def intruder(runtime: Runtime, how: str, what: str, prefix: Sequence[str] = ()) -> subprocess.Popen[str]:
    """The intruder at the runtime's socket."""
    return subprocess.Popen(
        [*prefix, *INTRUDER, how, what, str(runtime.socket)],
        env={**runtime.environment, "PYTHONPATH": ROOT},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ask(runtime: Runtime, how: str, prefix: Sequence[str] = ()) -> list[str]:
    """What an intruder is told that asks the backend for a server: [refused, why], [closed, ""] or [welcome, ""]."""
    said, wrong = intruder(runtime, how, "connect", prefix).communicate(timeout=PATIENCE)
    assert said, wrong
    answer: list[str] = json.loads(said)
    return answer


@contextmanager
def listening(runtime: Runtime, how: str, prefix: Sequence[str] = ()) -> Generator[dict[str, Any]]:
    """An intruder in a backend's place. The dict is filled at the end with what it got."""
    process = intruder(runtime, how, "listen", prefix)
    heard: dict[str, Any] = {}
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == '"listening"\n', process.stderr.read()
        yield heard
        said, wrong = process.communicate(timeout=PATIENCE)
        assert said, wrong
        heard.update(json.loads(said))
    finally:
        process.kill()
        process.communicate()
        runtime.socket.unlink(missing_ok=True)
