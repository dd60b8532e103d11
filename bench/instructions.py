"""`python -m bench.instructions`: what a message costs in machine instructions, the same on a busy machine.

Counted by valgrind's callgrind (`apt-get install valgrind`), which is not installed by anything here. Counts depend on
the build of Python and of msgspec: compare those of one machine. `--compare` tells whether anything became dearer.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from bench.report import machine
from mux.errors import MuxError

Json = dict[str, Any]

BASE_LINE = Path(__file__).parent / "results" / "instructions.json"
TOLERANCE_PERCENT = 3.0
"""Between runs of one program the counts differ by less than a tenth of this."""

START = "import mux.shim.main, mux.shim.session, mux.rendezvous.attach, mux.shim.relay, resource"
"""What a shim loads until the first answer."""

PATIENCE_SECONDS = 1800
_MARK = "getppid"
_SUMMARY = re.compile(r"^summary: (\d+)", re.MULTILINE)


def count() -> dict[str, int]:
    """Instructions of a shim's start, and per message of each stretch of `bench.workloads`. Raises MuxError."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        _run(out, "-c", "pass")
        counts = {"start: Python alone": _cost(out)}
        for _ in ("byte-code is written", "and read"):
            _run(out, "-c", START)
        counts["start: the modules of a shim"] = _cost(out) - counts["start: Python alone"]
        told = _run(out, "-m", "bench.workloads")
        for number, line in enumerate(told.splitlines(), 1):
            messages, _, name = line.partition(" ")
            counts[name] = round(_cost(out.with_name(f"out.{2 * number}")) / int(messages))
        return counts


def _run(out: Path, *arguments: str) -> str:
    """Python under callgrind, which writes to `out` and beside it; what it prints. Raises MuxError."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise MuxError("valgrind is not on PATH: `apt-get install valgrind`, or what your system calls it")
    counter = [valgrind, "--tool=callgrind", f"--callgrind-out-file={out}", f"--dump-before={_MARK}"]
    done = subprocess.run(
        [*counter, sys.executable, *arguments],
        cwd=Path(__file__).parents[1],
        env={"PATH": os.environ.get("PATH", ""), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    if done.returncode:
        raise MuxError(f"it failed under valgrind: {done.stderr.strip()}")
    return done.stdout


def _cost(part: Path) -> int:
    """Instructions in one part of a run: from the mark before, or the beginning, to the next, or the end.

    Raises MuxError.
    """
    found = _SUMMARY.search(part.read_text(encoding="utf-8", errors="replace")) if part.exists() else None
    if found is None:
        raise MuxError(f"callgrind saw no call of {_MARK}: it needs a Python whose libc is a library of its own")
    return int(found[1])


def versions() -> Json:
    """What else than our code decides the counts."""
    where = machine()
    return {"python": where["python"], "msgspec": msgspec.__version__, "cpu": where["cpu"], "date": where["date"]}


def table(counts: dict[str, int], base: dict[str, int]) -> str:
    """Per stretch: instructions a message, and the difference to the base line where that has it."""
    rows = [
        f"{name:44}{number:>10,}" + (f"{_change(number, base[name]):>+9.1f} %" if name in base else "")
        for name, number in counts.items()
    ]
    return "\n".join([f"{'instructions':44}{'now':>10}{'changed' if base else '':>11}", *rows])


def _change(now: int, before: int) -> float:
    return (now / before - 1) * 100


def main() -> int:
    """Print the counts; exit code 1 where `--compare` finds a dearer one, or if they can not be had."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__, allow_abbrev=False)
    parser.add_argument("--compare", action="store_true", help="exit 1 if a count is above the base line")
    parser.add_argument("--record", action="store_true", help="make these counts the base line")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE_PERCENT, metavar="PERCENT")
    parser.add_argument("--base-line", type=Path, default=BASE_LINE, metavar="FILE")
    options = parser.parse_args()
    try:
        counts = count()
    except MuxError as error:
        print(f"bench.instructions: {error}", file=sys.stderr)
        return 1
    recorded = json.loads(options.base_line.read_text(encoding="utf-8")) if options.base_line.exists() else {}
    base = recorded.get("instructions", {})
    print(table(counts, base))
    if recorded and (other := recorded["versions"]["python"]) != machine()["python"]:
        print(f"the base line is of Python {other}: record one of your own with --record", file=sys.stderr)
    if options.record:
        result = {"versions": versions(), "instructions": counts}
        options.base_line.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    dearer = [name for name in counts.keys() & base.keys() if _change(counts[name], base[name]) > options.tolerance]
    if options.compare and (dearer or not base):
        print(f"dearer than the base line: {', '.join(sorted(dearer)) or 'there is no base line'}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
