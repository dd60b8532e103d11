"""Sessions that go to sleep after a moment, and what shows that they do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil
import pytest

from tests.support.processes import eventually
from tests.support.runtime import Runtime
from tests.support.session import Session

PARK_AFTER = "0.05"
SOON = ("--park-after", PARK_AFTER)
SHELLS = ("dash", "bash", "busybox")


def shell(name: str, directory: Path) -> dict[str, str]:
    """The environment that lets `name` be `sh` for shims; skips where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    link = directory / "sh"
    link.symlink_to(found)
    return {"MUX_PARK_SHELL": str(link)}


def sleeps(pid: int) -> bool:
    """Whether that process of ours is a parked shim now."""
    try:
        command = psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return False
    return command[:2] == ["sh", "-c"] and any(word.startswith("mux-shim (parked) ") for word in command)


def expect_sleep(session: Session) -> Session:
    eventually("the session sleeps", lambda: sleeps(session.child.pid))
    return session


def sleeper(runtime: Runtime, *command: str, environment: dict[str, str] | None = None, **how: object) -> Session:
    """A session that has shaken hands and sleeps."""
    session = runtime.ready(*command, options=SOON, environment=environment, **how)
    return expect_sleep(session)


def descriptors(pid: int) -> list[str]:
    """What a process has open, sorted; without the numbers."""
    links = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            continue
    return sorted(link.partition(":")[0] for link in links)
