"""How widely the server of a session is shared, and why: what was asked for, what is known of it, what is the default.

The shim sends what was asked for as options of HELLO: `scope` is meant for this very server, `default-scope` for all,
`narrow` comes from a file that nobody has trusted. `NAME-source` says where each stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mux.core.identity import (
    ANY,
    BOTH,
    CLIENTS,
    DIRECTORY,
    ERAS,
    EXACT,
    LOGS,
    MODERN,
    OWN,
    SCOPES,
    SESSION,
    WIDTH,
    Sharing,
)
from mux.errors import UsageError
from mux.known import SAFE, Known, about
from mux.limits import IDLE_SECONDS

Options = Mapping[str, str]


def known(argv: Sequence[bytes]) -> Known | None:
    """What is known of the server that `argv` starts."""
    return about([word.decode(errors="replace") for word in argv])


def choose(options: Options, entry: Known | None) -> Sharing:
    """The widest scope that nothing speaks against. Raises UsageError for a choice that there is not."""
    clients, era = _choice(options, "clients", EXACT, CLIENTS), _choice(options, "era", BOTH, ERAS)
    logs = _choice(options, "logs", OWN, LOGS)
    if era == MODERN:  # each request says who its client is: there are no kinds of them to keep apart
        clients = ANY
    if "no-share" in options:
        return Sharing(SESSION, "asked for by --no-share", era=era)
    scope, reason = DIRECTORY, "by default"
    hint = ""
    if asked := _scope(options, "scope"):
        scope, reason = asked, f"asked for by {options.get('scope-source', '--scope')}"
    else:
        if asked := _scope(options, "default-scope"):
            scope, reason = asked, f"asked for by {options.get('default-scope-source', 'the configuration')}"
        if entry is not None and entry.scope and _wider(scope, entry.scope):
            scope = entry.scope
            reason = f"known server: {entry.reason}; --scope or a [[server]] section decides otherwise"
        if entry is not None and entry.suggest and _wider(entry.suggest, scope):
            hint = f"--scope {entry.suggest} would share it wider: {entry.reason}"
    if (narrow := _scope(options, "narrow")) and _wider(scope, narrow):
        scope, reason, hint = narrow, f"narrowed by {options.get('narrow-source', 'the project')}", ""
    return Sharing(scope, reason, clients, hint, era, logs)


def idle_timeout(entry: Known | None) -> float | None:
    """Seconds, where nobody has set any; None for what the server's era can bear."""
    return IDLE_SECONDS if entry is not None and entry.restart == SAFE else None


def _scope(options: Options, name: str) -> str:
    return _choice(options, name, "", ("", *SCOPES))


def _choice(options: Options, name: str, default: str, choices: Sequence[str]) -> str:
    value = options.get(name, default)
    if value not in choices:
        raise UsageError(f"{name}: {value!r} is none of {', '.join(filter(None, choices))}")
    return value


def _wider(a: str, b: str) -> bool:
    return WIDTH.index(a) > WIDTH.index(b)
