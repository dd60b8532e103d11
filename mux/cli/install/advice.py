"""What is known about a server before it is shared: the one seam to `mux.known`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Advice:
    """`share`: may sessions share it at all. `scope`: within what, empty for the default. `reason`: one clause."""

    share: bool = True
    scope: str = ""
    reason: str = ""


NONE = Advice()


def advice(argv: Sequence[str]) -> Advice:
    """For the server that `argv` starts; NONE about one that nobody has looked at."""
    del argv
    return NONE
