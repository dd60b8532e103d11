"""`intruder.py CONFINE connect|listen SOCKET`: a process that may not meet ours, and does not check that itself.

CONFINE: none, uid (another user), nnp (NoNewPrivs), seccomp (a filter that allows everything). `connect` says HELLO
and prints what comes back; `listen` takes the place of a backend, prints "listening", and, when its stdin ends, how
many connected and how many bytes and descriptors they sent. Output is JSON, one value a line.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

from mux.wire.frames import HELLO, REFUSE, ROLE_SESSION, WELCOME, FrameReader, Hello, frame, parse_refuse

NOBODY = 65534
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
RET, ALLOW = 0x06, 0x7FFF0000
PATIENCE = 20.0


def say(value: Any) -> None:
    print(json.dumps(value), flush=True)


def confine(how: str) -> None:
    """Raises OSError where that is not permitted."""
    libc = ctypes.CDLL(None, use_errno=True)
    if how == "uid":
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    elif how in ("nnp", "seccomp") and libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no NoNewPrivs here")
    if how == "seccomp":
        steps = ctypes.create_string_buffer(struct.pack("=HBBI", RET, 0, 0, ALLOW))

        class Program(ctypes.Structure):
            _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

        program = Program(1, ctypes.addressof(steps))
        if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
            raise OSError(ctypes.get_errno(), "no seccomp here")


def connect(path: str) -> None:
    """Ask for a server of whoever listens there; print [kind, text] of the answer, or ["closed", ""]."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(path)
        hello = Hello(
            role=ROLE_SESSION, version=b"0", cwd=b"/", argv=[b"/bin/cat"], environment=[b"PATH=/usr/bin:/bin"]
        )
        reader = FrameReader()
        with suppress(ConnectionError):  # an answer may have come before the end
            sock.sendall(frame(HELLO, hello.encode()))
        with suppress(ConnectionError):
            while data := sock.recv(65536):
                for kind, _, _, payload in reader.feed(data):
                    if kind == REFUSE:
                        say(["refused", parse_refuse(payload)[1]])
                        return
                    if kind == WELCOME:
                        say(["welcome", ""])
                        return
        say(["closed", ""])


def listen(path: str, how: str) -> None:
    """The listener is bound first: another user could not do that in a directory of ours."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        os.chmod(path, 0o777)
        confine(how)
        listener.listen(16)
        say("listening")
        peers: dict[int, socket.socket] = {}
        connections = count = descriptors = 0
        while True:
            ready = select.select([0, listener.fileno(), *peers], [], [])[0]
            if 0 in ready:
                break
            for fd in ready:
                if fd == listener.fileno():
                    peer = listener.accept()[0]
                    peers[peer.fileno()] = peer
                    connections += 1
                    continue
                data, passed, _, _ = socket.recv_fds(peers[fd], 65536, 4)
                count += len(data)
                descriptors += len(passed)
                if not data:
                    peers.pop(fd).close()
        say({"connections": connections, "bytes": count, "descriptors": descriptors})


def main() -> None:
    how, what, path = sys.argv[1:]
    if what == "listen":
        listen(path, how)
    else:
        confine(how)
        connect(path)


if __name__ == "__main__":
    main()
