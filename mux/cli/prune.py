"""`mux prune`: end what we have started and nobody uses.

Nothing that has a session, nothing young, and no process that is not proven ours by a record, its pid and its start
time: a command of the same name, started by somebody else, is not looked at.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mux.backend import reap, record
from mux.backend.reap import Identity
from mux.cli import control, text
from mux.config.values import seconds
from mux.errors import MuxError, RendezvousError, UsageError
from mux.limits import PRUNE_AGE_SECONDS, STOP_STEP_SECONDS, SUCCESSION_SECONDS, TREE_POLL_SECONDS
from mux.rendezvous.paths import Place, check_directory, places, runtime_directories

if TYPE_CHECKING:
    from mux.cli.control import Conversation

DONE, REFUSED, NOTHING = 0, 1, 3
"""Exit codes."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux prune`'s part of the command line."""
    parser = commands.add_parser(
        "prune",
        help="list what we have started and nobody uses; --yes ends it",
        description="List backends without sessions, servers without sessions, and what the servers of a killed "
        f"backend have left, unless it is young. With --yes, end it: SIGTERM, {STOP_STEP_SECONDS:.0f} s, SIGKILL.",
        epilog=f"Exit codes: {DONE} done, or there is something to do; {NOTHING} nothing to do; {REFUSED} something "
        "did not end, or could not be asked.",
        allow_abbrev=False,
    )
    parser.add_argument("--socket", metavar="NAME|PATH", help="look at this backend only (default: all of this user's)")
    parser.add_argument(
        "--older-than",
        metavar="TIME",
        type=_age,
        default=PRUNE_AGE_SECONDS,
        help=f"leave alone what has run for less: 90s, 15m (default: {PRUNE_AGE_SECONDS:.0f}s)",
    )
    parser.add_argument("--yes", action="store_true", help="end what is listed")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Never ends anything without --yes. Raises UsageError for a socket that is none."""
    control.check_platform()
    finds = [find for place in _places(options.socket) for find in _look(place, options.older_than)]
    if not finds:
        print("There is nothing to end: everything that we have started is in use, young, or gone.")
        return NOTHING
    for find in finds:
        print(f"{find.what}{'' if find.act else ': ' + find.why}")
    actionable = [find for find in finds if find.act]
    if not options.yes:
        if actionable:
            print(f"`mux prune --yes` ends {text.plural(len(actionable), 'of these', 'of these')}.")
        return DONE if actionable else REFUSED
    ended = sum(find.end() for find in actionable)
    print(f"Ended {ended} of {len(finds)}.")
    return DONE if ended == len(finds) else REFUSED


def _age(value: str) -> float:
    try:
        return float(seconds(value))
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


class Find:
    """Something that nobody uses. `act`: whether it can be ended; `why`: if not, what speaks against it."""

    def __init__(self, what: str, why: str = "") -> None:
        self.what = what
        self.why = why
        self.act = not why

    def end(self) -> bool:
        """End it; whether it is gone."""
        return False


class Leftovers(Find):
    """Processes that a killed backend's servers have left."""

    def __init__(self, place: Place, left: set[Identity], least: float) -> None:
        names = ", ".join(f"{identity.pid} ({_name(identity)})" for identity in sorted(left))
        super().__init__(f"left by a killed backend at {place.socket}: {names}")
        self._place = place
        self._least = least

    def end(self) -> bool:
        with _lock(self._place) as free:
            known = record.read(Path(self._place.record)) if free else None
            if known is None:
                return not free  # a backend that has started meanwhile has ended them
            return _terminate(_old(record.leftovers(known), self._least))


class Unused(Find):
    """A backend without sessions, or its servers without sessions."""

    def __init__(self, place: Place, what: str, command: str) -> None:
        super().__init__(what)
        self._place = place
        self._command = command

    def end(self) -> bool:
        conversation = control.converse([self._place])
        if conversation is None:
            return True
        with conversation:
            state = conversation.ask("status")
            if self._command == "release":
                conversation.ask("release")
                return True
            if state["sessions"]:
                print(f"{self.what}: it has got a session meanwhile")
                return False
            conversation.ask("restart")
            return conversation.wait_for_end(SUCCESSION_SECONDS)


def _places(socket: str | None) -> Iterator[Place]:
    """Where records of ours may stand; directories that are not safe are nobody's."""
    if socket is not None:
        yield from places(socket)
        return
    for directory in runtime_directories():
        with contextlib.suppress(OSError, RendezvousError):
            check_directory(directory)
            for name in sorted(os.listdir(directory)):
                if name.endswith(".json"):
                    yield Place(os.path.join(directory, f"{name.removesuffix('.json')}.sock"))


def _look(place: Place, least: float) -> Iterator[Find]:
    known = record.read(Path(place.record))
    try:
        conversation = control.converse([place])
    except MuxError as error:
        yield Find(f"the backend at {place.socket}", str(error))
        return
    if conversation is not None:
        with conversation:
            yield from _unused(place, conversation, least)
        return
    if known is None:
        return
    with _lock(place) as free:
        if free:
            if left := _old(record.leftovers(known), least):
                yield Leftovers(place, left, least)
        elif reap.living((known.process,)):
            what = f"backend {known.process.pid} at {place.socket}"
            yield Find(what, "its socket is gone, so nobody can ask whom it serves; it leaves with its last session")


def _old(identities: set[Identity], least: float) -> set[Identity]:
    return {identity for identity in identities if reap.age(identity) >= least}


def _unused(place: Place, conversation: Conversation, least: float) -> Iterator[Find]:
    try:
        state = conversation.ask("status")
    except MuxError as error:
        yield Find(f"the backend at {place.socket}", str(error))
        return
    backend = state["backend"]
    if not state["sessions"]:
        if (backend["uptime_seconds"] or 0) >= least:
            what = f"backend {backend['pid']} at {place.socket}, without a session"
            yield Unused(place, what, "restart")
        return
    old = [
        entry
        for entry in state["upstreams"]
        if not entry["sessions"] and entry["pid"] and (entry["uptime_seconds"] or 0) >= least
    ]
    if old:
        names = ", ".join(f"{entry['id']} ({text.command(entry['command'])})" for entry in old)
        yield Unused(place, f"servers without a session at {place.socket}: {names}", "release")


@contextlib.contextmanager
def _lock(place: Place) -> Generator[bool, None, None]:
    """Hold the lock of a place in the block, so that no backend starts; whether it was free."""
    from mux.rendezvous.lock import try_lock  # cannot be imported on Windows

    try:
        lock = try_lock(place.lock)
    except RendezvousError:
        lock = None
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)


def _terminate(identities: Iterable[Identity]) -> bool:
    """SIGTERM, a while, SIGKILL, to exactly these; whether all are gone."""
    left = reap.living(identities)
    for number in (signal.SIGTERM, signal.SIGKILL):
        reap.send_all(left, number)
        deadline = time.monotonic() + STOP_STEP_SECONDS
        while left := reap.living(left):
            if time.monotonic() > deadline:
                break
            time.sleep(TREE_POLL_SECONDS)
    return not left


def _name(identity: Identity) -> str:
    import psutil

    try:
        return text.command(psutil.Process(identity.pid).cmdline()[:4])
    except psutil.Error:
        return "gone"
