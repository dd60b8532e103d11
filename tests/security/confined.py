"""`confined.py HOW COMMAND…`: become COMMAND, confined as `intruder.py` can be."""

from __future__ import annotations

import os
import sys

from tests.security.intruder import confine

if __name__ == "__main__":
    confine(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])
