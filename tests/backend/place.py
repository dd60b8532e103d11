"""Where sessions of the tests stand: a home with a repository in it, and what they say of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mux.core.environment import variables
from mux.core.events import SessionOpened
from mux.wire.frames import Hello


class Place:
    """A home with a repository in it, and a directory of commands."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.repository = self.home / "repository"
        self.sub = self.repository / "sub"
        self.bin = root / "bin"
        for directory in (self.sub, self.bin, self.repository / ".git"):
            directory.mkdir(parents=True)
        self.server = self.command(self.bin, "server")

    def command(self, directory: Path, name: str) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / name
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return path

    def hello(
        self,
        *argv: str,
        cwd: Path | None = None,
        path: str | None = None,
        environment: Sequence[bytes] = (),
        options: Sequence[bytes] = (),
        session: bytes = b"",
        umask: int = 0o022,
        limits: Sequence[bytes] = (b"RLIMIT_NOFILE=1024:4096",),
    ) -> Hello:
        return Hello(
            role=b"session",
            version=b"0",
            session=session,
            cwd=os.fsencode(cwd or self.repository),
            argv=[os.fsencode(word) for word in argv or ("server",)],
            environment=[
                *environment,
                b"HOME=" + os.fsencode(self.home),
                b"PATH=" + os.fsencode(path if path is not None else self.bin),
            ],
            options=options,
            umask=umask,
            limits=limits,
        )


def given_to(opened: SessionOpened) -> dict[bytes, bytes]:
    return variables(opened.spec.environment)
