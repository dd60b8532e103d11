from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from mux.wire import frames
from mux.wire.frames import parse_goaway, parse_refuse
from tests.backend.support import PATIENCE, World
from tests.support.processes import eventually, running

CAT = "/bin/cat"


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


def upstream(backend: int) -> psutil.Process:
    (child,) = eventually("a server runs", lambda: psutil.Process(backend).children())
    return child


def test_lines_go_up_and_answers_come_down_to_every_session_that_shares(world: World) -> None:
    backend = world.start()
    first, second = world.session(CAT), world.session(CAT)
    first.send(frames.LINE, b'{"a":1}', seq=1)
    assert first.line() == second.line() == b'{"a":1}\n'
    assert len(psutil.Process(backend.pid).children()) == 1


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_after_the_last_session_and_the_grace_nothing_but_lock_and_log_is_left(world: World, loop: str) -> None:
    backend = world.start(loop=loop)
    peer = world.session("/bin/sh", "-c", "echo noise >&2; exec cat")
    peer.send(frames.LINE, b"x", seq=1)
    assert peer.line() == b"x\n"
    assert "s.json" in world.files()
    assert "s-1-sh.err" in world.files()
    peer.send(frames.EOF)
    assert peer.until(frames.BYE)[3] == b"\0"
    assert peer.read() is None
    assert backend.wait(PATIENCE) == 0
    assert world.files() == {"s.lock", "s.log"}
    assert not world.locked()


def test_a_message_of_twelve_megabytes_passes_each_way(world: World) -> None:
    world.start()
    peer = world.session(CAT)
    line = b"x" * (12 << 20)
    peer.send(frames.LINE, line, seq=1)
    assert peer.line() == line + b"\n"


def test_a_session_that_does_not_read_delays_nobody_and_is_closed_in_the_end(world: World) -> None:
    world.start()
    slow, quick = world.session(CAT), world.session(CAT)
    for seq in range(1, 14):
        line = b"%d" % seq * (4 << 20)
        quick.send(frames.LINE, line, seq=seq)
        assert quick.line() == line + b"\n"
    eventually("the slow session is closed", lambda: "does not read" in world.log())
    quick.send(frames.LINE, b"on", seq=14)
    assert quick.line() == b"on\n"
    slow.close()


def test_garbage_instead_of_a_frame_ends_that_connection_alone(world: World) -> None:
    world.start()
    good, bad = world.session(CAT), world.session(CAT)
    bad.sock.sendall(b"\xff" * 64)
    assert bad.read() is None
    good.send(frames.LINE, b"on", seq=1)
    assert good.line() == b"on\n"


def test_a_resumed_session_replays_and_keeps(world: World) -> None:
    world.start()
    peer = world.session(CAT, session=b"1.1")
    peer.send(frames.REPLAY, frames.replay_payload(b"blob", b"line"), seq=3, flags=frames.ANSWERED)
    assert peer.until(frames.OUT)[2:] == (3, b"replayed 1 blob line\n")
    peer.send(frames.READY)
    assert peer.until(frames.KEEP)[2:] == (7, b"blob")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_names_the_last_accepted_line_refuses_the_next_session_and_exits_with_zero(
    world: World, number: signal.Signals
) -> None:
    backend = world.start()
    peer = world.session(CAT)
    peer.send(frames.LINE, b"x", seq=5)
    peer.line()
    backend.send_signal(number)
    assert parse_goaway(peer.until(frames.GOAWAY)[3])[0] == 5
    late = world.peer()
    late.hello(argv=[b"/bin/cat"])
    found = late.read()
    assert found is None or parse_refuse(found[3])[1] == frames.REFUSE_DRAINING
    assert backend.wait(PATIENCE) == 0
    assert world.files() == {"s.lock", "s.log"}


def test_a_line_that_arrives_after_goaway_is_not_run(world: World) -> None:
    backend = world.start()
    peer = world.session(CAT)
    peer.send(frames.LINE, b"before", seq=1)
    assert peer.line() == b"before\n"
    backend.send_signal(signal.SIGTERM)
    peer.until(frames.GOAWAY)
    peer.send(frames.LINE, b"after", seq=2)
    rest = []
    while (found := peer.read()) is not None:
        rest.append(found)
    assert rest == [] or all(b"after" not in payload for *_, payload in rest)


def test_a_second_signal_kills_at_once_whatever_ignores_the_first(world: World) -> None:
    backend = world.start()
    peer = world.session(*python("import signal,time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(99)"))
    assert peer.line() == b"1\n"
    server = upstream(backend.pid)
    backend.send_signal(signal.SIGTERM)
    peer.until(frames.GOAWAY)
    backend.send_signal(signal.SIGTERM)
    assert backend.wait(PATIENCE) == 0
    assert not running(server.pid)


def test_a_planned_exit_that_the_core_never_ends_is_over_after_its_bound_and_nothing_lives_on(world: World) -> None:
    backend = world.start("0.5")
    peer = world.session(*python("import signal,time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(99)"))
    assert peer.line() == b"1\n"
    server = upstream(backend.pid)
    backend.send_signal(signal.SIGTERM)
    peer.until(frames.GOAWAY)
    assert backend.wait(PATIENCE) == 0
    assert not running(server.pid)
    assert world.files() == {"s.lock", "s.log"}
    assert not world.locked()


def test_a_connection_that_waits_when_the_grace_is_over_keeps_the_backend(world: World) -> None:
    backend = world.start(grace=0.3)
    waiting = world.peer()
    # Connected and silent, it is being greeted when the grace ends.
    time.sleep(0.6)
    assert backend.poll() is None
    waiting.hello(argv=[b"/bin/cat"], environment=world.environment)
    found = waiting.read()
    assert found is not None
    assert found[0] == frames.WELCOME
    waiting.send(frames.LINE, b"x", seq=1)
    assert waiting.line() == b"x\n"


def test_a_killed_backend_takes_its_server_along_and_the_next_one_kills_what_that_left(world: World) -> None:
    backend = world.start()
    start = "subprocess.Popen(['/bin/sleep', '98'], start_new_session=True)"
    code = f"import subprocess, time; print({start}.pid); time.sleep(97)"
    peer = world.session(*python(code))
    deeper = int(peer.line())
    server = upstream(backend.pid)
    backend.kill()
    backend.wait(PATIENCE)
    eventually("the server died with its backend", lambda: not running(server.pid))
    assert running(deeper)
    world.start()
    eventually("the next backend has killed the rest", lambda: not running(deeper))
    assert "leftovers.killed" in world.log()


@pytest.mark.parametrize("text", ["", "{", '{"process": 1}', "[]"])
def test_a_torn_record_counts_as_absent_with_one_warning(world: World, text: str) -> None:
    Path(world.place.record).write_text(text)
    world.start()
    assert world.log().count("record.ignored") == 1


def test_a_successors_socket_is_left_alone(world: World) -> None:
    backend = world.start(grace=0.2)
    os.rename(world.path, world.path + ".aside")
    Path(world.path).touch()
    assert backend.wait(PATIENCE) == 0
    assert "socket.not.ours" in world.log()
    assert Path(world.path).exists()


def test_status_names_backend_servers_and_sessions_and_no_environment(world: World) -> None:
    backend = world.start()
    peer = world.session(CAT, environment=[*world.environment, b"SECRET=hunter2"])
    peer.send(frames.LINE, b"x", seq=1)
    peer.line()
    control = world.peer()
    control.hello(role=frames.ROLE_CONTROL)
    control.until(frames.WELCOME)
    control.send(frames.LINE, b'{"command":"status"}', seq=9)
    _, _, seq, payload = control.until(frames.OUT)
    state = json.loads(payload)["result"]
    assert seq == 9
    assert state["backend"]["pid"] == backend.pid
    assert state["backend"]["memory"]["private"] > 0
    assert [session["pid"] for session in state["sessions"]] == [os.getpid()]
    assert len(state["upstreams"]) == 1
    assert b"hunter2" not in payload
    for command, error in ((b'{"command":"x"}', "unknown command"), (b"{", "expected")):
        control.send(frames.LINE, command, seq=10)
        assert error in json.loads(control.line())["error"]
