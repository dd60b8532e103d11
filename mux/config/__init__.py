"""What applies to a session, and who said so: command line, MUX_*, the project's file, the user's file, defaults.

The shim imports this before it serves anybody: where there is no file it costs a few stat calls, and TOML, hashes and
patterns are not imported.
"""

from __future__ import annotations

import os

from mux.config.values import FLAGS, NAMES, VALUED, checked
from mux.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PROJECT_FILE = "mux.toml"
USER_FILE = os.path.join(".config", "mux", "config.toml")
"""Below the home directory. Not below XDG_CONFIG_HOME: some hosts drop it, and all must find the same file."""


class Setting:
    """One value and where it comes from. own: it is meant for this very server, not for all of them."""

    __slots__ = ("own", "source", "value")

    def __init__(self, value: str, source: str, *, own: bool = False) -> None:
        self.value = value
        self.source = source
        self.own = own

    def __repr__(self) -> str:
        return f"Setting({self.value!r}, {self.source!r})"


class Settings:
    """What `load` found. `found` has an entry for each setting that somebody made, by its option's name.

    narrow: the scope that a project file asks for which is not trusted: it counts where it is narrower than what else
    would. count, ignore: variables and who named them. complaints: one line for each value that does not count.
    files: (path, what became of it).
    """

    def __init__(self) -> None:
        self.found: dict[str, Setting] = {}
        self.narrow: Setting | None = None
        self.count: dict[str, str] = {}
        self.ignore: dict[str, str] = {}
        self.limits: dict[str, tuple[int | float, str]] = {}
        self.complaints: list[str] = []
        self.files: list[tuple[str, str]] = []

    def get(self, name: str) -> str | None:
        """The value of a setting, None if nobody made it."""
        setting = self.found.get(name)
        return None if setting is None else setting.value

    def set(self, name: str, value: str, source: str, *, own: bool = False) -> None:
        """A setting from a stronger source than those before."""
        self.found[name] = Setting(value, source, own=own)
        if name == "scope":
            self.narrow = None

    def narrow_to(self, scope: str, source: str) -> None:
        """A scope that counts only where it is narrower than what else would."""
        self.narrow = Setting(scope, source)

    def hello(self) -> Iterator[str]:
        """What the backend has to know of one session, as NAME=VALUE for HELLO."""
        for name in ("grace", "idle-timeout", "clients", "era", "logs", *FLAGS):
            if name in self.found:
                yield f"{name}={self.found[name].value}"
        scope = self.found.get("scope")
        for name, setting in (("scope" if scope and scope.own else "default-scope", scope), ("narrow", self.narrow)):
            if setting is not None:
                yield f"{name}={setting.value}"
                if setting.source != "--scope":
                    yield f"{name}-source={setting.source}"
        for name, variables in (("env-count", self.count), ("env-ignore", self.ignore)):
            for variable in variables:
                yield f"{name}={variable}"

    def backend(self) -> Iterator[str]:
        """Options for a backend that is started: what concerns all of its sessions."""
        grace = self.found.get("grace")
        if grace is not None:
            yield from ("--grace", grace.value)
        for name, (value, _) in self.limits.items():
            yield from ("--limit", f"{name}={value}")


def load(
    environ: Mapping[str, str], cwd: str | None, options: Mapping[str, str], command: Sequence[str] = ()
) -> Settings:
    """The settings of a session in `cwd` (None: a directory that is gone) that runs `command`.

    options: from the command line, checked already. Never raises for what a file or a variable holds: what is
    malformed counts as absent, and a complaint names file, key and value.
    """
    settings = Settings()
    user = user_file(environ)
    project = None if cwd is None else project_file(cwd)
    if project is not None or (user is not None and os.path.lexists(user)):
        from mux.config.files import apply

        apply(settings, user, project, command, environ)
    for name in NAMES:
        _from_environment(settings, environ, name)
    for name, value in options.items():
        settings.set(name, value, f"--{name}", own=True)
    return settings


def _from_environment(settings: Settings, environ: Mapping[str, str], name: str) -> None:
    variable = "MUX_" + name.upper().replace("-", "_")
    value = environ.get(variable, "")
    if not value or (name in FLAGS and value == "0"):
        return
    try:
        settings.set(name, checked(name, value) if name in VALUED else "1", variable)
    except UsageError as error:
        settings.complaints.append(f"{variable} is ignored: it {error}")


def user_file(environ: Mapping[str, str]) -> str | None:
    """Where the user's file would be, None without a home directory."""
    home = home_directory(environ)
    return None if home is None else os.path.join(home, USER_FILE)


def home_directory(environ: Mapping[str, str]) -> str | None:
    """HOME, or the one that the system knows."""
    home = environ.get("HOME") or os.path.expanduser("~")
    return home if os.path.isabs(home) else None


def project_file(cwd: str) -> str | None:
    """The nearest `mux.toml` upward, not above the root of the repository; outside of one, only in `cwd` itself."""
    nearest = None
    at = cwd
    while True:
        if nearest is None and os.path.lexists(candidate := os.path.join(at, PROJECT_FILE)):
            nearest = candidate
        if os.path.lexists(os.path.join(at, ".git")):
            return nearest
        parent = os.path.dirname(at)
        if parent == at:
            return nearest if nearest == os.path.join(cwd, PROJECT_FILE) else None
        at = parent
