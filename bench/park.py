"""`python -m bench.park [SESSIONS]`: what sleeping sessions weigh, what they cost while idle, how soon they wake."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from typing import Any

import psutil

from bench.__main__ import SERVER
from mux.cli import interrupts, processes
from mux.cli.fleet import Fleet
from mux.cli.private import PrivateBackend
from mux.cli.text import Progress
from mux.errors import MuxError

Json = dict[str, Any]

PARK_AFTER = "0.5"
IDLE_SECONDS = 5.0
ENDS = 10
PATIENCE_SECONDS = 120.0


def asleep(client_pid: int) -> bool:
    """Whether that shim is a shell now."""
    return psutil.Process(client_pid).cmdline()[:2] == ["sh", "-c"]


def wait_for_sleep(fleet: Fleet) -> None:
    """Raises MuxError if a session stays awake."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(asleep(client.pid) for client in fleet.clients):
        if time.monotonic() > deadline:
            raise MuxError("a session does not fall asleep")
        time.sleep(0.05)
    time.sleep(0.5)  # the last shell may still load


def switches(pids: list[int]) -> int:
    """Voluntary context switches so far: each is a wake-up."""
    return sum(psutil.Process(pid).num_ctx_switches().voluntary for pid in pids)


def measure(sessions: int) -> Json:
    """Everything, on one backend. Raises MuxError."""
    with (
        PrivateBackend(grace=2.0) as backend,
        Fleet(
            "park", [*backend.shim, "--park-after", PARK_AFTER, *SERVER], ["/"], Progress(open(os.devnull, "w"))
        ) as fleet,
    ):
        fleet.start(1)
        wait_for_sleep(fleet)
        main, _ = backend.processes()
        alone = processes.weigh([main]).private
        fleet.start(sessions - 1)
        wait_for_sleep(fleet)
        shims = [processes.weigh([psutil.Process(client.pid)]) for client in fleet.clients]
        full = processes.weigh([main]).private
        pids = [client.pid for client in fleet.clients]
        before = switches(pids), switches([main.pid])
        time.sleep(IDLE_SECONDS)
        after = switches(pids), switches([main.pid])
        woken: list[float] = []
        for client in fleet.clients:
            began = time.perf_counter()
            client.request("ping", None)
            woken.append((time.perf_counter() - began) * 1e3)
        wait_for_sleep(fleet)
        ended: list[float] = []
        for client in fleet.clients[:ENDS]:
            began = time.perf_counter()
            client.end_input()
            client.wait(PATIENCE_SECONDS)
            ended.append((time.perf_counter() - began) * 1e3)
        share = (full - alone) / max(1, sessions - 1)
        private = statistics.median(shim.private for shim in shims)
        return {
            "sessions": sessions,
            "shell": os.path.realpath("/bin/sh"),
            "shim_private_kib": round(private / 1024),
            "shim_rss_kib": round(statistics.median(shim.rss for shim in shims) / 1024),
            "shim_proportional_kib": round(statistics.median(shim.proportional or 0 for shim in shims) / 1024),
            "backend_private_kib": round(full / 1024),
            "backend_share_kib": round(share / 1024, 1),
            "together_kib": round((private + share) / 1024),
            "wakeups_per_second_of_all_shims": round((after[0] - before[0]) / IDLE_SECONDS, 2),
            "wakeups_per_second_of_the_backend": round((after[1] - before[1]) / IDLE_SECONDS, 2),
            "wake_and_answer_p50_ms": round(statistics.median(woken), 1),
            "wake_and_answer_worst_ms": round(max(woken), 1),
            "end_of_input_to_exit_p50_ms": round(statistics.median(ended), 1),
        }


def main() -> int:
    """Measure and print."""
    interrupts.install()
    try:
        print(json.dumps(measure(int(sys.argv[1]) if sys.argv[1:] else 100), indent=2))
    except MuxError as error:
        print(f"bench.park: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
