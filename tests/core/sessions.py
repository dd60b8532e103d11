"""Sessions and requests for the parts that hold them, without a router."""

from __future__ import annotations

from mux.core.envelope import Request, read_host
from mux.core.events import LaunchSpec, SessionOpened
from mux.core.session import Call, Session

SPEC = LaunchSpec((b"server", b"--flag"), b"/bin/server", b"/work", (), 0o022, ())


def session(number: int = 1) -> Session:
    """An open session."""
    return Session(SessionOpened(number, b"key", SPEC, grace=30.0), 0.0)


def request(line: bytes) -> Request:
    """The request that `line` is."""
    message = read_host(line)
    assert isinstance(message, Request)
    return message


def call(
    owner: Session, id_: bytes = b"1", *, method: bytes = b"tools/call", params: bytes = b"{}", seq: int = 1
) -> Call:
    """A request of the session, not entered there."""
    asked = request(b'{"jsonrpc":"2.0","id":%b,"method":"%b","params":%b}' % (id_, method, params))
    return Call(owner, seq, asked, asked.id, asked.id, asked.method)
