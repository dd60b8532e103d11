"""The servers of a backend, as processes: each by its number, all at their end, and the record of them meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from mux.backend import child, logs, reap, record
from mux.backend import upstreams as module
from mux.backend.record import Record
from mux.backend.upstreams import Upstreams
from mux.core.actions import Launch
from mux.core.events import Event, ProcessExited, ProcessFailed, ProcessLine, ProcessStarted
from tests.backend.support import PATIENCE, spec
from tests.support.processes import eventually, running

CAT = ("/bin/cat",)
STUBBORN = ("/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 93; done")
"""Neither the end of its input nor SIGTERM ends it."""

Kind = TypeVar("Kind", ProcessStarted, ProcessLine, ProcessExited, ProcessFailed)


class Backend:
    """The servers in `directory`, and all that the core is told of them. owned: whether our names there are ours."""

    def __init__(self, directory: Path, tasks: asyncio.TaskGroup) -> None:
        self.owned = True
        self.path = directory / "s.json"
        self.recorded: list[Record | None] = []
        self._news = asyncio.Event()
        self._events: list[Event] = []
        self.servers = Upstreams(
            tasks,
            self._heard,
            record_path=str(self.path),
            stderr=logs.StderrFolder(directory / "s"),
            owned=lambda: self.owned,
        )

    def _heard(self, *batch: Event) -> None:
        self.recorded.append(record.read(self.path))
        self._events += batch
        self._news.set()

    def launch(self, process: int, *argv: str, upstream: int | None = None, generation: int = 1) -> None:
        number = process if upstream is None else upstream
        self.servers.launch(Launch(process, number, generation, spec(*argv)))

    async def until(self, kind: type[Kind], process: int) -> Kind:
        """The first event of that kind from that process."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for event in self._events:
                    if isinstance(event, kind) and event.process == process:
                        return event
                self._news.clear()
                await self._news.wait()

    async def started(self, process: int, *argv: str) -> int:
        """Launch it; its pid once it runs."""
        self.launch(process, *argv)
        return (await self.until(ProcessStarted, process)).pid

    async def line(self, process: int) -> bytes:
        return (await self.until(ProcessLine, process)).data

    async def gone(self, *processes: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while any(self.servers.get(process) for process in processes):  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0.01)

    def in_record(self) -> set[int]:
        """The pids of the servers that the record names."""
        found = record.read(self.path)
        assert found is not None
        return {entry.leader.pid for entry in found.upstreams}


@contextlib.asynccontextmanager
async def serving(directory: Path) -> AsyncGenerator[Backend]:
    async with asyncio.TaskGroup() as tasks:
        backend = Backend(directory, tasks)
        try:
            yield backend
        finally:
            backend.servers.kill_all()


async def test_a_server_is_in_the_record_before_anybody_hears_that_it_runs(directory: Path) -> None:
    async with serving(directory) as backend:
        pid = await backend.started(1, *CAT)
        (then, *_) = backend.recorded
        assert then is not None
        assert then.process.pid == os.getpid()
        assert [entry.leader.pid for entry in then.upstreams] == [pid]


async def test_each_is_reached_by_its_number_alone(directory: Path) -> None:
    async with serving(directory) as backend:
        first, second = await backend.started(1, *CAT), await backend.started(2, *CAT)
        backend.servers.forward(2, b"two\n")
        backend.servers.forward(1, b"one\n")
        assert (await backend.line(1), await backend.line(2)) == (b"one", b"two")
        assert [child.process for child in backend.servers] == [1, 2]
        assert backend.in_record() == {first, second}


async def test_one_that_is_stopped_goes_from_list_and_record_and_the_others_stay(directory: Path) -> None:
    async with serving(directory) as backend:
        await backend.started(1, *CAT)
        stays = await backend.started(2, *CAT)
        backend.servers.stop(1)
        assert (await backend.until(ProcessExited, 1)).status == 0
        await backend.gone(1)
        assert [child.process for child in backend.servers] == [2]
        assert backend.in_record() == {stays}
        backend.servers.forward(2, b"on\n")
        assert await backend.line(2) == b"on"


async def test_what_is_said_to_one_that_is_gone_or_never_was_goes_nowhere(directory: Path) -> None:
    async with serving(directory) as backend:
        await backend.started(1, "/bin/true")
        await backend.gone(1)
        for process in (1, 7):
            backend.servers.forward(process, b"late\n")
            backend.servers.stop(process)
        assert list(backend.servers) == []


async def test_one_that_cannot_be_started_leaves_nothing_but_the_word_of_it(directory: Path) -> None:
    async with serving(directory) as backend:
        backend.launch(1, "/nowhere/at/all")
        assert "/nowhere/at/all" in (await backend.until(ProcessFailed, 1)).reason
        await backend.gone(1)
        assert backend.in_record() == set()


async def test_all_are_stopped_at_once_and_waited_for_no_longer_than_they_take(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_STEP_SECONDS", 3600.0)
    async with serving(directory) as backend:
        pids = [await backend.started(number, *CAT) for number in (1, 2, 3)]
        await asyncio.wait_for(backend.servers.stop_all(), PATIENCE)
        assert not any(running(pid) for pid in pids)
        assert [(await backend.until(ProcessExited, number)).status for number in (1, 2, 3)] == [0, 0, 0]
        assert backend.in_record() == set()


async def test_where_none_runs_all_are_stopped_already(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_STEP_SECONDS", 3600.0)
    async with serving(directory) as backend:
        await asyncio.wait_for(backend.servers.stop_all(), PATIENCE)
        backend.servers.kill_all()
        backend.servers.look()
        assert not backend.path.exists()


async def test_an_exit_waits_for_stubborn_servers_only_so_long_and_then_kills_them(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_STEP_SECONDS", 0.01)
    monkeypatch.setattr(child, "STOP_STEP_SECONDS", 3600.0)
    async with serving(directory) as backend:
        for number in (1, 2):
            backend.launch(number, *STUBBORN)
        for number in (1, 2):
            assert await backend.line(number) == b"up"
        await asyncio.wait_for(backend.servers.stop_all(), PATIENCE)
        for number in (1, 2):
            assert (await backend.until(ProcessExited, number)).status == -signal.SIGKILL


@pytest.mark.filterwarnings("ignore:Exception ignored in. <function Popen.__del__")  # nobody is left to wait for it
def test_the_end_of_the_backends_tasks_is_the_end_of_its_servers(directory: Path) -> None:
    pids: list[int] = []

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            backend = Backend(directory, tasks)
            backend.launch(1, *STUBBORN)
            await backend.line(1)
            pids.append((await backend.until(ProcessStarted, 1)).pid)
            raise RuntimeError("a defect")

    with pytest.raises(ExceptionGroup):
        asyncio.run(run())
    eventually("it is dead", lambda: not running(pids[0]))
    left = record.read(directory / "s.json")
    assert left is not None
    assert left.upstreams == ()


# --- the record -----------------------------------------------------------------------------------


def trees(found: Record | None) -> set[int]:
    assert found is not None
    return {identity.pid for entry in found.upstreams for identity in entry.tree}


async def test_a_look_records_what_has_left_its_servers_group(directory: Path) -> None:
    async with serving(directory) as backend:
        await backend.started(1, "/bin/sh", "-c", "setsid sleep 94 & echo $!; exec cat")
        left = int(await backend.line(1))
        eventually("it has left", lambda: os.getsid(left) == left)
        backend.servers.look()
        assert left in trees(record.read(backend.path))
        (server,) = backend.servers
        assert server.detached


async def test_without_descriptors_to_look_with_the_record_is_written_all_the_same(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def scarce() -> reap.Table:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with serving(directory) as backend:
        pid = await backend.started(1, *CAT)
        backend.path.unlink()
        with monkeypatch.context() as patched:
            patched.setattr(reap, "table", scarce)
            backend.servers.look()
        assert caplog.messages == ['look.failed reason="Too many open files"']
        assert backend.in_record() == {pid}


async def test_a_record_that_cannot_be_written_is_logged_and_the_servers_go_on(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(directory) as backend:
        backend.path.mkdir()
        await backend.started(1, *CAT)
        backend.servers.forward(1, b"on\n")
        assert await backend.line(1) == b"on"
        assert any(message.startswith(f"record.failed path={backend.path} ") for message in caplog.messages)
        backend.servers.stop(1)
        await backend.gone(1)
    backend.path.rmdir()


@pytest.mark.parametrize("owned", [True, False])
async def test_at_the_end_the_record_and_the_logs_go_unless_they_are_a_successors(
    directory: Path, *, owned: bool
) -> None:
    async with serving(directory) as backend:
        await backend.started(1, "/bin/sh", "-c", "echo noise >&2; exec cat")
        backend.servers.stop(1)
        await backend.gone(1)
        backend.owned = owned
        backend.path.write_text("the successor's")
        backend.servers.write_record()
        assert (backend.path.read_text() == "the successor's") is not owned
        backend.servers.close()
        backend.servers.close()
        assert sorted(os.listdir(directory)) == ([] if owned else ["s-1-sh.err", "s.json"])


async def test_the_stderr_of_a_server_is_one_file_for_all_its_generations(directory: Path) -> None:
    noise = ("/bin/sh", "-c", "echo noise >&2")
    async with serving(directory) as backend:
        await backend.started(1, *CAT)
        assert backend.servers.log_of(1) is None, "it has written nothing"
        for process in (8, 9):
            backend.launch(process, *noise, upstream=5, generation=process)
            await backend.gone(process)
        path = directory / "s-5-sh.err"
        assert backend.servers.log_of(5) == str(path)
        assert path.read_text().count("noise") == 2
        assert str(path) not in {file.path for file in psutil.Process().open_files()}
        assert backend.servers.log_of(2) is None
