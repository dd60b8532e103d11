"""SOCKET ROUNDS GRACE PAUSE COMMAND…: attach as a shim does, over and over; a line for each tells what came of it.

That is the seconds it took, or the failure, as JSON. Every second time it says `initialize` and hears the answer.
ROUNDS 0: until stdin ends. PAUSE: the longest rest between two rounds, seconds.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import select
import sys
import time

from mux import __version__
from mux.errors import MuxError
from mux.rendezvous import spawn
from mux.rendezvous.attach import Attached, attach
from mux.rendezvous.paths import Place
from mux.wire.frames import LINE, OUT, ROLE_SESSION, Hello, frame

PATIENCE = 30.0
INITIALIZE = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}'


def main() -> None:
    socket, rounds, grace, pause = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    hello = Hello(
        role=ROLE_SESSION,
        version=__version__.encode(),
        options=[b"grace=" + grace.encode()],
        cwd=os.getcwdb(),
        argv=[os.fsencode(word) for word in sys.argv[5:]],
        environment=[name + b"=" + value for name, value in os.environb.items() if not name.startswith(b"MUX_")],
        umask=0o022,
    ).encode()
    place = Place(socket)

    def start(place: Place, lock: int, listener: int) -> int:
        return spawn.start(place, lock, listener, options=("--grace", grace))

    for number in range(rounds) if rounds else itertools.count():
        begun = time.monotonic()
        try:
            attached = attach([place], hello, start=start)
        except MuxError as error:
            tell(f"{type(error).__name__} after {time.monotonic() - begun:.2f} s: {error}")
            continue
        tell(time.monotonic() - begun)
        if number % 2 == 0:
            greet(attached)
        attached.sock.close()
        rest = random.uniform(0, pause)
        if rounds:
            time.sleep(rest)
        elif select.select([0], [], [], rest)[0]:
            break


def tell(outcome: float | str) -> None:
    """At once, since this process may be killed."""
    print(json.dumps(outcome), flush=True)


def greet(attached: Attached) -> None:
    """Say `initialize` and hear the answer, or the end: this backend may be killed."""
    attached.sock.settimeout(PATIENCE)
    arrived = attached.frames
    try:
        attached.sock.sendall(frame(LINE, INITIALIZE, seq=1))
        while not any(kind == OUT for kind, *_ in arrived):
            data = attached.sock.recv(1 << 16)
            if not data:
                return
            arrived = attached.reader.feed(data)
    except ConnectionError:
        return


main()
