"""What `mux doctor` looks at. Each check yields findings; none changes anything, and none starts a backend."""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mux import __version__
from mux.backend import logs, reap, record
from mux.backend.state import State
from mux.cli import backends, screen, text
from mux.cli.doctor import ERROR, OK, WARNING, Finding
from mux.cli.install import hosts, program
from mux.cli.install.files import Refused
from mux.cli.install.plan import Install, Plan, make
from mux.cli.install.servers import Server
from mux.config import load
from mux.config.names import label
from mux.errors import MuxError, RendezvousError, UnsafePath, UsageError
from mux.limits import DESCRIPTORS_RESERVED, DOCTOR_ERRORS_SECONDS, DOCTOR_LOG_BYTES, SESSION_DESCRIPTORS

if TYPE_CHECKING:
    from mux.rendezvous.paths import Place


def installation() -> Iterator[Finding]:
    """This program, and the mux-shim that hosts would start."""
    facts = f"mux {__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}"
    yield Finding(OK, "installed", facts)
    try:
        own = program.installed(os.environ)
    except MuxError as error:
        yield Finding(ERROR, "mux-shim", str(error), "`pipx install` or `uv tool install` puts it where it stays")
        return
    found = shutil.which(program.BARE)
    if found is None:
        advice = f"a project's file says just {program.BARE}: put {os.path.dirname(own)} on PATH if you use one"
        yield Finding(WARNING, "mux-shim", f"{own}, which is not on PATH", advice)
    elif os.path.realpath(found) != os.path.realpath(own):
        advice = "remove the one that you do not want, then `mux install` names the other"
        yield Finding(WARNING, "mux-shim", f"{own}, but PATH leads to another: {found}", advice)
    else:
        yield Finding(OK, "mux-shim", found)
    if importlib.util.find_spec("uvloop") is None and platform.python_implementation() == "CPython":
        yield Finding(WARNING, "uvloop", "is not installed: the backend is slower", "`pip install uvloop` beside mux")


def directories(candidates: Sequence[Place]) -> Iterator[Finding]:
    """Where backends meet their shims."""
    from mux.rendezvous.paths import check_directory
    from mux.rendezvous.sockets import unix_stream

    try:
        unix_stream().close()
    except OSError as error:
        yield Finding(
            ERROR,
            "sockets",
            f"Unix sockets are forbidden here: {error.strerror}",
            "in this sandbox every server runs directly, not shared; allow AF_UNIX to share",
        )
    for path in dict.fromkeys(place.directory for place in candidates):
        try:
            check_directory(path)
        except FileNotFoundError:
            yield Finding(OK, "directory", f"{path} is not there yet; the first session makes it")
        except UnsafePath as error:
            advice = f"if nobody else uses it: `rm -r {path}`, or `chmod 700 {path}` if it is yours"
            yield Finding(ERROR, "directory", str(error), advice)
        else:
            free = shutil.disk_usage(path).free
            if free < DOCTOR_LOG_BYTES:
                advice = "free some space there, or name another --socket"
                yield Finding(ERROR, "directory", f"{path}: only {text.megabytes(free)} are free", advice)
            else:
                yield Finding(OK, "directory", path)


def backend(place: Place, named: set[int], *, ours: bool) -> Iterator[Finding]:
    """The backend of one socket, if it lives, or what a dead one has left. Without either: nothing.

    ours: sessions from here use that socket; others may belong to a container, say, and refuse us rightly. named: gets
    the processes that a finding names.
    """
    if _usable(place):
        try:
            answer = backends.ask([place])
            if answer is not None:
                yield _version(place, answer[1])
                yield from _servers(answer[1])
            else:
                yield from _absent(place, named)
        except MuxError as error:
            if ours:
                advice = f"`mux logs --socket {place.socket}` says what it does; `mux stop` ends it"
                yield Finding(ERROR, "backend", str(error), advice)
            else:
                yield Finding(OK, "backend", f"{place.socket} is another one's: {error}")
        yield from _log(place)


def _usable(place: Place) -> bool:
    try:
        return place.exists()
    except RendezvousError:
        return False  # named by `directories`


def _version(place: Place, state: State) -> Finding:
    assert state.backend is not None
    served = f"{text.plural(len(state.sessions), 'session')}, {text.plural(len(state.upstreams), 'server')}"
    fact = f"pid {state.backend.pid} at {place.socket}: {served}"
    if state.backend.version == __version__:
        return Finding(OK, "backend", fact)
    advice = "`mux restart` starts the installed one in its place; sessions stay"
    return Finding(WARNING, "backend", f"{fact}; it is mux {state.backend.version}, this is {__version__}", advice)


def _servers(state: State) -> Iterator[Finding]:
    for upstream in state.upstreams:
        if upstream.last_error and upstream.state != "ready":
            level = ERROR if upstream.state in ("backoff", "failed") else WARNING
            fact = f"{upstream.id}, {label(upstream.command)}, is {upstream.state}: {screen.failure(upstream)}"
            advice = f"`mux logs {upstream.id}` has its stderr; try its command by hand in {upstream.cwd}"
            yield Finding(level, "server", fact, advice)


def _absent(place: Place, named: set[int]) -> Iterator[Finding]:
    """Nobody listens at `place`: what is in the way of a start, or left over. Raises RendezvousError."""
    from mux.rendezvous import failure

    if _held(place):
        advice = "if that does not change in a minute, end that process; until then new sessions run directly"
        yield Finding(ERROR, "backend", f"{_holder(place)} holds {place.lock}, but nobody listens", advice)
        return
    failed = failure.read(place.fail)
    if failed is not None:
        when = text.duration(time.monotonic() - failed.at)
        advice = "mend that; the next session tries again"
        yield Finding(ERROR, "backend", f"the last start failed {when} ago: {failed.reason}", advice)
    if os.path.exists(place.socket):
        yield Finding(WARNING, "leftover", f"{place.socket}: its backend was killed", "the next start replaces it")
    known = _recorded(place)
    if known is None and os.path.exists(place.record):
        yield Finding(WARNING, "leftover", f"{place.record} is damaged, and ignored", "the next start replaces it")
    left = sorted(process.pid for process in record.leftovers(known)) if known else []
    if left:
        named.update(left)
        fact = f"a killed backend at {place.socket} has left {', '.join(map(str, left))} running"
        advice = f"`mux prune --socket {place.socket} --yes` ends that, and so does the next start"
        yield Finding(WARNING, "leftover", fact, advice)


def _held(place: Place) -> bool:
    """Whether a process holds the lock. It is ours for a moment if not; who starts just then tries again."""
    from mux.rendezvous.lock import try_lock

    if not os.path.exists(place.lock):
        return False
    lock = try_lock(place.lock)
    if lock is not None:
        os.close(lock)
    return lock is None


def _holder(place: Place) -> str:
    known = _recorded(place)
    return f"process {known.process.pid}" if known and reap.living((known.process,)) else "a process"


def _recorded(place: Place) -> record.Record | None:
    logs.silence()
    return record.read(Path(place.record))


def _log(place: Place) -> Iterator[Finding]:
    """Errors that the backend has logged lately."""
    path = place.socket.removesuffix(".sock") + ".log"
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - DOCTOR_LOG_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return
    since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - DOCTOR_ERRORS_SECONDS))
    errors = [line for line in lines if line[25:31] == "ERROR " and line > since]
    if errors:
        fact = f"{text.plural(len(errors), 'error')} in the last day, at last {text.printable(errors[-1])}"
        yield Finding(WARNING, "log", fact, f"`mux logs` has the rest; it is {path}")


def configuration() -> Iterator[Finding]:
    """The files that decide about scopes, sockets and limits."""
    settings = load(os.environ, os.getcwd(), {})
    for complaint in settings.complaints:
        advice = "it does not count until it is mended; `mux config` shows what does"
        yield Finding(WARNING, "settings", complaint, advice)
    for path, state in settings.files:
        yield Finding(OK, "settings", f"{path}: {state}")


def host_files() -> Iterator[Finding]:
    """The hosts' own files: readable, and their servers behind a mux-shim that is there."""
    home = hosts.Home.of(os.environ)
    places = hosts.places(hosts.HOSTS, home, os.getcwd())
    try:
        own = program.installed(os.environ)
    except MuxError:
        own = program.BARE  # `installation` says so
    for place in places:
        try:
            judge = Install(place, own if not place.shared else program.BARE, forced=False, named=frozenset())
            plan = make(place, judge, ())
        except Refused as error:
            yield Finding(ERROR, place.host.title, str(error))
        else:
            yield from _host(plan, own)
    if not places:
        yield Finding(OK, "hosts", "no configuration file of a host was found")


def _host(plan: Plan, own: str) -> Iterator[Finding]:
    title, path = plan.place.host.title, plan.place.path
    shared = [note.server for note in plan.notes if note.server.shim]
    open_ = [note.server for note in plan.notes if note.edits and not note.server.shim]
    for server in shared:
        yield from _wrapped(plan.place, server, own)
    if not plan.notes:
        return
    fact = f"{path}: {len(shared)} of {text.plural(len(plan.notes), 'server')} shared"
    if open_:
        names = ", ".join(text.printable(server.name) for server in open_)
        advice = "`mux install`" if not plan.place.shared else "`mux install --project`"
        fact += f"; {advice} would share {names}"
    yield Finding(OK, title, fact)


def _wrapped(place: hosts.Place, server: Server, own: str) -> Iterator[Finding]:
    """One server behind mux-shim: is that there, is it the installed one, and is the server's own program there."""
    name = f"{place.path}: {text.printable(server.name)}"
    flag = " --project" if place.shared else ""
    if os.path.isabs(server.shim) and not os.access(server.shim, os.X_OK):
        advice = f"`mux install{flag} --yes` names the installed one"
        yield Finding(ERROR, place.host.title, f"{name}: {server.shim} is not there", advice)
    elif os.path.isabs(server.shim) and os.path.realpath(server.shim) != os.path.realpath(own):
        advice = f"`mux install{flag} --shim {own} --yes` names the one that belongs to this mux"
        yield Finding(WARNING, place.host.title, f"{name} goes through another mux-shim: {server.shim}", advice)
    try:
        argv = server.own_argv
    except UsageError as error:
        yield Finding(ERROR, place.host.title, f"{name}: {error}", "mend its arguments: options, then the command")
        return
    if shutil.which(argv[0]) is None:
        advice = "install it, or write its full path; a host may have another PATH than this terminal"
        yield Finding(WARNING, place.host.title, f"{name}: there is no {text.printable(argv[0])} on PATH", advice)


def machine() -> Iterator[Finding]:
    """What the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        yield Finding(OK, "open files", "no limit")
    else:
        room = max(0, (hard - DESCRIPTORS_RESERVED) // SESSION_DESCRIPTORS)
        fact = f"at most {hard:,}: room for about {room:,} sessions, each with a server of its own"
        low = room < 100
        advice = "raise the hard limit (`ulimit -Hn`, /etc/security/limits.conf); beyond it servers run directly"
        yield Finding(WARNING, "open files", fact, advice) if low else Finding(OK, "open files", fact)
    if sys.platform == "linux":
        yield from _proc()


def _proc() -> Iterator[Finding]:
    from mux.rendezvous import confinement

    try:
        confinement.values()
    except OSError as error:
        yield Finding(
            ERROR,
            "/proc",
            f"cannot be read: {error}",
            "mount it: without it no backend can tell who asks, and servers run directly",
        )
        return
    if 1 not in reap.table():
        yield Finding(
            WARNING,
            "/proc",
            "hides the processes of others (hidepid)",
            "nothing to do: only leftovers of other users stay unseen",
        )
    else:
        yield Finding(OK, "/proc", "readable")


def strays(named: set[int]) -> Iterator[Finding]:
    """Processes that carry the mark of a server, and have no backend above them; without those that are named."""
    rows = reap.table()
    for mark, processes in sorted(reap.marked(rows, 0).items()):
        left = sorted(process.pid for process in processes)
        if named.isdisjoint(left) and not any(_below_a_backend(pid, rows) for pid in left):
            fact = (
                f"no backend is known of {', '.join(map(str, left))}, which a server of one has started (mark {mark})"
            )
            advice = "if its socket was not in the runtime directory: `mux prune --socket PATH`; else end it by hand"
            yield Finding(WARNING, "leftover", fact, advice)


def _below_a_backend(pid: int, rows: reap.Table) -> bool:
    import psutil

    while row := rows.get(pid):
        try:
            command = psutil.Process(pid).cmdline()
        except psutil.Error:
            return True  # it is ending
        if "mux.backend.daemon" in command or any(word.endswith("/mux-backend") for word in command[:2]):
            return True
        pid = row.parent
    return False
