"""One backend after another: what `mux start`, `stop` and `restart` have in common."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mux.cli import control
from mux.cli.control import Conversation, Json
from mux.config import load
from mux.errors import MuxError
from mux.limits import SUCCESSION_SECONDS, TREE_POLL_SECONDS
from mux.rendezvous.paths import places

if TYPE_CHECKING:
    from mux.rendezvous.paths import Place


def join_or_start(socket: str | None, options: Sequence[str]) -> tuple[Conversation, bool]:
    """The backend of `socket`, and whether it was started now, with `options`, in this interpreter.

    Raises RendezvousError if none can be started.
    """
    control.check_platform()
    from mux.rendezvous import spawn  # cannot be imported on Windows
    from mux.rendezvous.attach import attach

    started = False

    def start(place: Place, lock: int, listener: int) -> int:
        nonlocal started
        started = True
        return spawn.start(place, lock, listener, options=options)

    return Conversation(attach(places(socket), control.hello(), start=start)), started


def configured_options() -> list[str]:
    """The options of a backend that a session from here would start."""
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = None
    return list(load(os.environ, cwd, {}).backend())


def await_end(conversation: Conversation, answer: Json) -> None:
    """Until the backend that gave `answer` has gone, and its lock is free. Raises MuxError if it does not go."""
    deadline = time.monotonic() + SUCCESSION_SECONDS
    gone = conversation.wait_for_end(SUCCESSION_SECONDS)
    while not gone or _is_held(conversation.place):
        if time.monotonic() > deadline:
            who = f"the backend at {conversation.socket} (pid {answer['pid']})"
            advice = f"`mux logs` says why; `kill -9 {answer['pid']}` ends it and its servers"
            raise MuxError(f"{who} is still there after {SUCCESSION_SECONDS:.0f} s. {advice}")
        time.sleep(TREE_POLL_SECONDS)


def _is_held(place: Place) -> bool:
    """Whether a process holds the lock: the backend, as long as it lives."""
    from mux.rendezvous.lock import try_lock  # cannot be imported on Windows

    lock = try_lock(place.lock)
    if lock is not None:
        os.close(lock)
    return lock is None
