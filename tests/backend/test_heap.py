"""A heap whose free pages go back: of a process that gets glibc's settings as a backend does, and of a backend."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from mux.backend import heap
from mux.backend.heap import Heap
from mux.backend.memory import weigh
from mux.limits import HEAP_BLOCK_BYTES, HEAP_KEPT_BYTES, HEAP_SPARE_BYTES, MIB
from tests.faults.support import configure
from tests.support.processes import eventually
from tests.support.runtime import Runtime

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is glibc's")

GLIBC = {"MALLOC_MMAP_THRESHOLD_": str(HEAP_BLOCK_BYTES), "MALLOC_TRIM_THRESHOLD_": str(HEAP_KEPT_BYTES)}
BURST = """
import sys
from mux.backend.heap import Heap, _written
heap = Heap()
held = [b"x" * 100_000 for _ in range({blocks})]
del held[:-1]
before = _written()
heap.trim()
print(before - _written(), "ctypes" in sys.modules)
"""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


def after(blocks: int) -> tuple[int, bool]:
    """How many bytes are given back after so many blocks of 100 KB, the last of them kept, and by loading ctypes."""
    code = BURST.format(blocks=blocks)
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **GLIBC}, capture_output=True, check=True, timeout=60
    )
    given, loaded = done.stdout.split()
    return int(given), loaded == b"True"


def test_what_a_burst_has_left_free_below_what_is_in_use_is_given_back() -> None:
    given, loaded = after(70)
    assert given > 5 * MIB
    assert loaded


def test_a_process_that_has_hardly_grown_does_not_load_the_means() -> None:
    given, loaded = after(HEAP_SPARE_BYTES // 200_000)
    assert given == 0
    assert not loaded


@pytest.mark.parametrize("told", [None, "", "1 2", "a b c d"])
def test_where_the_system_does_not_tell_what_is_written_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: str | None
) -> None:
    statm = tmp_path / "statm"
    if told is not None:
        statm.write_text(told)
    monkeypatch.setattr(heap, "_STATM", str(statm))
    monkeypatch.setattr(heap, "_malloc_trim", lambda: pytest.fail("looked for"))
    Heap().trim()


def test_dead_cycles_go_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Link:
        other: Link

    monkeypatch.setattr(heap, "HEAP_SPARE_BYTES", -(1 << 40))
    tidy = Heap()
    gc.disable()
    one, two = Link(), Link()
    one.other, two.other = two, one
    seen = weakref.ref(one)
    del one, two
    assert seen() is not None
    tidy.trim()
    assert seen() is None


@pytest.mark.parametrize("module", [None, SimpleNamespace(CDLL=lambda _: object())], ids=["no ctypes", "no trim"])
def test_where_there_is_no_such_means_memory_is_left_alone(monkeypatch: pytest.MonkeyPatch, module: object) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", module)
    monkeypatch.setattr(heap, "HEAP_SPARE_BYTES", -(1 << 40))
    patient = Heap()
    patient.trim()
    patient.trim()


def test_a_backend_weighs_what_it_did_some_time_after_a_burst_of_large_messages(runtime: Runtime) -> None:
    configure(runtime, self_check_seconds=0.2)
    session = runtime.ready()
    assert session.call("echo", text="small") == "small"
    pid = runtime.backend().pid

    def written() -> int:
        found = weigh([pid])
        assert found is not None
        return found.copy

    before = written()
    for _ in range(4):
        calls = [session.begin_call("echo", text="x" * 100_000) for _ in range(64)]
        for number in calls:
            session.result(number)
    eventually("free memory is given back", lambda: written() < before + HEAP_SPARE_BYTES, seconds=20)
