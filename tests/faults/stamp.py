"""The smallest server: it stamps its life into DIRECTORY and answers every request with an empty result.

Started without site and imports of weight, since thousands of it are. Two lives at once are found by a lock.
"""

import fcntl
import os
import re
import sys
import time

ID = re.compile(rb'"id": ?("[^"]*"|-?\d+)')
INITIALIZED = b'"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"stamp","version":"1"}}'


def main() -> None:
    directory = sys.argv[1]
    os.makedirs(directory, exist_ok=True)
    lock = os.open(directory + "/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stamp(directory, "lives")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stamp(directory, "overlaps")
    for line in sys.stdin.buffer:
        found = ID.search(line)
        if found and b'"method"' in line:
            result = INITIALIZED if b'"initialize"' in line else b'"result":{}'
            os.write(1, b'{"jsonrpc":"2.0","id":%b,%b}\n' % (found[1], result))


def stamp(directory: str, name: str) -> None:
    fd = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, b"%d %d\n" % (os.getpid(), time.monotonic_ns()))
    os.close(fd)


main()
