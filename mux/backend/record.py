"""NAME.json: which processes a backend has started, so that the next one can reap what a killed one left.

It is a hint; the socket is the truth. Every process in it is proven by pid, start time and boot before it is signalled.
"""

from __future__ import annotations

import os
import signal
import stat
import time

import msgspec

from mux import __version__
from mux.backend import logs, reap
from mux.backend.logs import StrPath
from mux.backend.reap import Identity
from mux.failpoints import ARMED, hit
from mux.limits import RECORD_BYTES, STOP_STEP_SECONDS, TREE_POLL_SECONDS
from mux.rendezvous import files


class UpstreamRecord(msgspec.Struct, frozen=True):
    """A server, the mark that its descendants carry, and those that were there when last looked."""

    leader: Identity
    mark: str
    tree: tuple[Identity, ...] = ()


class Record(msgspec.Struct, frozen=True):
    """A backend. leaving: nobody listens at its socket any more, and soon nobody holds its lock."""

    process: Identity
    boot: str
    version: str
    upstreams: tuple[UpstreamRecord, ...] = ()
    leaving: bool = False


def describe() -> Record:
    """The record of this process, with no servers yet."""
    me = reap.process(os.getpid())
    assert me is not None
    return Record(me.identity, reap.boot(), __version__)


def write(path: StrPath, record: Record) -> None:
    """Replace the record, whole or not at all. Raises OSError."""
    files.replace(os.fspath(path), msgspec.json.encode(record) + b"\n", renaming=_written if ARMED else None)
    if ARMED:
        hit("record.renamed")


def _written() -> None:
    hit("record.written")


def read(path: StrPath) -> Record | None:
    """The record, or None: there is none, or, with one warning, it is torn, empty or not ours."""
    try:
        return msgspec.json.decode(_contents(path), type=Record)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        logs.event("warning", "record.ignored", path=str(path), reason=str(error))
        return None


def _contents(path: StrPath) -> bytes:
    """Raises OSError, or ValueError if this is nothing that `write` has left."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise ValueError("not a file of ours")
        data = file.read(RECORD_BYTES + 1)
    if not 0 < len(data) <= RECORD_BYTES:
        raise ValueError("empty" if not data else "too long")
    return data


def leftovers(record: Record) -> set[Identity]:
    """What a dead backend's servers left running: recorded, descended or marked. Nothing on any doubt."""
    if record.boot != reap.boot() or reap.living((record.process,)):
        return set()
    if not record.upstreams:
        return set()
    rows = reap.table()
    marks = reap.marked(rows, min(upstream.leader.started for upstream in record.upstreams))
    found: set[Identity] = set()
    for upstream in record.upstreams:
        leader = rows.get(upstream.leader.pid)
        if leader and leader.identity == upstream.leader:
            found |= reap.descendants(leader.identity.pid, rows)
        found.update((upstream.leader, *upstream.tree))
        found.update(marks.get(upstream.mark, ()))
    return reap.living(found)


def reap_leftovers(record: Record) -> int:
    """Kill them, and wait until they are gone: no server of ours may meet them. Returns how many processes."""
    left = leftovers(record)
    reap.send_all(left, signal.SIGKILL)
    deadline = time.monotonic() + STOP_STEP_SECONDS
    while left and reap.living(left) and time.monotonic() < deadline:
        time.sleep(TREE_POLL_SECONDS)
    return len(left)
