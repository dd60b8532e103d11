"""What comes out of the core: frozen values that the shell carries out in order, and nothing else.

`data` is one whole line with its newline, ready to be written.
"""

from __future__ import annotations

import msgspec

from mux.core.events import LaunchSpec


class Welcome(msgspec.Struct, frozen=True):
    """The session is taken."""

    session: int


class Refuse(msgspec.Struct, frozen=True):
    """The session is not taken: REFUSE, then close. retry_ms None: never."""

    session: int
    reason: str
    retry_ms: int | None


class Deliver(msgspec.Struct, frozen=True, gc=False):
    """A line for the host. seq: the LINE that it answers and settles, or 0."""

    session: int
    seq: int
    data: bytes


class Acknowledge(msgspec.Struct, frozen=True, gc=False):
    """The shim may forget that LINE, a kept one too."""

    session: int
    seq: int


class Keep(msgspec.Struct, frozen=True, gc=False):
    """The shim keeps that LINE, answered or not, to rebuild the session; the blob comes back in its REPLAY."""

    session: int
    seq: int
    blob: bytes = b""


class Dismiss(msgspec.Struct, frozen=True):
    """After the host's end of input: all is answered; BYE, then close."""

    session: int


class Drop(msgspec.Struct, frozen=True):
    """Close the session's connection; the reason goes to the log."""

    session: int
    reason: str


class Halted(msgspec.Struct, frozen=True):
    """The operator has stopped what the session uses: STOPPED with the reason, then close."""

    session: int
    reason: str


class GoAway(msgspec.Struct, frozen=True):
    """A planned exit: GOAWAY to the session with the last LINE that was accepted."""

    session: int


class Launch(msgspec.Struct, frozen=True):
    """Start the server of `upstream` as `process`; answer with ProcessStarted or ProcessFailed, later ProcessExited."""

    process: int
    upstream: int
    generation: int
    spec: LaunchSpec


class Forward(msgspec.Struct, frozen=True, gc=False):
    """A line for a server's stdin."""

    process: int
    data: bytes


class Stop(msgspec.Struct, frozen=True):
    """Take the server through the stop ladder; answer with ProcessExited. Harmless for one that is gone."""

    process: int


class Exit(msgspec.Struct, frozen=True):
    """The grace is over and no server is left: leave, in the exit order, unless a connection waits."""


class Log(msgspec.Struct, frozen=True):
    """One line for the backend's log: an event name and fields. No payloads, no environment values."""

    level: str
    event: str
    fields: dict[str, str | int | float]


Action = (
    Welcome
    | Refuse
    | Deliver
    | Acknowledge
    | Keep
    | Dismiss
    | Drop
    | Halted
    | GoAway
    | Launch
    | Forward
    | Stop
    | Exit
    | Log
)
