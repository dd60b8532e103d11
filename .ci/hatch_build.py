"""Which commands an installation has: a script by hand for the one whose start matters, entry points for the others."""

from __future__ import annotations

import os
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

SHIM = {"mux-shim": "mux.shim.main:main"}


class Commands(MetadataHookInterface):
    """Windows starts no script that is not an .exe: there `mux-shim` is an entry point like the others."""

    def update(self, metadata: dict[str, Any]) -> None:
        scripts = {"mux": "mux.cli.main:main", "mux-backend": "mux.backend.daemon:main"}
        metadata["scripts"] = {**scripts, **SHIM} if os.name == "nt" else scripts
