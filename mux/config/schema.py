"""The JSON schema of both files, made of the tables that the files are checked by."""

from __future__ import annotations

from typing import Any

from mux import limits
from mux.config.values import CHOICES, OF_A_SERVER, TIMES, VALUED

Json = dict[str, Any]

_SAYS = {
    "socket": "The backend's socket: a name in the runtime directory, or a path (a project's: after `mux trust`)",
    "grace": "How long a server outlives its last session",
    "idle-timeout": "When an idle server is stopped; 0 for never",
    "park-after": "When a quiet session's shim becomes a sleeping shell; 0 for never",
    "scope": "Within what a server is shared; known servers are never shared wider than they can bear",
    "clients": "exact: a server for each kind of client; any: one for all of them",
    "era": "both: a process for each protocol that is spoken; legacy, modern: sessions of the other one are refused",
    "logs": "A log message that could be any session's: own: nobody hears it; share: all who are at work and say share",
    "fallback": "What to do where sharing is impossible: run the server directly, or nothing",
}
_TIME: Json = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^[0-9]*\.?[0-9]*[smh]?$"}]}
_SIZE: Json = {
    "anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[0-9]+ *(B|KB|MB|GB|KiB|MiB|GiB)?$"}],
}
_MATCH: Json = {
    "description": "Package, module, image or program, without version; * and ? are wildcards",
    "anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {"type": "string"}}],
}
_VARIABLES: Json = {"type": "array", "items": {"type": "string", "pattern": r"^[^=*]+\*?$|^\*$"}}


def schema() -> Json:
    """The schema, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mux.toml and ~/.config/mux/config.toml",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{name.replace("-", "_"): _setting(name) for name in VALUED},
            "env": {
                "description": "Variables that the list of noise does not decide; `*` at the end: all that begin so",
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "count": {"description": "They reach servers, and split those that differ", **_VARIABLES},
                    "ignore": {"description": "They reach no server, and split none", **_VARIABLES},
                },
            },
            "limits": {
                "description": "Bounds of one backend, and of the sessions that start it",
                "type": "object",
                "additionalProperties": False,
                "properties": {name: _limit(name) for name in limits.CONFIGURABLE},
            },
            "server": {
                "description": "Settings of the servers that `match`; of several sections the last one counts",
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["match"],
                    "additionalProperties": False,
                    "properties": {
                        "match": _MATCH,
                        **{name.replace("-", "_"): _setting(name) for name in OF_A_SERVER},
                    },
                },
            },
        },
    }


def _setting(name: str) -> Json:
    if name in CHOICES:
        return {"description": _SAYS[name], "enum": list(CHOICES[name])}
    if name in TIMES:
        return {"description": f"{_SAYS[name]}: seconds, or 90s, 15m, 1h", **_TIME}
    return {"description": _SAYS[name], "type": "string", "minLength": 1}


def _limit(name: str) -> Json:
    least, most = limits.CONFIGURABLE[name]
    kind = _TIME if name.endswith("_seconds") else _SIZE if name.endswith("_bytes") else {"type": "integer"}
    return {"description": f"From {least} to {most}; default {getattr(limits, name.upper())}", **kind}
