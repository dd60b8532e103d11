"""Runs tests of a tree again and again, each time in a fork of a process that has loaded what takes long.

A script, started in the tree: `worker.py`. Each line on stdin is a JSON list of arguments for pytest, each on stdout
is [exit code, output]. The tree's own modules are imported by the forks only, so that they may differ each time.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

import hypothesis.strategies
import psutil
import pytest

LOADED = (hypothesis.strategies, psutil)
"""Never used here: what a fork has already, it need not load."""


def main() -> None:
    sys.path[0] = os.getcwd()
    sys.dont_write_bytecode = True
    for line in sys.stdin:
        with tempfile.TemporaryFile() as output:
            pid = os.fork()
            if not pid:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                os._exit(_run(json.loads(line)))
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            output.seek(0)
            print(json.dumps([code, output.read().decode(errors="replace")]), flush=True)


def _run(arguments: list[str]) -> int:
    code = int(pytest.main(arguments))
    sys.stdout.flush()
    return code


if __name__ == "__main__":
    main()
