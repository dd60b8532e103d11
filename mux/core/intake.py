"""Lines as they arrive: what each is, whether it may pass, and who takes it. MCP base protocol, "Messages"."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mux import limits
from mux.core import fanout, faults, questions
from mux.core.actions import Acknowledge, Deliver, Log
from mux.core.clients import is_enveloped
from mux.core.envelope import (
    Answer,
    Notification,
    Rejected,
    Request,
    error_line,
    read_host,
    read_server,
    result_line,
)
from mux.core.oversize import id_of_oversize

if TYPE_CHECKING:
    from mux.core import events
    from mux.core.pool import Pool
    from mux.core.router import Router
    from mux.core.session import Session


def session_line(pool: Pool, event: events.SessionLine, now: float) -> None:
    """A line of a host."""
    session = pool.sessions.get(event.session)
    if session is None or pool.draining:
        return
    if event.oversize:
        oversize_from_host(pool, session, event)
        return
    if len(event.data) > limits.MESSAGE_WARN_BYTES:
        _large(pool, len(event.data), "session", session.id)
    message = read_host(event.data)
    router = session.router
    if isinstance(message, Rejected):
        reject(pool, session, event.seq, message, event.data)
    elif router is not None and session.open < limits.SESSION_WAITING:
        router.host(session, event.seq, message, now)
    else:
        take(pool, session, event.seq, message, now)


def reject(pool: Pool, session: Session, seq: int, message: Rejected, line: bytes) -> None:
    """A line that is no message: an error to its sender, nothing to a server. An empty one is nothing at all.

    Where it looks like the answer to a question, the server that asked gets an error: it would wait for ever.
    """
    if line.strip(b" \t\r"):
        edge = limits.OVERSIZE_EDGE_BYTES
        id_, is_request = id_of_oversize(line[:edge] + line[-edge:])
        if session.router is not None and id_ is not None and not is_request:
            questions.lost(session.router, session, id_, partial(faults.unreadable, reason=message.reason))
        pool.emit(Deliver(session.id, seq, error_line(message.id, message.code, message.reason)))
    else:
        pool.emit(Acknowledge(session.id, seq))


def take(pool: Pool, session: Session, seq: int, message: Request | Notification | Answer, now: float) -> None:
    """One message of a host. Beyond SESSION_WAITING without an answer a session is refused more."""
    if session.open + len(session.held) >= limits.SESSION_WAITING and isinstance(message, Request):
        pool.emit(Deliver(session.id, seq, faults.overloaded(message.id)))
    elif session.router is not None:
        session.router.host(session, seq, message, now)
    elif session.held:
        session.held.append((seq, message))
    else:
        _unpinned(pool, session, seq, message, now)


def _unpinned(pool: Pool, session: Session, seq: int, message: Request | Notification | Answer, now: float) -> None:
    """A message before the request that decides the upstream."""
    if not isinstance(message, Request):
        if session.guest_of is not None and isinstance(message, Notification):
            session.guest_of.host(session, seq, message, now)
        else:
            pool.emit(Acknowledge(session.id, seq))
    elif message.method == "ping" and not is_enveloped(message):
        pool.emit(Deliver(session.id, seq, result_line(message.id)))
    else:
        pool.lanes_of(session).first(session, seq, message, now)


def oversize_from_host(pool: Pool, session: Session, event: events.SessionLine | events.SessionReplay) -> None:
    """A line above the limit: an error to its host, or to the server whose question it answers."""
    id_, is_request = id_of_oversize(event.data)
    if session.router is not None and not is_request:
        questions.lost(session.router, session, id_, partial(faults.too_large, who="The client"))
    if is_request or id_ is None:
        pool.emit(Deliver(session.id, event.seq, faults.too_large(id_ or b"null", "The client")))
    else:
        pool.emit(Acknowledge(session.id, event.seq))
    pool.emit(Log("warning", "message.oversize", {"session": session.id}))


def _large(pool: Pool, size: int, sender: str, number: int) -> None:
    pool.emit(Log("warning", "message.large", {sender: number, "bytes": size}))


def process_line(pool: Pool, event: events.ProcessLine, now: float) -> None:
    """A line of a server; one of an earlier generation is nothing."""
    router = pool.processes.get(event.process)
    if router is None or router.upstream.process != event.process:
        return
    if event.oversize:
        _oversize_from_server(pool, router, event, now)
        return
    if len(event.data) > limits.MESSAGE_WARN_BYTES:
        _large(pool, len(event.data), "upstream", router.number)
    message = read_server(event.data)
    if isinstance(message, Answer):
        router.answer(message, now)
    elif isinstance(message, Notification):
        fanout.notification(router, message, now)
    elif isinstance(message, Request):
        questions.request(router, message, now)
    elif event.data.strip():
        router.dropped += 1


def _oversize_from_server(pool: Pool, router: Router, event: events.ProcessLine, now: float) -> None:
    """Treated as an error with the same id, in the direction in which it goes."""
    id_, is_request = id_of_oversize(event.data)
    pool.emit(Log("warning", "message.oversize", {"upstream": router.number}))
    line = faults.too_large(id_ or b"null", "The server", faults.UNKNOWN)
    answer = read_server(line[:-1])
    if id_ is None:
        router.dropped += 1
    elif is_request:
        router.send_up(line)
    elif isinstance(answer, Answer):
        router.answer(answer, now)
