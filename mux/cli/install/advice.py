"""What is known about a server before it is shared."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mux.known import about


@dataclasses.dataclass(frozen=True)
class Advice:
    """`share`: may sessions share it at all. `scope`: within what, empty for the default. `reason`: one clause."""

    share: bool = True
    scope: str = ""
    reason: str = ""


def advice(argv: Sequence[str]) -> Advice:
    """For the server that `argv` starts. Nothing is held against one that nobody has looked at."""
    known = about(argv)
    return Advice() if known is None else Advice(known.scope != "session", known.suggest, known.reason)
