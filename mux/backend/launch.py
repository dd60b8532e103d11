"""Starts one server process: pipes, own process group, and the trampoline that puts on the session's state."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from mux.core.events import LaunchSpec
from mux.errors import MuxError
from mux.limits import START_SECONDS

_TRAMPOLINE = str(Path(__file__).with_name("trampoline.py"))


class LaunchFailed(MuxError):
    """The server could not be started; the sentence says why and names the command or directory."""


@dataclass(frozen=True)
class Launched:
    """A server that was exec'ed. The descriptors are ours, non-inheritable, and the caller's to close.

    `popen` is not to be polled: reaping the leader frees the number of its process group.
    """

    popen: subprocess.Popen[bytes]
    stdin: int
    stdout: int
    stderr: int


async def launch(spec: LaunchSpec) -> Launched:
    """Start the server; returns once execve succeeded. Raises LaunchFailed. From the main thread only: on Linux the
    server is killed when the thread that started it ends."""
    if b"/" not in spec.executable:
        raise LaunchFailed(f"command not found: {_name(spec)}")
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as undo, ours, theirs:
        child_in, stdin = _pipe(undo)
        stdout, child_out = _pipe(undo)
        stderr, child_err = _pipe(undo)
        try:
            popen = subprocess.Popen(
                [sys.executable, "-I", "-S", _TRAMPOLINE, str(theirs.fileno()), str(os.getpid())],
                stdin=child_in,
                stdout=child_out,
                stderr=child_err,
                pass_fds=(theirs.fileno(),),
                process_group=0,
                cwd="/",
                env={},
            )
        except OSError as error:
            raise LaunchFailed(f"cannot start {_name(spec)}: {os.strerror(error.errno or 0)}") from error
        theirs.close()
        try:
            async with asyncio.timeout(START_SECONDS):
                report = await _converse(ours, encode(spec))
        except BaseException as error:
            popen.kill()
            popen.wait()
            if isinstance(error, TimeoutError):
                raise LaunchFailed(f"cannot start {_name(spec)}: it hung before it ran") from error
            raise
        if report:
            popen.wait()
            raise LaunchFailed(_sentence(spec, report))
        undo.pop_all()
        for fd in (child_in, child_out, child_err):
            os.close(fd)
        return Launched(popen, stdin, stdout, stderr)


def encode(spec: LaunchSpec) -> bytes:
    """What the trampoline reads: fields separated by NUL, each list after its count."""
    fields = [spec.executable, spec.cwd, b"%o" % spec.umask]
    for group in (spec.argv, spec.limits, spec.environment):
        fields.append(b"%d" % len(group))
        fields.extend(group)
    return b"\0".join(fields)


def _pipe(undo: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for fd in ends:
        undo.callback(os.close, fd)
    return ends


async def _converse(ours: socket.socket, spec: bytes) -> str:
    """Send the spec; return "" when the socket closed on exec, else the trampoline's report."""
    loop = asyncio.get_running_loop()
    ours.setblocking(False)
    with contextlib.suppress(BrokenPipeError):
        await loop.sock_sendall(ours, spec)
        ours.shutdown(socket.SHUT_WR)
    try:
        return (await loop.sock_recv(ours, 64)).decode()
    except ConnectionResetError:
        return "read 0"


def _name(spec: LaunchSpec) -> str:
    return os.fsdecode(spec.argv[0] if spec.argv else spec.executable)


def _sentence(spec: LaunchSpec, report: str) -> str:
    step, _, number = report.partition(" ")
    code = int(number)
    name, cwd = _name(spec), os.fsdecode(spec.cwd)
    if step == "chdir":
        gone = code in (errno.ENOENT, errno.ENOTDIR)
        return f"directory gone: {cwd}" if gone else f"cannot enter {cwd}: {os.strerror(code)}"
    if step == "exec" and code == errno.ENOENT:
        if os.path.exists(os.path.join(spec.cwd, spec.executable)):
            return f"cannot run {name}: the interpreter that its first line names does not exist"
        return f"command not found: {name}"
    if step == "exec" and code in (errno.EACCES, errno.ENOEXEC, errno.EISDIR):
        return f"not executable: {name}"
    return f"cannot start {name}: {os.strerror(code)}"
