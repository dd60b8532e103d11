"""`mux prune`: end what we have started and nobody uses.

Nothing that has a session, nothing that runs, or has been unused, for less than a while, and no process that is not
proven ours: by its backend, which is asked, or by a record, its pid and its start time. A command of the same name,
started by somebody else, is not looked at. What has no session is ended by its backend, which alone knows who joins.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from mux import __version__
from mux.backend import reap, record
from mux.backend.reap import Identity
from mux.cli import control, text
from mux.cli.control import UnknownCommand
from mux.config.values import seconds
from mux.errors import MuxError, RendezvousError, UsageError
from mux.limits import PRUNE_AGE_SECONDS, STOP_STEP_SECONDS, SUCCESSION_SECONDS, TREE_POLL_SECONDS
from mux.rendezvous.paths import Place, check_directory, places, runtime_directories

DONE, REFUSED, NOTHING = 0, 1, 3
"""Exit codes."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`mux prune`'s part of the command line."""
    parser = commands.add_parser(
        "prune",
        help="list what we have started and nobody uses; --yes ends it",
        description="List backends without sessions, servers without sessions, and what the servers of a killed "
        "backend have left, unless it is young. With --yes, end it and wait for that: servers as when they have had no "
        f"session for long, what a killed backend has left by SIGTERM, {STOP_STEP_SECONDS:.0f} s, SIGKILL.",
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
        help=f"leave alone what has run, or had no session, for less: 90s, 15m (default: {PRUNE_AGE_SECONDS:.0f}s)",
    )
    parser.add_argument("--yes", action="store_true", help="end what is listed")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Never ends anything without --yes. Raises UsageError for a socket that is none."""
    control.check_platform()
    finds = [find for place in _places(options.socket) for find in _look(place, options.older_than, end=options.yes)]
    if not finds:
        print("There is nothing to end: everything that we have started is in use, young, or gone.")
        return NOTHING
    for find in finds:
        print(f"{find.what}: {find.why}" if find.why else find.what)
    everything = sum(find.size for find in finds)
    possible = sum(len(find.processes) for find in finds)
    if not options.yes:
        if possible:
            print(f"`mux prune --yes` ends {possible} of these.")
        return DONE if possible else REFUSED
    ended = possible
    for find in finds:
        if left := find.end():
            ended -= len(left)
            pids = ", ".join(str(identity.pid) for identity in sorted(left))
            print(f"{find.what}: {pids} still there, in use again or deaf; `mux status` and `mux logs` tell more")
    print(f"Ended {ended} of {everything}.")
    return DONE if ended == everything else REFUSED


def _age(value: str) -> float:
    try:
        return float(seconds(value))
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


class Find:
    """Something that nobody uses. Without `processes` it can not be ended, and `why` says what speaks against it."""

    def __init__(self, what: str, processes: Iterable[Identity] = (), *, why: str = "") -> None:
        self.what = what
        self.why = why
        self.processes = frozenset(processes)

    @property
    def size(self) -> int:
        """How much of what is found it is."""
        return len(self.processes) or 1

    def end(self) -> set[Identity]:
        """Wait for the end, a bounded time; what still runs then. A backend has its order already."""
        return _await(self.processes, SUCCESSION_SECONDS)


class Leftovers(Find):
    """Processes that a killed backend's servers have left."""

    def __init__(self, place: Place, left: set[Identity]) -> None:
        names = ", ".join(f"{identity.pid} ({_name(identity)})" for identity in sorted(left))
        super().__init__(f"left by a killed backend at {place.socket}: {names}", left)
        self._place = place

    def end(self) -> set[Identity]:
        with _lock(self._place) as free:
            known = record.read(Path(self._place.record)) if free else None
            if known is not None:
                return _terminate(self.processes & record.leftovers(known))
        return super().end()  # a backend that has started meanwhile ends them


def _places(socket: str | None) -> Iterator[Place]:
    """Where sockets and records of ours may stand; directories that are not safe are nobody's."""
    if socket is not None:
        yield from places(socket)
        return
    for directory in runtime_directories():
        with contextlib.suppress(OSError, RendezvousError):
            check_directory(directory)
            found = (os.path.splitext(name) for name in os.listdir(directory))
            for name in sorted({name for name, kind in found if kind in (".sock", ".json")}):
                yield Place(os.path.join(directory, f"{name}.sock"))


def _look(place: Place, least: float, *, end: bool) -> Iterator[Find]:
    """What nobody has used for `least` seconds. end: a backend is told to end it in the same breath."""
    known = record.read(Path(place.record))
    try:
        conversation = control.converse([place])
        if conversation is not None:
            with conversation:
                yield from _unused(conversation.ask("prune", older_than=least, end=end), place)
            return
    except UnknownCommand:
        why = f"it is of a version that can not tell; `mux restart --socket {place.socket}` brings mux {__version__}"
        yield Find(f"the backend at {place.socket}", why=why)
        return
    except MuxError as error:
        yield Find(f"the backend at {place.socket}", why=str(error))
        return
    if known is None:
        return
    with _lock(place) as free:
        if free:
            if left := {identity for identity in record.leftovers(known) if reap.age(identity) >= least}:
                yield Leftovers(place, left)
        elif reap.living((known.process,)):
            what = f"backend {known.process.pid} at {place.socket}"
            why = "its socket is gone, so nobody can ask whom it serves; it leaves with its last session"
            yield Find(what, why=why)


def _unused(answer: control.Json, place: Place) -> Iterator[Find]:
    """What a backend has found, mux/wire/PROTOCOL, 5. Its servers end before it does."""
    servers = answer["servers"]
    names = ", ".join(f"{entry['id']} ({text.command(entry['command'])})" for entry in servers)
    if answer["backend"]:
        backend = Identity(*answer["backend"])
        what = f"backend {backend.pid} at {place.socket}, without a session"
        yield Find(f"{what}, with servers: {names}" if servers else what, [backend])
    elif servers:
        processes = [Identity(*entry["process"]) for entry in servers]
        yield Find(f"servers without a session at {place.socket}: {names}", processes)


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


def _terminate(identities: Iterable[Identity]) -> set[Identity]:
    """SIGTERM, a while, SIGKILL, to exactly these; what still runs after another while."""
    left = reap.living(identities)
    for number in (signal.SIGTERM, signal.SIGKILL):
        reap.send_all(left, number)
        left = _await(left, STOP_STEP_SECONDS)
    return left


def _await(identities: Iterable[Identity], seconds: float) -> set[Identity]:
    """What of these still runs after that time; at once, if nothing does."""
    deadline = time.monotonic() + seconds
    while (left := reap.living(identities)) and time.monotonic() < deadline:
        time.sleep(TREE_POLL_SECONDS)
    return left


def _name(identity: Identity) -> str:
    import psutil

    try:
        return text.command(psutil.Process(identity.pid).cmdline()[:4])
    except psutil.Error:
        return "gone"
