"""Talk to a running backend in the role `control` (mux/wire/PROTOCOL, 5). Never starts one."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
    if sys.platform == "win32":
        raise MuxError("there is no backend on Windows yet: mux-shim runs each server directly")
    from mux.rendezvous.attach import connect  # cannot be imported on Windows

    hello = Hello(role=ROLE_CONTROL, version=__version__.encode())
    try:
        attached = connect(places, hello.encode())
    except NoBackend:
        return None
    socket = attached.place.socket
    try:
        return _result(_answer(attached, json.dumps({"command": command, "arguments": arguments}).encode()), socket)
    except TimeoutError as error:
        raise MuxError(f"the backend at {socket} does not answer") from error
    except OSError as error:
        raise MuxError(f"the backend at {socket} cannot be asked: {error.strerror or error}") from error
    finally:
        attached.sock.close()


def _answer(attached: Attached, line: bytes) -> bytes:
    deadline = time.monotonic() + CONTROL_SECONDS
    attached.sock.sendall(frame(LINE, line, seq=1))
    arrived = attached.frames
    while True:
        for kind, _, seq, payload in arrived:
            if kind == OUT and seq == 1:
                return payload
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        attached.sock.settimeout(left)
        data = attached.sock.recv(READ_BYTES)
        if not data:
            raise MuxError(f"the backend at {attached.place.socket} is just leaving")
        arrived = attached.reader.feed(data)


def _result(payload: bytes, socket: str) -> Json:
    try:
        answer = json.loads(payload)
    except ValueError as error:
        raise WireError(f"the backend at {socket} answered with something that is not JSON") from error
    match answer:
        case {"result": dict(result)}:
            return result
        case {"error": str(sentence)}:
            raise MuxError(sentence)
        case _:
            raise WireError(f"the backend at {socket} answered neither result nor error")
