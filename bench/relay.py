"""A relay before a server's command: it waits, reads and writes, and looks at nothing.

Two of them in a row are the least that a shim and a backend can cost in Python on a machine.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys

READ_BYTES = 256 * 1024


def main() -> None:
    """Relay between stdin and stdout and those of the command, until either side ends."""
    with subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        ways = {0: server.stdin.fileno(), server.stdout.fileno(): 1}
        poll = select.poll()
        for source in ways:
            poll.register(source, select.POLLIN)
        while True:
            for source, _ in poll.poll():
                data = os.read(source, READ_BYTES)
                if not data:
                    return
                while data:
                    data = data[os.write(ways[source], data) :]


if __name__ == "__main__":
    main()
