from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.shim.backend import PATIENCE, Backend
from tests.support.processes import MARK

_numbers = count(1)
SHIM = str(Path(sys.executable).with_name("mux-shim"))


class Bench:
    """A directory with a backend played by hand, and real shims in front of it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700)
        self.directory = directory
        self.socket = directory / "s.sock"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MUX_")},
            MARK: str(directory),
        }
        self._backend: Backend | None = None
        self.shims: list[subprocess.Popen[bytes]] = []

    @property
    def backend(self) -> Backend:
        if self._backend is None:
            self._backend = Backend(self.socket)
        return self._backend

    def shim(
        self,
        *arguments: str,
        environment: dict[str, str] | None = None,
        stdin: int | None = subprocess.PIPE,
        stdout: int = subprocess.PIPE,
        cwd: str | Path | None = None,
        umask: int = -1,
        preexec_fn: Callable[[], object] | None = None,
    ) -> subprocess.Popen[bytes]:
        """`mux-shim ARGUMENTS`, by default in front of a server that would only say that it was run."""
        process = subprocess.Popen(
            [SHIM, "--socket", str(self.socket), *(arguments or ("/bin/echo", "run directly"))],
            env={**self.environment, **(environment or {})},
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=cwd,
            umask=umask,
            preexec_fn=preexec_fn,  # noqa: PLW1509 - no test calls this with threads of its own running
        )
        self.shims.append(process)
        return process

    def close(self) -> None:
        for process in self.shims:
            process.kill()
            process.communicate(timeout=PATIENCE)
        if self._backend is not None:
            self._backend.close()
        self.directory.chmod(0o700)
        shutil.rmtree(self.directory)


@pytest.fixture
def bench(run_directory: Path) -> Iterator[Bench]:
    world = Bench(run_directory / f"shim-{next(_numbers)}")
    yield world
    world.close()


def tell(process: subprocess.Popen[bytes], data: bytes) -> None:
    """Write all of `data` to the child's stdin."""
    assert process.stdin is not None
    view = memoryview(data)
    while view:
        view = view[process.stdin.write(view) or 0 :]


def hear(process: subprocess.Popen[bytes], size: int) -> bytes:
    """Exactly `size` bytes of the child's stdout, or what came before its end."""
    assert process.stdout is not None
    data = b""
    while len(data) < size and (piece := process.stdout.read(size - len(data))):
        data += piece
    return data


def end_input(process: subprocess.Popen[bytes]) -> None:
    """Close the child's stdin."""
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None


def finish(process: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    """Close stdin: (exit code, rest of stdout, stderr)."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err
