"""The backends of this user: the one that is asked for, and all others in the runtime directories."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from mux import __version__
from mux.backend.state import Other, State
from mux.cli import control
from mux.errors import MuxError, RendezvousError

if TYPE_CHECKING:
    from mux.rendezvous.paths import Place

Json = dict[str, Any]


def ask(candidates: Sequence[Place]) -> tuple[Json, State] | None:
    """What the backend tells of itself, as it came and as a State; None if none runs.

    Raises MuxError if one is there and does not answer, or in a way that this version does not understand.
    """
    found = control.ask(candidates, "status")
    return None if found is None else (found, read(found))


def read(found: Json) -> State:
    """A backend's answer. Raises MuxError."""
    try:
        return msgspec.convert(found, State)
    except msgspec.ValidationError as error:
        backend = found.get("backend")
        version = backend.get("version") if isinstance(backend, dict) else None
        raise MuxError(
            f"the backend is mux {version or '?'} and its answer means nothing to mux {__version__}: {error}. "
            "`mux restart` brings it up to date, `mux status --json` prints the answer as it is"
        ) from error


def others(candidates: Sequence[Place]) -> list[Other]:
    """Every other backend that listens in a runtime directory. None is started; a stale socket is no backend."""
    own = {os.path.realpath(place.socket) for place in candidates}
    return [other for place in sockets() if os.path.realpath(place.socket) not in own if (other := _other(place))]


def sockets() -> list[Place]:
    """Every socket in the runtime directories that are safe, whether somebody listens or not."""
    from mux.rendezvous.paths import Place, check_directory, runtime_directories

    found: list[Place] = []
    for directory in runtime_directories():
        try:
            check_directory(directory)
            names = sorted(os.listdir(directory))
        except (OSError, RendezvousError):
            continue  # `mux doctor` names it
        found += [Place(os.path.join(directory, name)) for name in names if name.endswith(".sock")]
    return found


def _other(place: Place) -> Other | None:
    try:
        answer = ask([place])
    except MuxError as error:
        return Other(socket=place.socket, error=str(error))
    if answer is None:
        return None
    state = answer[1]
    backend = state.backend
    return Other(
        socket=place.socket,
        pid=backend.pid if backend else 0,
        version=backend.version if backend else "",
        sessions=len(state.sessions),
        upstreams=len(state.upstreams),
    )
