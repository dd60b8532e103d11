"""What each setting may be, wherever it is written. On the shim's way: nothing heavy is imported.

Inside, a setting has the name of its option (`idle-timeout`) and its value is text in a plain form; in a file the name
is written with underscores, in the environment as MUX_IDLE_TIMEOUT.
"""

from __future__ import annotations

from mux import limits
from mux.errors import UsageError

WIDTH = ("session", "directory", "project", "user")
"""Scopes from the narrowest to the widest."""

CHOICES = {
    "scope": (*WIDTH[1:], WIDTH[0]),
    "clients": ("exact", "any"),
    "era": ("both", "legacy", "modern"),
    "logs": ("own", "share"),
    "fallback": ("direct", "error"),
}
TIMES = ("grace", "idle-timeout", "park-after")
FLAGS = ("no-share",)
VALUED = ("socket", *TIMES, *CHOICES)
NAMES = (*VALUED, *FLAGS)

OF_A_SERVER = (*CHOICES, *TIMES)
"""Settings that a [[server]] section can have."""

_UNITS = {"s": 1, "m": 60, "h": 3600}
_SIZES = {"KiB": limits.KIB, "MiB": limits.MIB, "GiB": 1024 * limits.MIB, "KB": 10**3, "MB": 10**6, "GB": 10**9, "B": 1}
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_NAME_LENGTH = 32
_DIGITS = 15


def checked(name: str, value: str) -> str:
    """The setting `name` in its plain form. Raises UsageError, which goes on after the name: "is …, not 'x'"."""
    if name in CHOICES and value not in CHOICES[name]:
        raise UsageError(f"is {' or '.join(CHOICES[name])}, not {shown(value)}")
    if name in TIMES:
        return seconds(value)
    if name == "socket" and (not value or "\0" in value):
        raise UsageError("needs a path or a name")
    return value


def seconds(value: str) -> str:
    """A time such as 30, 0.5, 90s, 15m or 1h, in plain seconds, a year at most. Raises UsageError as `checked` does."""
    number, unit = (value[:-1], value[-1:]) if value[-1:] in _UNITS else (value, "s")
    digits = number.replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS):
        raise UsageError(f"is a time such as 30, 90s or 15m, not {shown(value)}")
    found = min(float(number) * _UNITS[unit], limits.DURATION_CEILING_SECONDS)
    return f"{found:.6f}".rstrip("0").rstrip(".")  # the backend takes no more decimals than nine, and no exponent


def from_file(name: str, value: object) -> str:
    """A setting as TOML has it: also a number for a time. Raises UsageError as `checked` does."""
    if name in TIMES and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise UsageError(f"is text, not {shown(value)}")
    return checked(name, value)


def limit(name: str, value: object) -> int | float:
    """The limit `name`: a number, a size such as "16 MiB", a time such as "90s". Raises as `checked` does."""
    least, most = limits.CONFIGURABLE[name]
    number = _number(name, value)
    if not least <= number <= most:
        raise UsageError(f"is between {least} and {most}, not {shown(value)}")
    return float(number) if name.endswith("_seconds") else int(number)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool):
        raise UsageError(f"is a number, not {shown(value)}")
    if isinstance(value, int):
        return value
    if name.endswith("_seconds"):
        return float(seconds(str(value)))
    if isinstance(value, str):
        text = value.strip()
        unit = next((unit for unit in _SIZES if text.endswith(unit)), "") if name.endswith("_bytes") else ""
        digits = text.removesuffix(unit).strip()
        if digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS:
            return int(digits) * _SIZES.get(unit, 1)
    what = "a number of bytes, or a size such as 16 MiB" if name.endswith("_bytes") else "a whole number"
    raise UsageError(f"is {what}, not {shown(value)}")


def is_name(socket: str) -> bool:
    """Whether it is a plain name in the runtime directory: no way to anywhere else, and short enough to fit."""
    return 0 < len(socket) <= _NAME_LENGTH and socket[0] not in ".-" and _NAME_CHARACTERS.issuperset(socket)


def is_variable(value: object) -> bool:
    """Whether it names an environment variable, or with a `*` at its end all that begin so."""
    if not isinstance(value, str) or not value:
        return False
    return "*" not in value[:-1] and not any(sign in value for sign in "=\0\n")


def shown(value: object) -> str:
    """A value as an error shows it: one short printable line."""
    text = printable(repr(value))
    return text if len(text) <= 60 else f"{text[:59]}…"


def printable(text: str) -> str:
    """`text` without what could move a cursor or begin a line: files come from anywhere."""
    return "".join(character if character.isprintable() else "?" for character in text)
