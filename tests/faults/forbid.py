"""WHAT COMMAND…: run COMMAND where AF_UNIX sockets are refused (unix), by a seccomp filter that its children inherit.

Also: `nofile N COMMAND…` with N descriptors at most.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SYS_SOCKET = {"x86_64": 41, "aarch64": 198}
LD_W_ABS, JEQ, RET = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def refuse_unix_sockets() -> None:
    """socket(AF_UNIX, …) fails with EPERM from now on. Raises OSError where no filter can be set."""
    number = SYS_SOCKET[os.uname().machine]
    program = b"".join(
        struct.pack("=HBBI", *step)
        for step in (
            (LD_W_ABS, 0, 0, 0),  # the number of the call
            (JEQ, 0, 3, number),
            (LD_W_ABS, 0, 0, 16),  # its first argument
            (JEQ, 0, 1, socket.AF_UNIX),
            (RET, 0, 0, ERRNO | errno.EPERM),
            (RET, 0, 0, ALLOW),
        )
    )
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(program)

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    filter_ = Program(len(program) // 8, ctypes.addressof(buffer))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "no seccomp here")


def main() -> None:
    what, *command = sys.argv[1:]
    if what == "unix":
        refuse_unix_sockets()
    elif what == "nofile":
        count = int(command.pop(0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
    else:
        raise SystemExit(f"{what}?")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
