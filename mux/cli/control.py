"""Talk to a running backend in the role `control` (mux/wire/PROTOCOL, 5). Never starts one."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from typing import Any

from mux import __version__
from mux.errors import Denied, MuxError, UnsafePath, WireError
from mux.limits import CONTROL_SECONDS, READ_BYTES
from mux.rendezvous import peer
from mux.rendezvous.paths import Place, places
from mux.wire import frames

Json = dict[str, Any]

GONE = (FileNotFoundError, ConnectionRefusedError)
"""What connecting to a place says where nobody listens."""


def add_socket_option(parser: argparse.ArgumentParser) -> None:
    """`--socket`, as every command that looks for a backend has it."""
    parser.add_argument(
        "--socket",
        metavar="NAME|PATH",
        default=os.environ.get("MUX_SOCKET") or None,
        help="the backend's socket: a path, or a name in the runtime directory (default: $MUX_SOCKET, else the user's)",
    )


def ask(place: Place, command: str) -> Json | None:
    """The result of a control command, or None if no backend listens at `place`.

    Raises UnsafePath if something there is not ours, MuxError if a backend is there and does not answer, or refuses.
    """
    if not place.exists():
        return None
    deadline = time.monotonic() + CONTROL_SECONDS
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONTROL_SECONDS)
        try:
            connection.connect(place.socket)
            if not peer.is_ours(connection):
                raise UnsafePath(f"{place.socket} is served by another user")
            hello = frames.Hello(role=frames.ROLE_CONTROL, version=__version__.encode(), cwd=os.fsencode(os.getcwd()))
            connection.sendall(frames.frame(frames.HELLO, hello.encode()))
            connection.sendall(frames.frame(frames.LINE, json.dumps({"command": command}).encode(), seq=1))
            return _result(_answer(connection, deadline), place)
        except GONE:
            return None
        except TimeoutError as error:
            raise MuxError(f"the backend at {place.socket} does not answer") from error
        except OSError as error:
            raise MuxError(f"the backend at {place.socket} cannot be asked: {error.strerror or error}") from error


def find(option: str | None) -> tuple[Place, Json | None]:
    """The first place where a backend answers `status`, with its state; else the place where one would start.

    Raises what `ask` and `places` raise.
    """
    if sys.platform == "win32":
        raise MuxError("there is no backend on Windows yet: mux-shim runs each server directly")
    candidates = places(option)
    for place in candidates:
        if (state := ask(place, "status")) is not None:
            return place, state
    return candidates[0], None


def _answer(connection: socket.socket, deadline: float) -> bytes:
    reader = frames.FrameReader()
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        data = connection.recv(READ_BYTES)
        if not data:
            raise MuxError("the backend closed the connection: it is just leaving, or it does not know this version")
        for kind, _, seq, payload in reader.feed(data):
            if kind == frames.REFUSE:
                raise Denied(f"the backend refuses: {frames.parse_refuse(payload)[1]}")
            if kind == frames.OUT and seq == 1:
                return payload
    raise TimeoutError


def _result(payload: bytes, place: Place) -> Json:
    try:
        answer = json.loads(payload)
    except ValueError as error:
        raise WireError(f"the backend at {place.socket} answered with something that is not JSON") from error
    match answer:
        case {"result": dict(result)}:
            return result
        case {"error": str(sentence)}:
            raise MuxError(sentence)
        case _:
            raise WireError(f"the backend at {place.socket} answered neither result nor error")
