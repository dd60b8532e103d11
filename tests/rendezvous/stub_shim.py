"""`stub_shim.py SOCKET HOW [close]`: attach through the stub backend, say so, stay until stdin ends.

`close`: the descriptors 0 to 2 are closed first; then nothing is said and nothing waited for.
"""

from __future__ import annotations

import os
import sys

from mux.errors import MuxError
from mux.rendezvous.attach import attach
from mux.rendezvous.paths import Place, places
from mux.rendezvous.spawn import start
from mux.wire.frames import ROLE_SESSION, Hello

STUB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stub_backend.py")


def main() -> int:
    path, how, *more = sys.argv[1:]

    def launch(place: Place, lock: int, listener: int) -> int:
        return start(place, lock, listener, options=("--how", how), command=[sys.executable, "-P", STUB])

    if more:
        for fd in range(3):
            os.close(fd)
    try:
        attached = attach(places(path), Hello(role=ROLE_SESSION, version=b"test").encode(), start=launch)
    except MuxError as error:
        if not more:
            print(type(error).__name__, error, flush=True)
        return 1
    if not more:
        print("welcome", attached.session.decode(), flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
