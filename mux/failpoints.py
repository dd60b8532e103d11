"""Faults on purpose, for tests: MUX_FAILPOINTS names places in the program and what happens there.

    MUX_FAILPOINTS=backend.accept=kill,spawn.forked=delay:0.05,exit.unlinked=error:/tmp/x/token

kill: SIGKILL to this process. error: OSError(EIO). delay:SECONDS: sleep. After a colon kill and error take a condition:
a number is the probability, a path a token: the fault happens in the one process that removes that file. If anything
of it means nothing, one line on stderr says so, and nothing happens anywhere.

The shim imports this before anything else. A call site costs one test of a constant: `if ARMED: hit("name")`.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

VARIABLE = "MUX_FAILPOINTS"

_LONGEST_DELAY_SECONDS = 3600.0

SITES = (
    # whoever starts a backend, under the lock
    "lock.taken",
    "socket.unlinked",
    "socket.bound",
    "socket.listening",
    "spawn.forked",
    "spawn.detached",
    "spawn.exec",
    # a backend that starts
    "backend.entered",
    "backend.reaped",
    "backend.ready",
    # sessions
    "backend.accept",
    "backend.hello",
    "backend.welcome",
    "backend.frame",
    "backend.out",
    # servers and the record of them
    "upstream.launch",
    "upstream.spawned",
    "upstream.line",
    "record.written",
    "record.renamed",
    # the exit of a backend, step by step
    "exit.begun",
    "exit.unlinked",
    "exit.closed",
    "exit.stopped",
    "exit.forgotten",
    # a shim
    "shim.connected",
    "shim.welcomed",
    "shim.line",
)
"""Every place that has a name."""


def parse(text: str) -> dict[str, Callable[[], None]]:
    """What happens where. Raises ValueError for a place or an action that there is not."""
    found: dict[str, Callable[[], None]] = {}
    for entry in filter(None, text.split(",")):
        site, _, action = entry.partition("=")
        if site not in SITES:
            raise ValueError(f"{VARIABLE}: there is no place {site!r}")
        kind, _, argument = action.partition(":")
        found[site] = _action(site, kind, argument)
    return found


def hit(site: str) -> None:
    """This is the place `site`. Raises OSError, or does not return, if that was asked for."""
    action = _ACTIONS.get(site)
    if action is not None:
        action()


def _action(site: str, kind: str, argument: str) -> Callable[[], None]:
    if kind == "delay":
        seconds = _number(argument, _LONGEST_DELAY_SECONDS)

        def delay() -> None:
            import time

            time.sleep(seconds)

        return delay
    if kind not in ("kill", "error"):
        raise ValueError(f"{VARIABLE}: {kind!r} is none of kill, error, delay")
    chance = 1.0 if not argument or "/" in argument else _number(argument, 1.0)
    token = argument if "/" in argument else ""

    def fault() -> None:
        if int.from_bytes(os.urandom(2), "big") >= chance * 65536 or not _consumed(token):
            return
        if kind == "error":
            raise OSError(5, f"failpoint {site}")
        os.kill(os.getpid(), 9)

    return fault


def _number(text: str, most: float) -> float:
    """Raises ValueError for what is none, or not between 0 and `most`: sleep() would, in the midst of something."""
    number = float(text)
    if not 0.0 <= number <= most:
        raise ValueError(f"{VARIABLE}: {text!r} is not between 0 and {most:g}")
    return number


def _consumed(token: str) -> bool:
    """Whether this process is the one that the token was for."""
    try:
        if token:
            os.unlink(token)
    except FileNotFoundError:
        return False
    return True


def _from_environment() -> dict[str, Callable[[], None]]:
    try:
        return parse(os.environ.get(VARIABLE, ""))
    except ValueError as error:
        _say(f"{error}; all of it is ignored\n")
        return {}


def _say(text: str) -> None:
    try:
        os.write(2, text.encode(errors="replace"))
    except OSError:
        return  # a host may have closed it


_ACTIONS = _from_environment()
ARMED = bool(_ACTIONS)
"""False in every real life."""
