"""What a server says itself about sharing, in its answer to `initialize`. It can narrow, never widen.

`capabilities.experimental.mux = {"scope": "session"}`, or `x-mux = {"sharing": "isolated"}`, there or among the
capabilities, which another multiplexer has introduced.
"""

from __future__ import annotations

from mux.core.envelope import Malformed, find_in_result

_SAYINGS = (
    ((b"capabilities", b"experimental", b"mux", b"scope"), b'"session"'),
    ((b"capabilities", b"experimental", b"x-mux", b"sharing"), b'"isolated"'),
    ((b"capabilities", b"x-mux", b"sharing"), b'"isolated"'),
)


def bears_one_session(line: bytes) -> bool:
    """Whether the answer to an `initialize` says that the server must not be shared."""
    if b"mux" not in line:
        return False
    for path, word in _SAYINGS:
        try:
            span = find_in_result(line, *path)
        except Malformed:
            return False
        if span is not None and line[slice(*span)] == word:
            return True
    return False
