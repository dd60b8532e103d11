"""Stands where a server's command stands: its stdin and stdout are the two directions of a Unix socket's connection.

The server itself runs in the test's own process, at the other end. `bridge.py SOCKET [ANYTHING]`; the standard library
only, and little of it: one is started for every test.
"""

from __future__ import annotations

import os
import socket
import sys
from threading import Thread


def main() -> None:
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(sys.argv[1])

    def up() -> None:
        while data := os.read(0, 65536):
            peer.sendall(data)
        peer.shutdown(socket.SHUT_WR)

    Thread(target=up, daemon=True).start()
    while data := peer.recv(65536):
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]
    os._exit(0)


if __name__ == "__main__":
    main()
