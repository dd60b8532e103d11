from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from mux.backend import logs
from mux.backend.child import Child
from mux.core.events import Event, LaunchSpec, ProcessExited, ProcessFailed, ProcessLine, ProcessStarted
from mux.limits import MESSAGE_BYTES, OVERSIZE_EDGE_BYTES
from tests.backend.support import PATIENCE, spec
from tests.support.processes import eventually, running

IGNORE = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(96)"


class Life:
    """A child, and every event of it."""

    def __init__(self, launch: LaunchSpec, directory: Path) -> None:
        self.events: list[Event] = []
        self.news = asyncio.Event()
        self.child = Child(1, 1, launch, logs.Stderr(directory / "1.err"), self._heard)
        self.task = asyncio.create_task(self.child.run(lambda: None))

    def _heard(self, *batch: Event) -> None:
        self.events += batch
        self.news.set()

    async def until(self, kind: type[Event]) -> Event:
        async with asyncio.timeout(PATIENCE):
            while not (found := [event for event in self.events if isinstance(event, kind)]):
                self.news.clear()
                await self.news.wait()
        return found[-1]

    async def line(self, number: int = 0) -> bytes:
        async with asyncio.timeout(PATIENCE):
            while len(found := self.lines()) <= number:
                self.news.clear()
                await self.news.wait()
        return found[number]

    def lines(self) -> list[bytes]:
        return [event.data for event in self.events if isinstance(event, ProcessLine)]

    async def ended(self) -> ProcessExited:
        found = await self.until(ProcessExited)
        assert isinstance(found, ProcessExited)
        await self.task
        return found


@contextlib.asynccontextmanager
async def living(launch: LaunchSpec, directory: Path) -> AsyncGenerator[Life]:
    life = Life(launch, directory)
    try:
        yield life
    finally:
        life.child.kill()
        async with asyncio.timeout(PATIENCE):
            await life.task


def python(code: str, **fields: object) -> LaunchSpec:
    return spec(sys.executable, "-u", "-c", code, **fields)  # type: ignore[arg-type]


async def test_a_server_starts_with_the_session_s_directory_environment_umask_and_limits(directory: Path) -> None:
    code = (
        "import os, resource, signal; print(os.getcwd(), os.environ['A'], oct(os.umask(0)),"
        " resource.getrlimit(resource.RLIMIT_NOFILE), os.getpgid(0) == os.getpid(),"
        " os.listdir('/proc/self/fd'), signal.pthread_sigmask(0, []))"
    )
    launch = python(code, cwd=str(directory), environment=["A=b=c"], umask=0o027, limits=(b"RLIMIT_NOFILE=200:300",))
    async with living(launch, directory) as life:
        line = (await life.line()).decode()
        assert line == f"{directory} b=c 0o27 (200, 300) True ['0', '1', '2', '3'] set()"
        assert (await life.ended()).status == 0
    shell = spec("/bin/sh", "-c", "grep SigIgn /proc/self/status")
    async with living(shell, directory) as life:
        assert (await life.line()).split()[1] == b"0" * 16


@pytest.mark.parametrize(
    ("launch", "reason"),
    [
        (spec("/nowhere/at-all"), "command not found: /nowhere/at-all"),
        (spec("no-such-command"), "command not found: no-such-command"),
        (spec("/etc/passwd"), "not executable: /etc/passwd"),
        (spec("/tmp"), "not executable: /tmp"),
        (spec("/bin/cat", cwd="/nowhere"), "directory gone: /nowhere"),
    ],
)
async def test_a_server_that_cannot_start_fails_with_a_sentence(
    launch: LaunchSpec, reason: str, directory: Path
) -> None:
    async with living(launch, directory) as life:
        await life.until(ProcessFailed)
        (failed,) = life.events
        assert isinstance(failed, ProcessFailed)
        assert failed.reason.startswith(f"{reason}. ")


async def test_a_script_whose_interpreter_is_missing_says_so(directory: Path) -> None:
    script = directory / "script"
    script.write_text("#!/nowhere/python\n")
    script.chmod(0o700)
    async with living(spec(str(script)), directory) as life:
        failed = await life.until(ProcessFailed)
        assert isinstance(failed, ProcessFailed)
        assert "interpreter" in failed.reason


async def test_the_output_is_read_to_its_end_before_the_exit_is_told(directory: Path) -> None:
    code = "import sys, os; print('x' * 300000); print('last'); sys.stderr.write('why\\n'); os._exit(3)"
    async with living(python(code), directory) as life:
        assert await life.ended() == ProcessExited(1, 3, "why")
        assert [len(line) for line in life.lines()] == [300000, 4]
        assert [type(event) for event in life.events] == [ProcessStarted, ProcessLine, ProcessLine, ProcessExited]


async def test_an_unfinished_line_at_the_end_is_no_line(directory: Path) -> None:
    async with living(spec("/usr/bin/printf", r"whole\nhalf"), directory) as life:
        await life.ended()
        assert life.lines() == [b"whole"]


async def test_an_oversize_line_is_told_by_its_edges(directory: Path) -> None:
    code = f"import sys; sys.stdout.write('a' + 'x' * {MESSAGE_BYTES} + 'z\\nnext\\n')"
    async with living(python(code), directory) as life:
        assert await life.line(1) == b"next"
        event = life.events[1]
        assert isinstance(event, ProcessLine)
        assert event.oversize
        assert (event.data[:1], event.data[-1:], len(event.data)) == (b"a", b"z", 2 * OVERSIZE_EDGE_BYTES)


async def test_what_is_written_arrives_in_order_and_end_of_input_ends_a_good_server(directory: Path) -> None:
    async with living(spec("/bin/cat"), directory) as life:
        await life.until(ProcessStarted)
        for number in range(1000):
            life.child.write(b"%d\n" % number)
        await life.line(999)
        assert life.lines() == [b"%d" % number for number in range(1000)]
        life.child.stop()
        life.child.stop()
        assert (await life.ended()).status == 0


async def test_a_server_that_ignores_end_of_input_and_sigterm_is_killed(directory: Path) -> None:
    async with living(python(IGNORE), directory) as life:
        await life.line()
        life.child.stop()
        assert (await life.ended()).status == -9


async def test_the_whole_tree_ends_with_a_stop_even_what_left_the_group(directory: Path) -> None:
    code = (
        "import subprocess, sys\n"
        f"a = subprocess.Popen([sys.executable, '-c', {IGNORE!r}], stdin=subprocess.DEVNULL)\n"
        f"b = subprocess.Popen([sys.executable, '-c', {IGNORE!r}], stdin=subprocess.DEVNULL, start_new_session=True)\n"
        "print(a.pid, b.pid)\n"
        "sys.stdin.read()\n"
    )
    async with living(python(code), directory) as life:
        pids: list[int] = []
        async with asyncio.timeout(PATIENCE):
            while len(life.lines()) < 3:
                life.news.clear()
                await life.news.wait()
        for line in life.lines():
            if line != b"up":
                pids = [int(word) for word in line.split()]
        assert all(running(pid) for pid in pids)
        life.child.stop()
        assert (await life.ended()).status == 0
        assert not any(running(pid) for pid in pids)


async def test_a_group_that_outlives_its_crashed_leader_is_ended_before_the_exit_is_told(directory: Path) -> None:
    code = (
        "import subprocess, os\n"
        "print(subprocess.Popen(['/bin/sleep', '95'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)\n"
        "os._exit(4)\n"
    )
    async with living(python(code), directory) as life:
        pid = int(await life.line())
        assert (await life.ended()).status == 4
        assert not running(pid)


@pytest.mark.parametrize("output", ["None", "subprocess.DEVNULL"])
async def test_a_detached_grandchild_of_a_crashed_server_ends_with_it(directory: Path, output: str) -> None:
    code = (
        "import subprocess, os, sys\n"
        "sys.stdin.readline()\n"
        f"p = subprocess.Popen(['/bin/sleep', '94'], start_new_session=True, stdout={output}, stderr={output})\n"
        "print(p.pid)\n"
        "os._exit(5)\n"
    )
    async with living(python(code), directory) as life:
        await life.until(ProcessStarted)
        life.child.write(b"go\n")
        pid = int(await life.line())
        assert (await life.ended()).status == 5
        assert not running(pid)


async def test_a_server_that_closes_its_output_is_ended(directory: Path) -> None:
    async with living(spec("/bin/sh", "-c", "exec >&-; sleep 91"), directory) as life:
        assert (await life.ended()).status == -15


async def test_stderr_goes_to_its_log_and_its_last_lines_to_the_exit(directory: Path) -> None:
    code = "import sys; [print(n, file=sys.stderr) for n in range(50)]; sys.stderr.buffer.write(b'\\xff\\n')"
    async with living(python(code), directory) as life:
        tail = (await life.ended()).stderr.splitlines()
        assert tail == [*(str(n) for n in range(31, 50)), "�"]
    assert (directory / "1.err").read_bytes().count(b"\n") == 51
    assert (directory / "1.err").stat().st_mode & 0o777 == 0o600


async def test_a_stop_during_the_start_ends_it_all_the_same(directory: Path) -> None:
    async with living(spec("/bin/cat"), directory) as life:
        life.child.stop()
        assert (await life.ended()).status == 0


@pytest.mark.filterwarnings("ignore:Exception ignored in. <function Popen.__del__")  # nobody is left to wait for it
async def test_the_pipes_are_closed_with_the_task_whatever_ends_it(directory: Path) -> None:
    life = Life(spec("/bin/cat"), directory)
    started = await life.until(ProcessStarted)
    assert isinstance(started, ProcessStarted)
    life.task.cancel()
    try:
        async with asyncio.timeout(PATIENCE):
            while running(started.pid):  # noqa: ASYNC110 - it sees the end of its input, and nobody is told
                await asyncio.sleep(0.01)
    finally:
        os.kill(started.pid, signal.SIGKILL)  # no more than a zombie by now


async def test_writing_to_a_server_that_has_gone_is_harmless(directory: Path) -> None:
    async with living(spec("/bin/true"), directory) as life:
        await life.until(ProcessStarted)
        for _ in range(100):
            life.child.write(b"x" * 10_000)
            await asyncio.sleep(0)
        await life.ended()
        life.child.write(b"y")
        life.child.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_server_dies_with_the_process_that_started_it(directory: Path) -> None:
    code = (
        "import asyncio, sys, time\n"
        "from mux.backend.launch import launch\n"
        "from tests.backend.support import spec\n"
        "async def main():\n"
        "    print((await launch(spec('/bin/sleep', '93'))).pid, flush=True)\n"
        "    time.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    root = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, env=os.environ)
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert running(pid)
        parent.kill()
    eventually("the server is gone", lambda: not running(pid))
