"""A real shim between a host and a backend, both played by the test."""

from __future__ import annotations

import fcntl
import os
import pty
import queue
import resource
import signal
import socket
import subprocess
import threading
import time
import tty
from pathlib import Path

import pytest

from mux.limits import EOF_WAIT_SECONDS
from mux.wire.frames import (
    ACK,
    BYE,
    LINE,
    OUT,
    OVERSIZE,
    WAKE_BYTE,
    frame,
)
from tests.shim.backend import PATIENCE
from tests.shim.conftest import Bench, end_input, finish, hear, tell

# --- a session --------------------------------------------------------------------------------


def test_lines_reach_the_backend_numbered_and_answers_the_host_byte_for_byte(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    connection = backend.accept()
    tell(shim, b'{"a": 1}\r\n\xff\xfe\n\n{"b"')
    assert [connection.line() for _ in range(3)] == [(1, b'{"a": 1}\r'), (2, b"\xff\xfe"), (3, b"")]
    tell(shim, b":2}\n")
    assert connection.line() == (4, b'{"b":2}')
    connection.send(WAKE_BYTE + frame(OUT, b"\xff one\n", seq=1) + frame(0x70, b"unknown") + frame(OUT, b"two\n"))
    assert hear(shim, 10) == b"\xff one\ntwo\n"


def test_hello_says_what_a_direct_child_would_have_seen(bench: Bench) -> None:
    def limit_core() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    backend = bench.backend
    bench.shim(
        *("--grace=15m", "--scope", "user", "--no-share", "--", "server", "--option", "ä"),
        environment={"ODD": "x=y", "MUX_SOCKET": "/elsewhere", "MUX_IDLE_TIMEOUT": "90s", "MUX_INSIDE": "k"},
        cwd="/usr",
        umask=0o31,
        preexec_fn=limit_core,
    )
    hello = backend.accept().hello
    environment = dict(entry.split(b"=", 1) for entry in hello.environment)
    assert (hello.role, hello.session, hello.cwd, hello.umask) == (b"session", b"", b"/usr", 0o31)
    assert hello.argv == (b"server", b"--option", "ä".encode())
    assert set(hello.options) == {b"grace=900", b"scope=user", b"no-share=1", b"idle-timeout=90", b"park-after=10.0"}
    assert environment[b"ODD"] == b"x=y"
    assert [name for name in environment if name.startswith(b"MUX_")] == [b"MUX_INSIDE"]
    assert b"RLIMIT_CORE=0:0" in hello.limits
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert b"RLIMIT_NOFILE=%d:%d" % (soft, hard) in hello.limits


@pytest.mark.parametrize("kind", ["pipe", "socketpair"])
def test_a_message_of_12_mb_passes_each_way(bench: Bench, kind: str) -> None:
    backend = bench.backend
    if kind == "pipe":
        shim = bench.shim()
        assert shim.stdin is not None
        assert shim.stdout is not None
        to, out = shim.stdin.fileno(), shim.stdout.fileno()
    else:
        (ours_in, to), (out, ours_out) = (tuple(s.detach() for s in socket.socketpair()) for _ in range(2))
        shim = bench.shim(stdin=ours_in, stdout=ours_out)
        os.close(ours_in)
        os.close(ours_out)
    line = os.urandom(12 << 20).replace(b"\n", b"-")
    with (
        open(to, "wb", buffering=0, closefd=kind != "pipe") as stdin,
        open(out, "rb", closefd=kind != "pipe") as stdout,
    ):
        writer = threading.Thread(
            target=lambda: [stdin.write(line[at : at + 65536]) for at in range(0, len(line), 65536)]
        )
        writer.start()
        connection = backend.accept()
        writer.join()
        stdin.write(b"\n")
        assert connection.line() == (1, line)
        answerer = threading.Thread(target=connection.out, args=(line + b"\n",), kwargs={"seq": 1})
        answerer.start()
        assert stdout.readline() == line + b"\n"
        answerer.join()
        shim.kill()


def test_an_oversize_line_goes_as_its_edges_and_the_session_lives_on(bench: Bench) -> None:
    connection_of, shim = bench.backend, bench.shim()
    connection = connection_of.accept()
    piece = b"x" * (1 << 20)
    tell(shim, b'{"id":1,')
    for _ in range(65):
        tell(shim, piece)
    tell(shim, b'"end"}\nnext\n')
    kind, flags, seq, payload = connection.next()
    assert (kind, flags, seq, len(payload)) == (LINE, OVERSIZE, 1, 128 * 1024)
    assert payload.startswith(b'{"id":1,x')
    assert payload.endswith(b'x"end"}')
    assert connection.line() == (2, b"next")


# --- the end ----------------------------------------------------------------------------------


def test_at_the_end_of_input_half_a_line_is_sent_and_outstanding_answers_are_waited_for(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    tell(shim, b"one\nhalf")
    connection = backend.accept()
    assert connection.line() == (1, b"one")
    end_input(shim)
    assert connection.line() == (2, b"half")
    connection.eof()
    connection.out(b"1\n", seq=1)
    connection.send(frame(ACK, seq=2))
    assert (shim.wait(PATIENCE), hear(shim, 100)) == (0, b"1\n")


def test_bye_brings_the_exit_code_and_what_was_written_before_it_arrives(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    tell(shim, b"one\n")
    connection = backend.accept()
    connection.line()
    end_input(shim)
    connection.eof()
    connection.send(frame(OUT, b"x" * 300_000 + b"\n") + frame(BYE, b"\x07"))
    assert len(hear(shim, 400_000)) == 300_001
    assert shim.wait(PATIENCE) == 7


def test_with_nothing_owed_the_end_of_input_ends_the_shim(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    backend.accept()
    assert finish(shim) == (0, b"", b"")


def test_answers_that_never_come_are_not_waited_for_for_ever(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    tell(shim, b"one\n")
    backend.accept()
    assert finish(shim) == (0, b"", b"")


def test_as_long_as_answers_come_it_waits_for_the_rest(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    tell(shim, b"one\ntwo\nthree\nfour\n")
    connection = backend.accept()
    end_input(shim)
    for seq in range(1, 5):
        time.sleep(EOF_WAIT_SECONDS * 0.4)
        connection.out(b"%d\n" % seq, seq=seq)
    assert (shim.wait(PATIENCE), hear(shim, 100)) == (0, b"1\n2\n3\n4\n")


def test_as_long_as_its_host_takes_what_there_is_it_waits_for_that(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    tell(shim, b"one\n")
    connection = backend.accept()
    end_input(shim)
    connection.out(b"x" * (4 << 20), seq=1)
    heard = 0
    for _ in range(4):
        time.sleep(EOF_WAIT_SECONDS * 0.4)
        heard += len(hear(shim, 1 << 20))
    assert heard == 4 << 20
    assert shim.wait(PATIENCE) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_by_that_signal_without_a_word(bench: Bench, number: signal.Signals) -> None:
    backend, shim = bench.backend, bench.shim()
    backend.accept()
    shim.send_signal(number)
    assert shim.wait(PATIENCE) == -number
    assert shim.stderr is not None
    assert shim.stderr.read() == b""


def test_a_host_that_reads_no_more_ends_it(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    connection = backend.accept()
    assert shim.stdout is not None
    shim.stdout.close()
    assert shim.wait(PATIENCE) == 0
    with pytest.raises((EOFError, ConnectionError)):
        connection.next()


# --- descriptors ------------------------------------------------------------------------------


def test_a_host_that_writes_without_reading_is_never_blocked_by_its_own_answers(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    connection = backend.accept()
    lines: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
    count = 8192

    def listen() -> None:
        for _ in range(count):
            lines.put(connection.line())

    def answer() -> None:
        for _ in range(count):
            seq, line = lines.get()
            connection.out(line + b"\n", seq=seq)

    threads = [threading.Thread(target=work, daemon=True) for work in (listen, answer)]
    for thread in threads:
        thread.start()
    body = b"".join(b"%06d" % number + b"x" * 2042 + b"\n" for number in range(count))
    tell(shim, body)
    assert hear(shim, len(body)) == body
    for thread in threads:
        thread.join(PATIENCE)


@pytest.mark.parametrize("kind", ["pipe", "socketpair", "pty", "file"])
def test_the_flags_of_the_host_s_descriptors_stay_as_they_are(bench: Bench, kind: str) -> None:
    backend = bench.backend
    child_in, child_out, to, out = descriptors(kind, bench.directory)
    before = [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (child_in, child_out)]
    shim = bench.shim(stdin=child_in, stdout=child_out)
    connection = backend.accept()
    if kind != "file":
        os.write(to, b"one\n")
    assert connection.line() == (1, b"one")
    connection.out(b"x" * 1000 + b"\n", seq=1)
    if kind == "file":
        connection.eof()
        assert shim.wait(PATIENCE) == 0
    data = b""
    while not data.endswith(b"\n"):
        data += os.read(out, 2000)
    assert data.replace(b"\r", b"") == b"x" * 1000 + b"\n"
    assert [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (child_in, child_out)] == before
    for fd in {child_in, child_out, to, out}:
        os.close(fd)
    assert shim.wait(PATIENCE) in (0, -signal.SIGHUP)


def descriptors(kind: str, directory: Path) -> tuple[int, int, int, int]:
    """(child's stdin, its stdout, our end of stdin, our end of stdout)."""
    if kind == "pipe":
        (child_in, to), (out, child_out) = os.pipe(), os.pipe()
    elif kind == "socketpair":
        (child_in, to), (out, child_out) = (tuple(end.detach() for end in socket.socketpair()) for _ in range(2))
    elif kind == "pty":
        to, child_in = pty.openpty()
        tty.setraw(child_in)
        out, child_out = to, child_in
    else:
        (directory / "in").write_text("one\n")
        child_in = to = os.open(directory / "in", os.O_RDONLY)
        child_out = os.open(directory / "out", os.O_WRONLY | os.O_CREAT)
        out = os.open(directory / "out", os.O_RDONLY)
    return child_in, child_out, to, out


@pytest.mark.parametrize("kind", ["/dev/null", "closed", "write-only"])
def test_an_input_that_gives_nothing_is_the_end_of_input(bench: Bench, kind: str) -> None:
    backend = bench.backend
    if kind == "closed":
        shim = bench.shim(stdin=None, preexec_fn=lambda: os.close(0))
    else:
        flags = os.O_WRONLY if kind == "write-only" else os.O_RDONLY
        fd = os.open("/dev/null", flags)
        shim = bench.shim(stdin=fd)
        os.close(fd)
    backend.accept().eof()
    assert finish(shim) == (0, b"", b"")


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_closed_standard_descriptors_never_become_the_backend_s_socket(bench: Bench, closed: tuple[int, ...]) -> None:
    backend = bench.backend

    def close_them() -> None:
        for fd in closed:
            os.close(fd)

    shim = bench.shim(stdin=None if 0 in closed else subprocess.PIPE, preexec_fn=close_them)
    connection = backend.accept()
    if 0 not in closed:
        connection.out(b"to nobody\n")
        tell(shim, b"one\n")
        assert connection.line() == (1, b"one")
        connection.send(frame(ACK, seq=1))
        end_input(shim)
    connection.eof()
    assert shim.wait(PATIENCE) == 0


def test_a_signal_that_stops_and_continues_it_loses_nothing(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    connection = backend.accept()
    shim.send_signal(signal.SIGSTOP)
    tell(shim, b"one\n")
    connection.out(b"two\n")
    shim.send_signal(signal.SIGCONT)
    assert connection.line() == (1, b"one")
    assert hear(shim, 4) == b"two\n"
