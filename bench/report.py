"""What a run is printed as."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from pathlib import Path
from typing import Any

from bench.load import DEPTH, MESSAGE_BYTES
from mux import __version__

Json = dict[str, Any]

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
    trip, one, eight = result["round_trip"], result["rate_1"], result["rate_8"]
    warm, cold, where = result["warm_start"], result["cold_start"], result["machine"]
    rows: list[tuple[str, ...]] = [
        ("", "directly", "through mux-shim"),
        ("---", "---:", "---:"),
        ("call round trip, p50", f"{trip['direct']['p50_us']:.0f} µs", f"{trip['shim']['p50_us']:.0f} µs"),
        ("call round trip, p99", f"{trip['direct']['p99_us']:.0f} µs", f"{trip['shim']['p99_us']:.0f} µs"),
        ("added by the multiplexer, p50", "", f"{trip['added_p50_us']:.0f} µs"),
        ("requests per second, 1 session", f"{one['direct']:,}", f"{one['shim']:,}"),
        ("requests per second, 8 sessions", f"{eight['direct']:,}", f"{eight['shim']:,}"),
        (
            "start to `initialize` answer, server shared already",
            f"{warm['direct']['p50_ms']:.0f} ms",
            f"{warm['shim']['p50_ms']:.0f} ms",
        ),
        ("start to `initialize` answer, first session", "", f"{cold['shim']['p50_ms']:.0f} ms"),
    ]
    memory: list[tuple[str, ...]] = [
        ("private memory", "each shim", "backend", "server"),
        ("---", "---:", "---:", "---:"),
    ]
    memory += [
        (
            f"{at['sessions']} session{'s' if at['sessions'] > 1 else ''}",
            *(f"{at[name] / 1e6:.1f} MB" for name in ("shim_private", "backend_private", "server_private")),
        )
        for at in result["memory"]
    ]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines += ["", *("| " + " | ".join(row) + " |" for row in memory)]
    source = (
        f"`python -m bench`: {where['cores']} cores of {where['cpu']}, {where['system']}, Python {where['python']}, "
        f"mux {where['mux']}, {where['date']}. An echo server in standard-library Python, {MESSAGE_BYTES}-byte "
        f"requests, one at a time for round trips, {DEPTH} open per session for rates. Client, shims, backend and "
        "server share the cores; 8 sessions directly are 8 servers, through mux-shim they are one."
    )
    return "\n".join([*lines, "", source, ""])
