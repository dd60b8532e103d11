"""What a run is printed as."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from pathlib import Path
from typing import Any

from bench.load import DEPTH, MESSAGE_BYTES, SIZES
from mux import __version__

Json = dict[str, Any]

PLOTS = {
    "memory": "Memory of all processes together, server included",
    "rate": "Calls per second, 64 open in each session",
    "round-trip": "Round trip of a call, median",
}
SIZE_NAMES = dict(zip(SIZES, ("200 B", "4 KB", "50 KB", "1 MB"), strict=True))

OPENING, CLOSING = "<!-- bench -->", "<!-- /bench -->"


def machine() -> Json:
    """Where the numbers come from."""
    model = platform.processor()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "mux": __version__,
        "load": [round(load, 2) for load in os.getloadavg()],
        "date": time.strftime("%Y-%m-%d"),
    }


def embedded(page: str, tables: str) -> str:
    """`page` with `tables` between its marks. Raises ValueError if it has none."""
    before, opening, rest = page.partition(OPENING)
    _, closing, after = rest.partition(CLOSING)
    if not closing:
        raise ValueError(f"no {OPENING} … {CLOSING} in the page")
    return f"{before}{opening}\n{tables}{closing}{after}"


def markdown(result: Json) -> str:
    """The run as tables."""
    names = list(result["round_trip"]["200"])
    speed: list[tuple[str, ...]] = [("", *names), ("---", *["---:"] * len(names))]
    for size, ways in result["round_trip"].items():
        label = SIZE_NAMES[int(size)]
        speed.append((f"round trip of {label}, median", *(_cell(ways, name, "p50", "µs") for name in names)))
        speed.append((f"round trip of {label}, p99", *(_cell(ways, name, "p99", "µs") for name in names)))
    for count, ways in result["rate"].items():
        label = f"{count} session{'s' if count != '1' else ''}"
        speed.append((f"calls per second, {label}", *(_cell(ways, name, "p50") for name in names)))
    for kind, label in (("warm", "start beside another session"), ("cold", "start of the first session")):
        speed.append((label, *(_cell(result["start"][kind], name, "p50", "ms") for name in names)))
    crowd: list[tuple[str, ...]] = [
        ("sessions", "", "a session: RSS", "private", "shared: private", "all: proportional", "wake-ups a second"),
        ("---:", "---", *["---:"] * 5),
    ]
    crowd += [_crowd(one) for one in result["crowd"]]
    tables = ["\n".join("| " + " | ".join(row) + " |" for row in table) for table in (speed, crowd)]
    return "\n\n".join(
        [tables[0], _plot("rate"), _plot("round-trip"), tables[1], _plot("memory"), _source(result), ""]
    )[:-1]


def _plot(name: str) -> str:
    """A picture, seen from the README."""
    return f"![{PLOTS[name]}](bench/results/{name}.svg)"


def _cell(ways: Json, name: str, value: str, unit: str = "") -> str:
    if name not in ways:
        return ""
    number = ways[name][value]
    return f"{number:,.{1 if number < 10 else 0}f} {unit}".strip()


def _crowd(one: Json) -> tuple[str, ...]:
    each, shared, idle = one["each"], one["shared"], one["idle"]
    kind = f"{one['way']}{', asleep' if one['asleep'] else ''}"
    if one["way"] != "direct" and one["servers"]["processes"] > 1:
        kind += f", {one['servers']['processes']} servers"
    return (
        f"{one['sessions']:,}",
        kind,
        _mb(each["rss"]),
        _mb(each["private"]),
        _mb(shared["private"]) if shared["processes"] else "",
        _mb(one["total"]["pss"] or 0),
        f"{idle['sessions']['wakeups'] + idle['shared']['wakeups']:.1f}",
    )


def _mb(size: float) -> str:
    return f"{size / 1e6:,.{1 if size > 1e6 else 2}f} MB"


def _source(result: Json) -> str:
    where = result["machine"]
    return (
        f"[`python -m bench`](bench/README.md): {where['cores']} cores of {where['cpu']}, {where['system']}, "
        f"Python {where['python']},\nmux {where['mux']}, {where['date']}. An echo server in standard-library Python; "
        f"round trips one at a time,\n{DEPTH} calls of {MESSAGE_BYTES} B open per session for rates. Client, shims, "
        "backend and server share the cores.\nDirectly, each session is a server; else all share one."
    )
