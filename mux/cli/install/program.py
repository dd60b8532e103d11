"""Which mux-shim a configuration names.

A user's file names it by its full path: every host of the table also comes as, or inside, a desktop program, which is
started without the user's shell and so without the user's PATH. A project's file is read on other machines: it says
`mux-shim`, and each of its readers has it on their PATH.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping

from mux.cli.install.servers import is_shim
from mux.errors import MuxError, UsageError

BARE = "mux-shim"


def chosen(word: str) -> str:
    """What `--shim` says, checked. Raises UsageError."""
    if not is_shim(word):
        raise UsageError(
            f"--shim is the path of mux-shim, and {word!r} has another name: nothing could undo that later"
        )
    if word == BARE or (os.path.isabs(word) and os.access(word, os.X_OK)):
        return word
    raise UsageError(f"--shim is an absolute path of a program, or just {BARE}; {word!r} is neither")


def installed(environment: Mapping[str, str]) -> str:
    """The full path of the mux-shim that belongs to this program, by the name that lives longest. Raises MuxError.

    A link on PATH that leads to it (pipx, uv tool, Homebrew make one) outlives an upgrade; its own place may not.
    """
    name = BARE + (".exe" if sys.platform == "win32" else "")
    own = _beside(name)
    if own is None:
        raise MuxError("no mux-shim is installed beside this program. `--shim PATH` names one")
    scripts = os.path.dirname(own)
    for directory in environment.get("PATH", "").split(os.pathsep):
        link = os.path.join(directory, name)
        if os.path.isabs(directory) and directory != scripts and os.path.realpath(link) == os.path.realpath(own):
            return link
    if _passing(own, environment):
        raise MuxError(
            f"mux runs from {scripts}, which may be emptied at any time: no configuration should name it. "
            "Install it for good (`uv tool install` or `pipx install`), or name a mux-shim with `--shim PATH`"
        )
    return own


def _beside(name: str) -> str | None:
    """The script `name` of the installation that runs: beside `mux` itself, its interpreter, or where scripts go."""
    directories = [os.path.dirname(os.path.abspath(path)) for path in (sys.argv[0], sys.executable) if path]
    directories.append(sysconfig.get_path("scripts"))
    found = (os.path.join(directory, name) for directory in directories)
    return next((path for path in found if os.path.isfile(path) and os.access(path, os.X_OK)), None)


def _passing(path: str, environment: Mapping[str, str]) -> bool:
    """Is `path` in a cache, where `uvx` and `pipx run` put programs."""
    home = environment.get("HOME") or os.path.expanduser("~")
    named = (environment.get(name) for name in ("XDG_CACHE_HOME", "UV_CACHE_DIR"))
    caches = [*named, os.path.join(home, ".cache"), os.path.join(home, "Library", "Caches")]
    real = os.path.realpath(path)
    inside = any(real.startswith(os.path.realpath(cache) + os.sep) for cache in caches if cache)
    return inside or os.path.join("pipx", ".cache") + os.sep in real
