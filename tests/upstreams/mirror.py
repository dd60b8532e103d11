"""A server that says what it was started with and how it was opened. Nothing of the package is imported."""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    mask = os.umask(0)
    os.umask(mask)
    seen = {
        "argv": sys.argv[1:],
        "cwd": os.getcwd(),
        "umask": mask,
        # what the multiplexer adds for itself is no part of what a session is
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("MUX_")},
    }
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        if message["method"] == "initialize":
            seen["initialize"] = message["params"]
            result: dict[str, object] = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "serverInfo": {"name": "m", "version": "1"},
            }
        else:
            result = {"pid": os.getpid(), "seen": seen}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)


if __name__ == "__main__":
    main()
