"""`python -m bench`: direct, us, and others, alternating in one run; JSON, plots and tables. See bench/README.md.

A full run takes about twenty minutes and keeps two cores busy. What else runs on the machine is in the numbers too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import signal
import sys
from pathlib import Path

from bench import plots
from bench.measure import QUICK, Amount, everything
from bench.report import embedded, machine, markdown
from bench.ways import ways
from mux.cli import interrupts
from mux.cli.text import Progress
from mux.errors import MuxError

RESULTS = Path(__file__).with_name("results")
WATCHDOG_SECONDS = 3600


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the multiplexer.", allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--readme", type=Path, metavar="FILE", help="put the tables between its `bench` marks, too")
    parser.add_argument("--quick", action="store_true", help="under two minutes: whether it works, not how fast it is")
    parser.add_argument(
        "--against", action="append", default=[], metavar="PREFIX", help='another multiplexer, as "other-mux run --"'
    )
    parser.add_argument("--no-proxy", action="store_true", help="leave mcp-proxy out")
    return parser.parse_args()


def main() -> int:
    """Measure; write `latest.json`, `latest.md` and the plots; print the tables."""
    options = _arguments()
    interrupts.install()
    signal.alarm(WATCHDOG_SECONDS)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with contextlib.closing(Progress()) as progress:
            chosen = ways(options.against, proxy=not options.no_proxy)
            result = {"machine": machine()} | everything(chosen, QUICK if options.quick else Amount(), progress.step)
    except MuxError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "latest.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    write(result, options.out, options.readme)
    print(markdown(result))
    return 0


def write(result: plots.Json, out: Path, readme: Path | None = None) -> None:
    """Tables and plots of a run."""
    (out / "latest.md").write_text(markdown(result), encoding="utf-8")
    for name, drawing in plots.drawings(result).items():
        (out / f"{name}.svg").write_text(drawing, encoding="utf-8")
    if readme:
        text = readme.read_text(encoding="utf-8")
        readme.write_text(embedded(text, markdown(result)), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
