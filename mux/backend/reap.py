"""Processes by pid and start time: who descends from whom, who still lives, and signals that hit nobody else.

A pid alone proves nothing: it is used again. `Identity` adds the start time, which a successor cannot share. What has
left its parents, its group and its session is still known by a mark: a variable that every server is started with, and
that its descendants inherit.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import time
from collections.abc import Collection, Iterable
from typing import NamedTuple

MARK = b"MUX_UPSTREAM"
"""The variable; its value is random, new for each server process, and no secret."""


class Identity(NamedTuple):
    """One process for ever. started: kernel ticks since boot on Linux, elsewhere microseconds since the epoch."""

    pid: int
    started: int


class Process(NamedTuple):
    """A row of the process table."""

    identity: Identity
    parent: int
    group: int
    dead: bool


Table = dict[int, Process]


if sys.platform == "linux":

    def process(pid: int) -> Process | None:
        """The row of `pid`, or None if there is none."""
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                data = file.read()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The command's name, in parentheses, may hold anything: count from the last one.
        fields = data[data.rindex(b")") + 2 :].split(None, 20)
        state, started = fields[0], int(fields[19])
        return Process(Identity(pid, started), int(fields[1]), int(fields[2]), state in b"ZX")

    def table() -> Table:
        """Every process that we can see."""
        rows = (process(int(name)) for name in os.listdir("/proc") if name.isdigit())
        return {row.identity.pid: row for row in rows if row}

    def environment(pid: int) -> bytes:
        """What `pid` was started with, NAME=VALUE, separated by NUL; nothing if that can not be seen."""
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return file.read()
        except OSError:
            return b""

    def boot() -> str:
        """What tells this boot of the machine from all others."""
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()

    def age(identity: Identity) -> float:
        """Seconds since the process was started, if it is still the same."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - identity.started / os.sysconf("SC_CLK_TCK")

else:

    def process(pid: int) -> Process | None:
        """The row of `pid`, or None if there is none."""
        import psutil

        try:
            entry = psutil.Process(pid)
            with entry.oneshot():
                started, dead = int(entry.create_time() * 1e6), entry.status() == psutil.STATUS_ZOMBIE
                return Process(Identity(pid, started), entry.ppid(), os.getpgid(pid), dead)
        except (psutil.Error, ProcessLookupError, PermissionError):
            return None

    def table() -> Table:
        """Every process that we can see."""
        import psutil

        rows = (process(pid) for pid in psutil.pids())
        return {row.identity.pid: row for row in rows if row}

    def environment(pid: int) -> bytes:
        """What `pid` was started with, NAME=VALUE, separated by NUL; nothing if that can not be seen."""
        import psutil

        try:
            found = psutil.Process(pid).environ()
        except (psutil.Error, OSError):
            return b""
        return b"\0".join(os.fsencode(f"{name}={value}") for name, value in found.items())

    def boot() -> str:
        """What tells this boot of the machine from all others."""
        import psutil

        return str(int(psutil.boot_time()))

    def age(identity: Identity) -> float:
        """Seconds since the process was started, if it is still the same."""
        return time.time() - identity.started / 1e6


def descendants(root: int, rows: Table) -> set[Identity]:
    """All processes below `root`, without it; dead ones count as links only."""
    children: dict[int, list[int]] = {}
    for pid, row in rows.items():
        children.setdefault(row.parent, []).append(pid)
    found: set[Identity] = set()
    below = children.get(root, []).copy()
    while below:
        pid = below.pop()
        below.extend(children.pop(pid, ()))
        if not rows[pid].dead:
            found.add(rows[pid].identity)
    return found


def members(group: int, rows: Table) -> set[Identity]:
    """The living processes of a process group."""
    return {row.identity for row in rows.values() if row.group == group and not row.dead}


def marked(rows: Table, since: int) -> dict[str, set[Identity]]:
    """The living processes by the mark that they carry, of those not started before `since`."""
    found: dict[str, set[Identity]] = {}
    for row in rows.values():
        if row.identity.started >= since and not row.dead:
            for entry in environment(row.identity.pid).split(b"\0"):
                name, _, mark = entry.partition(b"=")
                if name == MARK:
                    found.setdefault(mark.decode(errors="replace"), set()).add(row.identity)
    return found


def living(identities: Iterable[Identity]) -> set[Identity]:
    """Those that still run: the same start time, and no zombie."""
    return {
        identity
        for identity in identities
        if (row := process(identity.pid)) and row.identity == identity and not row.dead
    }


def handle(pid: int) -> int | None:
    """A pidfd, which becomes readable when the process ends; None where none is to be had (macOS, Linux before 5.3).

    Raises ProcessLookupError if there is no such process.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            return None
        raise


def send(identity: Identity, number: signal.Signals) -> bool:
    """Signal exactly that process. False: it is gone, another has its pid, or it has become another user's."""
    try:
        fd = handle(identity.pid)
        try:
            if not living((identity,)):
                return False
            if fd is None:
                os.kill(identity.pid, number)
            else:
                signal.pidfd_send_signal(fd, number)
        finally:
            if fd is not None:
                os.close(fd)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def send_all(identities: Collection[Identity], number: signal.Signals) -> None:
    """Signal each of them that still lives."""
    for identity in identities:
        send(identity, number)


def send_group(leader: int, number: signal.Signals) -> None:
    """Signal the group of a child of ours that is not reaped yet: until then nobody else can have its number."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)
