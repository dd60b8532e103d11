"""Talk to a running backend in the role `control` (mux/wire/PROTOCOL, 5). Never starts one."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mux import __version__
from mux.config import load
from mux.errors import MuxError, NoBackend, WireError
from mux.limits import CONTROL_SECONDS, READ_BYTES
from mux.wire.frames import LINE, OUT, ROLE_CONTROL, Hello, frame

if TYPE_CHECKING:
    from mux.rendezvous.attach import Attached
    from mux.rendezvous.paths import Place

Json = dict[str, Any]


def add_socket_option(parser: argparse.ArgumentParser) -> None:
    """`--socket`, as every command that looks for a backend has it."""
    parser.add_argument(
        "--socket",
        metavar="NAME|PATH",
        default=_configured_socket(),
        help="the backend's socket: a path, or a name in the runtime directory (default: as `mux config` shows)",
    )


def _configured_socket() -> str | None:
    """What a session that starts here would use, as long as its own command line does not say otherwise."""
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = None
    return load(os.environ, cwd, {}).get("socket")


def ask(places: Sequence[Place], command: str, **arguments: object) -> Json | None:
    """The result of a control command from the first live backend of `places`, or None if there is none.

    Raises MuxError if a backend is there and refuses or does not answer, UnsafePath if what is there is not ours.
    """
    conversation = converse(places)
    if conversation is None:
        return None
    with conversation:
        return conversation.ask(command, **arguments)


def converse(places: Sequence[Place]) -> Conversation | None:
    """A connection to the first live backend of `places`, or None if there is none. Raises as `ask` does."""
    check_platform()
    from mux.rendezvous.attach import connect  # cannot be imported on Windows

    try:
        return Conversation(connect(places, hello()))
    except NoBackend:
        return None


def check_platform() -> None:
    """Raises MuxError where there are no backends."""
    if sys.platform == "win32":
        raise MuxError("there is no backend on Windows yet: mux-shim runs each server directly")


def hello() -> bytes:
    """What an operator's command says first."""
    return Hello(role=ROLE_CONTROL, version=__version__.encode()).encode()


class BackendGone(MuxError):
    """It has ended while it was asked."""


class UnknownCommand(MuxError):
    """The backend is of a version that has no such command."""


class Conversation:
    """One connection of role `control`; closed at the end of the block."""

    def __init__(self, attached: Attached) -> None:
        self.place = attached.place
        self.socket = attached.place.socket
        self._attached = attached
        self._seq = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._attached.sock.close()

    def ask(self, command: str, **arguments: object) -> Json:
        """The command's result. Raises BackendGone, UnknownCommand, or another MuxError."""
        self._seq += 1
        line = json.dumps({"command": command, "arguments": arguments}).encode()
        try:
            self._attached.sock.sendall(frame(LINE, line, seq=self._seq))
            return _result(self._answer(), self.socket)
        except TimeoutError as error:
            what = f"the backend at {self.socket} has not answered for {CONTROL_SECONDS:.0f} s"
            raise MuxError(f"{what}; `mux logs` says what it does") from error
        except ConnectionError as error:
            raise self._gone() from error
        except OSError as error:
            what = f"the backend at {self.socket} cannot be asked: {error.strerror or error}"
            raise MuxError(f"{what}; `mux doctor` looks closer") from error

    def _answer(self) -> bytes:
        deadline = time.monotonic() + CONTROL_SECONDS
        arrived = self._attached.frames
        while True:
            for kind, _, seq, payload in arrived:
                if kind == OUT and seq == self._seq:
                    return payload
            data = self._receive(deadline)
            if not data:
                raise self._gone()
            arrived = self._attached.reader.feed(data)

    def _gone(self) -> BackendGone:
        return BackendGone(f"the backend at {self.socket} is just leaving. Repeat this in a moment")

    def wait_for_end(self, seconds: float) -> bool:
        """Whether the backend has gone within that time."""
        deadline = time.monotonic() + seconds
        try:
            while self._receive(deadline):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    def _receive(self, deadline: float) -> bytes:
        """Raises TimeoutError."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._attached.sock.settimeout(left)
        return self._attached.sock.recv(READ_BYTES)


def _result(payload: bytes, socket: str) -> Json:
    try:
        answer = json.loads(payload)
    except ValueError as error:
        raise WireError(f"the backend at {socket} answered with something that is not JSON") from error
    match answer:
        case {"result": dict(result)}:
            return result
        case {"error": str(sentence)}:
            raise UnknownCommand(sentence) if sentence.startswith("unknown command") else MuxError(sentence)
        case _:
            raise WireError(f"the backend at {socket} answered neither result nor error")
