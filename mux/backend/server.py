"""The front door: connections accepted, checked, their HELLO read, and turned into sessions or control connections."""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import os
import resource
import socket
import time
from collections.abc import Callable

from mux import limits
from mux.backend import logs
from mux.backend.connection import Connection, Peer, SessionConnection
from mux.backend.pace import Pace
from mux.backend.park import Parking, park_after
from mux.backend.runtime import Runtime
from mux.core.events import SessionOpened
from mux.errors import Denied, MuxError, WireError
from mux.failpoints import ARMED, hit
from mux.limits import (
    ACCEPT_PAUSE_SECONDS,
    DESCRIPTORS_RESERVED,
    DRAIN_RETRY_MS,
    LISTEN_BACKLOG,
)
from mux.rendezvous import confinement, peer
from mux.wire import frames

_ACCEPTS_PER_TURN = 64
"""So that a burst of connections does not hold up the sessions that are served."""
_DESCRIPTORS_PER_MESSAGE = 8
_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Resolve = Callable[[int, frames.Hello], SessionOpened]


class Server:
    """Accepts on our listener. `control` makes the connection of an operator's command."""

    def __init__(
        self,
        listener: socket.socket,
        tasks: asyncio.TaskGroup,
        runtime: Runtime,
        resolve: Resolve,
        control: Callable[[], Connection],
        parking: Parking,
    ) -> None:
        self.draining = False
        self._listener = listener
        self._tasks = tasks
        self._runtime = runtime
        self._resolve = resolve
        self._control = control
        self._parking = parking
        self._loop = asyncio.get_running_loop()
        self._pace = Pace(self._loop.time)
        self._pause: asyncio.TimerHandle | None = None
        self._greetings = 0
        self._sessions = 0
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if limit == resource.RLIM_INFINITY:
            limit = 1 << 31
        self._last_descriptor = limit - min(DESCRIPTORS_RESERVED, limit // 2)

    def start(self) -> None:
        """Accept from now on."""
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener.fileno(), self._accept, _ACCEPTS_PER_TURN)

    def someone_waits(self) -> bool:
        """Accept all who wait; whether there was one, or one is still being greeted."""
        if self._listener.fileno() >= 0:
            self._accept(LISTEN_BACKLOG)
        return self._greetings > 0

    def close(self) -> None:
        """Accept no more. Who has connected and was not accepted sees a reset, and may safely try again."""
        if self._pause is not None:
            self._pause.cancel()
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()

    def _accept(self, at_most: int) -> None:
        for _ in range(at_most):
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in _OUT_OF_DESCRIPTORS:
                    raise
                self._rest(error)
                return
            if ARMED:
                hit("backend.accept")
            self._admit(sock)

    def _rest(self, error: OSError) -> None:
        """The listener stays readable while there is no descriptor to accept with: look away for a moment."""
        if self._pause is None:
            logs.event("error", "accept.failed", reason=error.strerror)
            self._loop.remove_reader(self._listener.fileno())
            self._pause = self._loop.call_later(ACCEPT_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self.start()

    def _admit(self, sock: socket.socket) -> None:
        """Who may not speak to us is turned away before a byte is read: HELLO carries an environment."""
        sock.setblocking(False)
        try:
            uid, pid = peer.credentials(sock)
        except OSError:
            sock.close()
            return
        if uid != os.geteuid():
            logs.event("warning", "connection.refused", pid=pid, uid=uid, reason="another user")
            sock.close()
        elif not confinement.same_as(pid):
            _deny(sock, "the backend runs in another sandbox or container than this process")
        elif sock.fileno() > self._last_descriptor:
            # The kernel gives the lowest free number: this many are open.
            _deny(sock, "the backend is at its limit of open files: raise it (`ulimit -Hn`)", frames.REFUSE_FULL)
        else:
            self._greetings += 1
            self._tasks.create_task(self._greet(sock, pid))

    async def _greet(self, sock: socket.socket, pid: int) -> None:
        """From accept to a connection of its own, within HELLO_SECONDS."""
        received: list[int] = []
        try:
            async with asyncio.timeout(limits.HELLO_SECONDS):
                payload = await _read_hello(sock, received)
                if payload is not None:
                    if ARMED:
                        hit("backend.hello")
                    await self._receive(sock, pid, frames.Hello.decode(payload), received)
                    return
            sock.close()
        except TimeoutError:
            logs.event("warning", "hello.late", pid=pid)
            sock.close()
        except Denied as error:
            _deny(sock, str(error))
        except (WireError, OSError) as error:
            logs.event("warning", "hello.failed", pid=pid, reason=str(error))
            sock.close()
        except Exception as error:  # noqa: BLE001 - whatever one peer provokes ends with its own connection
            logs.failure("greeting.failed", error, pid=pid)
            sock.close()
        finally:
            self._greetings -= 1
            for fd in received:
                os.close(fd)

    async def _receive(self, sock: socket.socket, pid: int, hello: frames.Hello, received: list[int]) -> None:
        if hello.major != frames.MAJOR:
            _deny(sock, f"the backend is of another version: it speaks protocol {frames.MAJOR}")
            return
        connection: Connection
        if hello.role == frames.ROLE_CONTROL:
            connection = self._control()
        elif hello.role == frames.ROLE_PARK:
            self._take_stdin(sock, pid, hello.session, received)
            return
        elif hello.role != frames.ROLE_SESSION:
            _deny(sock, "unknown role")
            return
        elif hello.session in self._runtime.stopped:
            with sock, contextlib.suppress(OSError):
                sock.send(frames.frame(frames.STOPPED, self._runtime.stopped[hello.session].encode()))
            return
        elif self.draining and not hello.session:
            _refuse(sock, DRAIN_RETRY_MS, frames.REFUSE_DRAINING)
            return
        elif len(self._runtime.sessions) >= limits.SESSIONS:
            _deny(sock, f"the backend has {limits.SESSIONS} sessions: raise the limit `sessions`", frames.REFUSE_FULL)
            return
        else:
            self._sessions += 1
            try:
                event = self._resolve(self._sessions, hello)
            except MuxError as error:
                _deny(sock, str(error))
                return
            who = Peer(pid, hello.version, time.monotonic())
            connection = SessionConnection(
                event, who, self._runtime, self._loop, self._parking, park_after(hello), self._pace.join()
            )
        await self._loop.connect_accepted_socket(lambda: connection, sock)

    def _take_stdin(self, sock: socket.socket, pid: int, session: bytes, received: list[int]) -> None:
        """A session that goes to sleep hands over what wakes it; it is answered once that is in our hands."""
        connection = self._runtime.session_named(session)
        if connection is None or not received or not connection.offer_stdin(pid, received[0]):
            _deny(sock, "nobody was asked for it")
            return
        received.clear()
        with sock, contextlib.suppress(OSError):  # a shim that is gone takes its session along
            sock.send(frames.frame(frames.WELCOME))


def _deny(sock: socket.socket, reason: str, kind: str = frames.REFUSE_DENIED) -> None:
    """For good: the shim runs its server directly, and says why."""
    _refuse(sock, frames.NEVER, f"{kind}: {reason}")


def _refuse(sock: socket.socket, retry_ms: int, reason: str) -> None:
    """REFUSE and close. It fits an empty socket buffer; a peer that is gone already does not mind."""
    pid = None
    with sock:
        try:
            _, pid = peer.credentials(sock)
            sock.send(frames.frame(frames.REFUSE, frames.refuse_payload(retry_ms, reason)))
        except OSError as error:
            logs.event("info", "refuse.failed", reason=error.strerror)
    level = "info" if reason == frames.REFUSE_DRAINING else "warning"
    logs.event(level, "connection.refused", pid=pid, reason=reason)


async def _read_hello(sock: socket.socket, received: list[int]) -> bytes | None:
    """The payload of the first frame and not a byte more; None for a probe that only connected and left.

    received: takes one descriptor that was sent along; the caller closes it. Raises WireError if it is no HELLO or cut
    short, Denied if it is too long.
    """
    header = await _exactly(sock, frames.HEADER_BYTES, received)
    if not header:
        return None
    if len(header) == frames.HEADER_BYTES:
        kind, _flags, _seq, length = frames.HEADER.unpack(header)
        if kind != frames.HELLO:
            raise WireError(f"expected a HELLO, got kind {kind:#04x}")
        if length > limits.HELLO_BYTES:
            most = f"the backend takes {limits.HELLO_BYTES}: raise the limit `hello_bytes`"
            raise Denied(f"arguments and environment have {length} bytes, {most}")
        payload = await _exactly(sock, length, received)
        if len(payload) == length:
            return payload
    raise WireError("the connection ended within its HELLO")


async def _exactly(sock: socket.socket, count: int, received: list[int]) -> bytes:
    """`count` bytes, fewer only at the end of the stream. Raw recvmsg: a transport leaks descriptors sent along."""
    chunks: list[bytes] = []
    space = socket.CMSG_SPACE(_DESCRIPTORS_PER_MESSAGE * array.array("i").itemsize)
    while count:
        try:
            data, ancillary, _flags, _address = sock.recvmsg(count, space, _CLOSE_ON_EXEC)
        except BlockingIOError:
            await _readable(sock)
            continue
        _collect(ancillary, received)
        if not data:
            break
        chunks.append(data)
        count -= len(data)
    return b"".join(chunks)


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)


def _collect(ancillary: list[tuple[int, int, bytes]], received: list[int]) -> None:
    """Keep the first descriptor, close the others: nobody has a reason to send two."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds = array.array("i")
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
            for fd in fds:
                os.set_inheritable(fd, False)
                if received:
                    os.close(fd)
                else:
                    received.append(fd)
