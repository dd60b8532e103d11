"""A real shim that is asked to sleep by a backend which the test plays."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from mux.limits import PARK_SECONDS
from mux.shim.saved import FORMAT
from mux.wire.frames import (
    ANSWERED,
    AWAKE,
    HELLO,
    KEEP,
    LINE,
    NEVER,
    OUT,
    PARK,
    PARKED,
    READY,
    REFUSE,
    REPLAY,
    ROLE_PARK,
    WAKE_BYTE,
    WELCOME,
    FrameReader,
    Hello,
    frame,
    parse_replay,
    refuse_payload,
)
from tests.park.support import sleeps
from tests.shim.backend import PATIENCE, Connection
from tests.shim.conftest import Bench, end_input, finish, hear, tell
from tests.support.processes import eventually

_numbers = count(1)


@pytest.fixture
def bench(run_directory: Path) -> Iterator[Bench]:
    world = Bench(run_directory / f"park-{next(_numbers)}")
    yield world
    world.close()


def handed_over(bench: Bench, answer: bytes) -> tuple[Hello, os.stat_result]:
    """Take what a shim hands over and answer that: (its introduction, what the descriptor is)."""
    listener = bench.backend._listener
    assert listener is not None
    sock, _ = listener.accept()
    with sock:
        sock.settimeout(PATIENCE)
        data, fds, _, _ = socket.recv_fds(sock, 1 << 16, 4)
        ((kind, _, _, payload),) = FrameReader().feed(data)
        assert kind == HELLO
        (stdin,) = fds
        found = os.fstat(stdin)
        os.close(stdin)
        sock.sendall(answer)
    return Hello.decode(payload), found


def lull(bench: Bench, shim: subprocess.Popen[bytes], connection: Connection) -> None:
    """Let it sleep."""
    connection.send(frame(PARK))
    handed_over(bench, frame(WELCOME))
    assert connection.next()[0] == PARKED
    eventually("it sleeps", lambda: sleeps(shim.pid))


def test_park_hands_over_stdin_and_wake_goes_on_with_the_same_session(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    connection = backend.accept(session=b"here.1")
    tell(shim, b"first\n")
    assert connection.line() == (1, b"first")
    connection.send(frame(OUT, b"answer\n", seq=1) + frame(PARK))
    hello, handed = handed_over(bench, frame(WELCOME))
    assert (hello.role, hello.session) == (ROLE_PARK, b"here.1")
    assert shim.stdin is not None
    assert os.path.samestat(handed, os.fstat(shim.stdin.fileno()))
    assert connection.next() == (PARKED, 0, 0, b"")
    eventually("it sleeps", lambda: sleeps(shim.pid))
    tell(shim, b"second\n")
    assert sleeps(shim.pid)
    connection.send(WAKE_BYTE)
    assert connection.next() == (AWAKE, 0, 0, b"")
    assert connection.line() == (2, b"second")
    connection.send(frame(OUT, b"more\n", seq=2))
    assert hear(shim, 12) == b"answer\nmore\n"


def test_kept_lines_and_what_is_known_of_them_outlive_the_sleep(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    connection = backend.accept()
    tell(shim, b"initialize\nlisten\ncall\n")
    for _ in range(3):
        connection.next()
    connection.send(frame(KEEP, b"blob", seq=1) + frame(OUT, b"1\n", seq=1) + frame(KEEP, b"", seq=2))
    connection.send(frame(OUT, b"3\n", seq=3))
    lull(bench, shim, connection)
    connection.close()
    again = backend.accept()
    assert again.hello.session == b"s1"
    for seq, flags, blob, line in ((1, ANSWERED, b"blob", b"initialize"), (2, 0, b"", b"listen")):
        kind, *found, payload = again.next()
        assert (kind, found, parse_replay(payload)) == (REPLAY, [flags, seq], (blob, line))
    assert again.next()[0] == READY
    tell(shim, b"next\n")
    assert again.line() == (4, b"next")


def test_the_introduction_after_a_sleep_is_the_first_one_byte_for_byte(bench: Bench) -> None:
    """The shell between may change PWD, SHLVL and odd names: the key would change, and with it the server."""
    odd = {"PWD": "/nowhere", "SHLVL": "7", "ODD-name": "1", "BASH_FUNC_read%%": "() { exit 9; }", "n": "300"}
    backend, shim = bench.backend, bench.shim(environment=odd)
    connection = backend.accept()
    lull(bench, shim, connection)
    connection.close()
    again = backend.accept()
    assert again.hello.session == b"s1"
    again.hello.session = b""
    assert again.hello.encode() == connection.hello.encode()


@pytest.mark.parametrize("said", [b"a whole line\n", b"half a line"])
def test_a_shim_that_has_something_under_way_stays_awake(bench: Bench, said: bytes) -> None:
    backend, shim = bench.backend, bench.shim()
    connection = backend.accept()
    tell(shim, b"first\n" + said)
    connection.line()
    connection.send(frame(PARK))
    while (kind := connection.next()[0]) == LINE:
        pass
    assert kind == AWAKE
    connection.send(frame(OUT, b"answer\n", seq=1))
    assert hear(shim, 7) == b"answer\n"


@pytest.mark.parametrize("answer", [frame(REFUSE, refuse_payload(NEVER, "denied: no")), b""])
def test_a_shim_whose_stdin_is_not_taken_stays_awake(bench: Bench, answer: bytes) -> None:
    backend, shim = bench.backend, bench.shim()
    connection = backend.accept()
    connection.send(frame(PARK))
    handed_over(bench, answer)
    assert connection.next()[0] == AWAKE
    tell(shim, b"on\n")
    assert connection.line() == (1, b"on")


def test_a_shim_without_a_shell_or_a_pollable_stdin_never_offers_to_sleep(bench: Bench) -> None:
    backend = bench.backend
    bench.shim(environment={"MUX_PARK_SHELL": "/nonexistent"})
    assert b"park-after=0" in backend.accept().hello.options
    for path in (os.devnull, __file__):
        with open(path, "rb") as file:
            bench.shim(stdin=file.fileno())
        assert b"park-after=0" in backend.accept().hello.options
    bench.shim()
    assert b"park-after=%.1f" % PARK_SECONDS in backend.accept().hello.options
    bench.shim("--park-after", "1m", "server")
    assert b"park-after=60" in backend.accept().hello.options


def test_a_shell_that_can_not_be_run_after_all_leaves_the_shim_awake(bench: Bench) -> None:
    shell = bench.directory / "sh"
    shell.symlink_to("/bin/sh")
    backend, shim = bench.backend, bench.shim(environment={"MUX_PARK_SHELL": str(shell)})
    connection = backend.accept()
    shell.unlink()
    connection.send(frame(PARK))
    handed_over(bench, frame(WELCOME))
    assert connection.next()[0] == PARKED
    assert connection.next()[0] == AWAKE
    tell(shim, b"on\n")
    assert connection.line() == (1, b"on")
    connection.send(frame(OUT, b"answer\n", seq=1) + frame(PARK))
    assert connection.next()[0] == AWAKE
    end_input(shim)
    connection.eof()


def test_what_an_unknown_version_left_is_not_guessed_at(bench: Bench, tmp_path: Path) -> None:
    """The shell of a newer version wakes an older shim: it begins as a new session, with the same command."""
    notes = tmp_path / "notes"
    notes.write_bytes((FORMAT + 1).to_bytes(2, "little") + b"something else")
    backend = bench.backend
    ours, theirs = socket.socketpair()
    code = "import os, sys; given = int(sys.argv.pop(1)); os.dup2(given, 3); given == 3 or os.close(given); "
    code += "os.dup2(os.open(sys.argv.pop(1), os.O_RDONLY), 4); from mux.shim.wake import main; sys.exit(main())"
    shim = subprocess.Popen(
        [sys.executable, "-c", code, str(theirs.fileno()), str(notes), "--socket", str(bench.socket), "server", "-x"],
        env=bench.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[theirs.fileno()],
    )
    bench.shims.append(shim)
    theirs.close()
    connection = backend.accept()
    assert (connection.hello.session, connection.hello.argv) == (b"", (b"server", b"-x"))
    ours.settimeout(PATIENCE)
    assert ours.recv(100) == b""
    ours.close()
    connection.close()
    backend.stop_listening()
    assert finish(shim)[0] == 0


def test_limits_that_were_set_hold_after_a_sleep(bench: Bench) -> None:
    config = bench.directory / ".config" / "mux"
    config.mkdir(parents=True, mode=0o700)
    (config / "config.toml").write_text('[limits]\nmessage_bytes = "256 KiB"\n', encoding="utf-8")
    backend, shim = bench.backend, bench.shim(environment={"HOME": str(bench.directory)})
    connection = backend.accept()
    lull(bench, shim, connection)
    connection.send(WAKE_BYTE)
    assert connection.next()[0] == AWAKE
    tell(shim, b"x" * 300_000 + b"\n")
    _, flags, _, line = connection.next()
    assert (flags, len(line)) == (1, 128 * 1024)
