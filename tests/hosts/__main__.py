"""`python -m tests.hosts [HOST…]`: real hosts end to end, installed from npm. `--table`: what they cost instead."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tests.hosts.hosts import HOSTS
from tests.hosts.measure import table
from tests.support.installed import hosts


def main() -> int:
    """Run the tests, or measure; the exit code of either."""
    names = [host.name for host in HOSTS]
    parser = argparse.ArgumentParser(prog="python -m tests.hosts", description=__doc__, allow_abbrev=False)
    parser.add_argument("host", nargs="*", metavar="HOST", help=f"only these: {', '.join(names)}")
    parser.add_argument("--table", action="store_true", help="measure copies, memory and times, and print a table")
    given = parser.parse_args()
    if unknown := [name for name in given.host if name not in names]:
        parser.error(f"{', '.join(unknown)}: not one of {', '.join(names)}")
    node = hosts()
    if isinstance(node, str):
        print(node, file=sys.stderr)
        return 1
    if given.table:
        for line in table(node, given.host):
            print(line, flush=True)
        return 0
    environment = {**os.environ, "MUX_HOSTS": ",".join(given.host) or "all"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", str(Path(__file__).parent)], env=environment, check=False
    ).returncode


if __name__ == "__main__":
    raise SystemExit(main())
