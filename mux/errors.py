"""The error tree, and the JSON-RPC codes that the multiplexer itself answers with.

The shim imports this file: it imports nothing.
"""

# JSON-RPC 2.0 §5.1
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

# Ours: outside -32768…-32000, which MCP 2026-07-28 ("Error codes") leaves to JSON-RPC and itself.
UPSTREAM_UNAVAILABLE = -31001
OUTCOME_UNKNOWN = -31002
MESSAGE_TOO_LARGE = -31003
OVERLOADED = -31004


class MuxError(Exception):
    """Base of every error that the multiplexer raises on purpose; `str()` is a sentence for a person."""


class UsageError(MuxError):
    """The command line, a configuration value or an argument is wrong: the caller's to mend."""


class WireError(MuxError):
    """The peer broke the shim-backend protocol; the connection is of no further use."""


class RendezvousError(MuxError):
    """No backend can be reached or started from here."""


class NoBackend(RendezvousError):
    """Nobody listens where a running backend was to be joined."""


class UnsafePath(RendezvousError):
    """A runtime directory, socket or lock is not ours, or open to others; never repaired."""


class PathTooLong(RendezvousError):
    """A socket path exceeds what `sun_path` holds."""


class Denied(RendezvousError):
    """The backend, the kernel or a sandbox refuses us for good; waiting will not help."""


class Stopped(Denied):
    """The operator has stopped the backend or the server; the message says until when."""


class StartFailed(RendezvousError):
    """A backend was started and could not serve; the message carries its reason."""


class AttachTimeout(RendezvousError):
    """The deadline passed before a backend answered WELCOME."""
