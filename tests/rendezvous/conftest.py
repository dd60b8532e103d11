"""Starters: real processes that attach through a stub backend, each test in a directory of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from mux.rendezvous.lock import try_lock
from mux.rendezvous.paths import Place
from tests.rendezvous.stub_backend import lives
from tests.support import processes
from tests.support.processes import MARK, eventually

STUB_SHIM = str(Path(__file__).with_name("stub_shim.py"))
ROOT = str(Path(__file__).parents[2])
_numbers = count(1)
HELLO_PAYLOAD = b"hello"


class Starters:
    """`start` runs a process that attaches; its first line of output is its outcome."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700)
        self.directory = directory
        self.socket = directory / "s.sock"
        self.lock = directory / "s.lock"
        self.fail = directory / "s.fail"
        self.running: list[subprocess.Popen[str]] = []

    def start(self, how: str = "serve", *more: str, **options: Any) -> subprocess.Popen[str]:
        environment = {**os.environ, MARK: str(self.directory), "PYTHONPATH": ROOT, "SECRET": "of the first session"}
        process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-P", STUB_SHIM, str(self.socket), how, *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            **options,
        )
        self.running.append(process)
        return process

    def outcome(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def lives(self) -> list[dict[str, Any]]:
        """What each backend that was started here said of itself."""
        return lives(str(self.socket))

    def end(self) -> None:
        for process in self.running:
            process.communicate(timeout=20)
        self.running.clear()

    def close(self) -> None:
        try:
            self.end()
            eventually("every process of the test has ended", lambda: not processes.marked(self.directory))
        finally:
            processes.kill(processes.marked(self.directory))


@pytest.fixture
def starters(run_directory: Path) -> Iterator[Starters]:
    world = Starters(run_directory / f"rendezvous-{next(_numbers)}")
    yield world
    world.close()
    for path in world.directory.iterdir():
        path.unlink()
    world.directory.rmdir()


@pytest.fixture
def private(run_directory: Path) -> Iterator[Path]:
    """A directory as the runtime directory should be."""
    directory = run_directory / f"private-{next(_numbers)}"
    directory.mkdir(mode=0o700)
    yield directory
    for path in sorted(directory.rglob("*"), reverse=True):
        path.unlink() if path.is_symlink() or not path.is_dir() else path.rmdir()
    directory.rmdir()


def held(path: Path) -> int:
    """The lock at `path`, which is free."""
    fd = try_lock(str(path))
    assert fd is not None
    return fd


@pytest.fixture
def place(private: Path) -> Place:
    return Place(f"{private}/s.sock")
