"""What processes weigh: of real ones, and of what the kernel writes about them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mux.backend import memory
from mux.backend.memory import weigh
from mux.backend.state import Memory
from mux.limits import KIB, MIB
from tests.backend.support import sleeper

HELD = 30 * MIB

ROLLUP = b"""55a000-7ff000 ---p 00000000 00:00 0 [rollup]
Rss:                1000 kB
Pss:                 600 kB
Pss_Dirty:           300 kB
Shared_Clean:        400 kB
Shared_Dirty:        100 kB
Private_Clean:       200 kB
Private_Dirty:       300 kB
%bLocked:                0 kB
"""


@pytest.fixture
def holders() -> Iterator[list[int]]:
    """Two processes that each hold HELD bytes of their own."""
    code = f"import sys; held = bytearray(b'x') * {HELD}; print('held', flush=True); sys.stdin.read()"
    started = [
        subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
    yield [process.pid for process in started]
    for process in started:
        process.communicate(timeout=20)


@pytest.fixture(params=["linux", "elsewhere"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kernel's own file, and psutil."""
    if request.param == "elsewhere":
        monkeypatch.setattr(sys, "platform", "other")
    return str(request.param)


@pytest.mark.usefixtures("system")
def test_a_process_weighs_at_least_what_it_holds(holders: list[int]) -> None:
    found = weigh(holders[:1])
    assert found is not None
    assert found.pss is not None
    assert HELD <= found.copy <= found.private <= found.pss <= found.rss


@pytest.mark.usefixtures("system")
def test_several_processes_weigh_what_each_of_them_does_and_who_is_gone_weighs_nothing(holders: list[int]) -> None:
    with sleeper() as process:
        process.kill()
    found = weigh([*holders, process.pid])
    assert found is not None
    assert found.pss is not None
    assert 2 * HELD <= found.copy <= found.private <= found.pss <= found.rss < 8 * HELD


@pytest.mark.usefixtures("system")
def test_nobody_has_no_weight() -> None:
    with sleeper() as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        zombie = weigh([process.pid])
    assert zombie is None or (zombie.rss, zombie.copy) == (0, 0)
    assert weigh([process.pid]) is None
    assert weigh([]) is None


def test_shared_pages_are_in_rss_pages_of_its_own_in_private_and_those_it_changed_in_copy() -> None:
    found = Memory(rss=1000 * KIB, pss=600 * KIB, private=500 * KIB, copy=300 * KIB)
    assert memory._sums(ROLLUP % b"") == found


def test_what_is_swapped_out_is_weighed_as_if_it_were_there() -> None:
    swapped = ROLLUP % b"Swap:                 90 kB\nSwapPss:              40 kB\n"
    assert memory._sums(swapped) == Memory(rss=1000 * KIB, pss=640 * KIB, private=540 * KIB, copy=340 * KIB)


@pytest.mark.parametrize("rollup", [b"", b"0-0 ---p 00000000 00:00 0 [rollup]\n"])
def test_a_process_that_ended_while_it_was_looked_at_has_no_weight(rollup: bytes) -> None:
    assert memory._sums(rollup) is None


def test_where_the_system_does_not_tell_shares_the_others_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {1: Memory(rss=1, pss=None, private=2, copy=3), 2: Memory(rss=10, pss=20, private=30, copy=40)}
    monkeypatch.setattr(memory, "_one", known.get)
    assert weigh([1, 2, 3]) == Memory(rss=11, pss=None, private=32, copy=43)
