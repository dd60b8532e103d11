"""A real shim whose backend goes, crashes or stops it: both ends are played by the test."""

from __future__ import annotations

import json
import os

from mux.errors import PARSE_ERROR, UPSTREAM_UNAVAILABLE
from mux.wire.frames import (
    ACK,
    ANSWERED,
    EOF,
    GOAWAY,
    KEEP,
    LINE,
    OUT,
    READY,
    REPEATED,
    REPLAY,
    STOPPED,
    frame,
    goaway_payload,
    parse_replay,
)
from tests.shim.backend import PATIENCE, Connection
from tests.shim.conftest import Bench, end_input, finish, hear, tell


def replay(connection: Connection) -> tuple[int, int, bytes, bytes]:
    """(seq, flags, blob, line) of the next frame, which is a REPLAY."""
    kind, flags, seq, payload = connection.next()
    assert kind == REPLAY
    return seq, flags, *parse_replay(payload)


# --- the backend goes -------------------------------------------------------------------------


def test_after_a_crash_the_next_backend_gets_what_is_unsettled_and_half_a_frame_is_void(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    tell(shim, b"initialize\ncall\nlist\nacked\n")
    first = backend.accept()
    assert [first.line()[0] for _ in range(4)] == [1, 2, 3, 4]
    first.send(frame(KEEP, b"digest", seq=1) + frame(OUT, b"welcome\n", seq=1) + frame(ACK, seq=4))
    first.send(frame(OUT, b"half a line that never becomes whole\n", seq=2)[:-1])
    assert hear(shim, 8) == b"welcome\n"
    first.close()
    second = backend.accept(session=b"s2")
    assert second.hello.session == b"s1"
    assert replay(second) == (1, ANSWERED, b"digest", b"initialize")
    assert replay(second) == (2, 0, b"", b"call")
    assert replay(second) == (3, 0, b"", b"list")
    assert second.next()[0] == READY
    tell(shim, b"new\n")
    assert second.line() == (5, b"new")
    second.send(frame(OUT, b"2\n", seq=2))
    assert hear(shim, 2) == b"2\n"
    second.close()
    third = backend.accept(session=b"s2")
    assert third.hello.session == b"s2"
    assert third.hello.encode().replace(b"s2", b"", 1) == first.hello.encode()
    assert replay(third)[:2] == (1, ANSWERED | REPEATED)
    assert replay(third)[:2] == (3, REPEATED)
    assert replay(third)[:2] == (5, 0)
    assert third.next()[0] == READY


def test_lines_that_come_while_nobody_is_there_are_sent_when_somebody_is(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    first = backend.accept()
    backend.stop_listening()
    first.close()
    tell(shim, b"one\ntwo\n")
    backend.listen()
    second = backend.accept()
    seen = [second.next() for _ in range(3)]
    # the shim may have read them before it saw the end of the connection, or after: they are run once in both cases
    assert [entry[3] for entry in seen if entry[0] == LINE] == [b"one", b"two"]
    assert [entry[0] for entry in seen if entry[0] != LINE] == [READY]


def test_after_a_goaway_later_lines_go_to_the_next_backend_and_late_answers_still_arrive(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    tell(shim, b"one\ntwo\n")
    first = backend.accept()
    assert [first.line()[0] for _ in range(2)] == [1, 2]
    first.send(frame(GOAWAY, goaway_payload(1, 0)))
    tell(shim, b"three\n")
    first.out(b"1\n", seq=1)
    assert hear(shim, 2) == b"1\n"
    first.close()
    second = backend.accept()
    assert second.next()[0] == READY
    assert [second.line() for _ in range(2)] == [(2, b"two"), (3, b"three")]


def test_an_answer_in_flight_when_the_backend_goes_is_delivered_and_settles_its_line(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    tell(shim, b"one\n")
    first = backend.accept()
    first.line()
    first.out(b"1\n", seq=1)
    first.close()
    tell(shim, b"two\n")
    second = backend.accept()
    assert hear(shim, 2) == b"1\n"
    assert {second.next()[3], second.next()[3]} >= {b"two"}


def test_the_end_of_input_is_told_again_to_the_next_backend(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    tell(shim, b"one\n")
    first = backend.accept()
    first.line()
    end_input(shim)
    first.eof()
    first.close()
    second = backend.accept()
    assert replay(second)[0] == 1
    assert [second.next()[0], second.next()[0]] == [READY, EOF]
    second.out(b"1\n", seq=1)
    assert (shim.wait(PATIENCE), hear(shim, 10)) == (0, b"1\n")


def test_a_shim_that_can_reach_nobody_answers_requests_itself_and_comes_back(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    first = backend.accept()
    backend.stop_listening()
    bench.directory.chmod(0o755)
    first.close()
    assert shim.stdout is not None
    tell(shim, b'{"jsonrpc":"2.0","id":"a\\"b","method":"tools/list"}\n')
    tell(shim, b'{"jsonrpc":"2.0","method":"notifications/x"}\nnot json\n')
    answer, refusal = (json.loads(shim.stdout.readline()) for _ in range(2))
    assert (answer["id"], answer["error"]["code"]) == ('a"b', UPSTREAM_UNAVAILABLE)
    mux = answer["error"]["data"]["mux"]
    assert (mux["executionState"], mux["safeToRetry"]) == ("not_started", True)
    assert "open to others" in mux["cause"]
    assert (refusal["id"], refusal["error"]["code"]) == (None, PARSE_ERROR)
    bench.directory.chmod(0o700)
    backend.listen()
    second = backend.accept()
    assert second.next()[0] == READY
    tell(shim, b"again\n")
    assert second.line()[1] == b"again"


def test_a_stopped_shim_stays_answers_itself_and_starts_no_backend(bench: Bench) -> None:
    backend, shim = bench.backend, bench.shim()
    first = backend.accept()
    first.send(frame(STOPPED, b"stopped by the operator") + frame(OUT, b"now\n"))
    assert hear(shim, 4) == b"now\n"
    os.close(backend.lock)
    backend.lock = os.open(os.devnull, os.O_RDONLY)
    backend.stop_listening()
    first.close()
    assert shim.stdout is not None
    tell(shim, b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    assert "stopped by the operator" in shim.stdout.readline().decode()
    assert finish(shim)[0] == 0
    assert not bench.socket.exists()
