"""Starts one server process: pipes, own process group, and the trampoline that puts on the session's state."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import subprocess
import sys
from typing import IO

from mux.core.events import LaunchSpec
from mux.errors import MuxError
from mux.limits import SERVER_PIPE_BYTES, START_SECONDS

_TRAMPOLINE = os.path.join(os.path.dirname(__file__), "trampoline.py")


class LaunchFailed(MuxError):
    """The server could not be started; the sentence says why and names the command or directory."""


async def launch(spec: LaunchSpec) -> subprocess.Popen[bytes]:
    """Start the server, with unbuffered pipes; returns once execve succeeded. Raises LaunchFailed.

    The result is not to be polled before the server's group is empty: reaping the leader frees the group's number.
    From the main thread only: on Linux the server is killed when the thread that started it ends.
    """
    if b"/" not in spec.executable:
        raise LaunchFailed(_not_found(spec))
    try:
        child, ours = _spawn()
    except OSError as error:
        raise LaunchFailed(_system(spec, error.errno or 0)) from error
    report = "read 0"
    try:
        with ours:
            async with asyncio.timeout(START_SECONDS):
                report = await _converse(ours, encode(spec))
    except TimeoutError as error:
        raise LaunchFailed(f"cannot start {_name(spec)}: it hung before it ran; `mux doctor` looks closer") from error
    finally:
        if report:
            _undo(child)
    if report:
        raise LaunchFailed(_sentence(spec, report))
    return child


def _spawn() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The trampoline, and our end of its socket. Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", _TRAMPOLINE, str(theirs.fileno()), str(os.getpid())],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                process_group=0,
                cwd="/",
                env={},
            )
    except BaseException:
        ours.close()
        raise
    for pipe in (child.stdin, child.stdout):
        _widen(pipe)
    return child, ours


def _widen(pipe: IO[bytes] | None) -> None:
    if pipe is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # beyond the user's share of pipe memory it stays as it is
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, SERVER_PIPE_BYTES)


def _undo(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()


def encode(spec: LaunchSpec) -> bytes:
    """What the trampoline reads: fields separated by NUL, each list after its count."""
    fields = [spec.executable, spec.cwd, b"%o" % spec.umask]
    for group in (spec.argv, spec.limits, spec.environment):
        fields.append(b"%d" % len(group))
        fields.extend(group)
    return b"\0".join(fields)


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


def _system(spec: LaunchSpec, code: int) -> str:
    return f"cannot start {_name(spec)}: {os.strerror(code)}; `mux doctor` looks at what the system allows"


def _not_found(spec: LaunchSpec) -> str:
    advice = "Install it, or give its full path: a host may have another PATH than your terminal"
    return f"command not found: {_name(spec)}. {advice}"


def _sentence(spec: LaunchSpec, report: str) -> str:
    step, _, number = report.partition(" ")
    code = int(number)
    name, cwd = _name(spec), os.fsdecode(spec.cwd)
    if step == "chdir":
        if code in (errno.ENOENT, errno.ENOTDIR):
            return f"directory gone: {cwd}. Start the host in one that exists"
        return f"cannot enter {cwd}: {os.strerror(code)}. Start the host in a directory that you may enter"
    if step == "exec" and code == errno.ENOENT:
        if os.path.exists(os.path.join(spec.cwd, spec.executable)):
            return f"cannot run {name}: the interpreter that its first line names does not exist. Install that"
        return _not_found(spec)
    if step == "exec" and code in (errno.EACCES, errno.ENOEXEC, errno.EISDIR):
        return f"not executable: {name}. `chmod +x` makes it so, or put its interpreter before it"
    return _system(spec, code)
