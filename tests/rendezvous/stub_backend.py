"""A backend that only welcomes: the starter's side of the rendezvous is what is tested.

Reports itself into DIRECTORY/backends (one JSON line each life) and leaves when the last connection has closed, or at
the end of its time. `--how`: serve, silent (dies without a word), silent-once, late-once (so does the first, that one
slowly), reason (says why), mute (never answers).
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from mux.limits import ATTACH_EMPTY_SECONDS
from mux.rendezvous.listener import inode, unlink_own
from mux.wire.frames import WELCOME, FrameReader, frame

SECONDS = 30.0


def main() -> None:
    given = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    path = given["--socket"]
    lock, listening, status = (int(given[f"--inherit-{name}"]) for name in ("lock", "listener", "status"))
    report(path, lock, listening, status)
    how = given.get("--how", "serve")
    if how == "silent" or (how in {"silent-once", "late-once"} and len(lives(path)) == 1):
        time.sleep(ATTACH_EMPTY_SECONDS + 0.1 if how == "late-once" else 0.0)
        os._exit(3)
    if how == "reason":
        os.write(status, b"no room at the inn")
        os._exit(1)
    os.write(status, b"ok")
    os.close(status)
    listener = socket.socket(fileno=listening)
    listener.listen()
    serve(path, listener, answers=how != "mute")


def lives(path: str) -> list[dict[str, Any]]:
    try:
        text = (Path(path).parent / "backends").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]


def report(path: str, *kept: int) -> None:
    fds = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            fds[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the listing's own
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    entry = {
        "pid": os.getpid(),
        "ppid": os.getppid(),
        "pgid": os.getpgrp(),
        "sid": os.getsid(0),
        "cwd": os.getcwd(),
        "umask": os.umask(0o077),
        "fds": fds,
        "kept": kept,
        "environment": dict(os.environ),
        "blocked": [int(number) for number in blocked],
        "ignores_sigterm": signal.getsignal(signal.SIGTERM) is signal.SIG_IGN,
        "options": sys.argv[1:],
    }
    data = json.dumps(entry).encode() + b"\n"
    fd = os.open(os.path.join(os.path.dirname(path), "backends"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.write(fd, data)
    os.close(fd)


def serve(path: str, listener: socket.socket, *, answers: bool) -> None:
    own = inode(path)
    readers: dict[socket.socket, FrameReader] = {}
    deadline = time.monotonic() + SECONDS
    served = False
    while time.monotonic() < deadline and (readers or not served):
        ready, _, _ = select.select([listener, *readers], [], [], 0.2)
        for sock in ready:
            if sock is listener:
                readers[sock.accept()[0]] = FrameReader()
                served = True
                continue
            try:
                data = sock.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                readers.pop(sock)
                sock.close()
            elif readers[sock].feed(data) and answers:
                sock.sendall(frame(WELCOME, b"session-of-%d" % os.getpid()))
    unlink_own(path, own)
    listener.close()


if __name__ == "__main__":
    main()
