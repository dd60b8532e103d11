"""What is wrong is answered clearly, to the session that did it; the other sessions feel nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.runtime import SCRIPTED, Runtime
from tests.support.session import PATIENCE, Session

PARSE_ERROR, INVALID_REQUEST, UPSTREAM_UNAVAILABLE = -32700, -32600, -31001
SOON = 5.0
"""Seconds in which the answer must be there when a server cannot start; hosts wait 15 to 30."""


@pytest.fixture
def neighbour(runtime: Runtime) -> Iterator[Session]:
    """A session of the same server, which must feel nothing."""
    session = runtime.ready()
    pid = session.pid()
    session.notifications.clear()
    yield session
    assert session.pid() == pid
    assert session.notifications == []
    assert "null" not in session.answers()


NOT_JSON = {
    "a word": b"hello",
    "half an object": b'{"jsonrpc":"2.0","id":1,',
    "two objects": b'{"jsonrpc":"2.0","id":1,"method":"ping"} {"jsonrpc":"2.0","id":2,"method":"ping"}',
    "no UTF-8": b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}',
    "a NUL": b"\0",
}
NO_MESSAGE = {
    "a batch": b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
    "an empty array": b"[]",
    "a number": b"5",
    "an empty object": b"{}",
    "id null": b'{"jsonrpc":"2.0","id":null,"method":"ping"}',
    "id true": b'{"jsonrpc":"2.0","id":true,"method":"ping"}',
    "id an object": b'{"jsonrpc":"2.0","id":{},"method":"ping"}',
    "id an array": b'{"jsonrpc":"2.0","id":[1],"method":"ping"}',
    "two ids": b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}',
    "two ids, one escaped": b'{"jsonrpc":"2.0","id":1,"\\u0069d":2,"method":"ping"}',
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_a_line_that_is_not_json_is_answered_to_that_session_alone(
    runtime: Runtime, neighbour: Session, case: str
) -> None:
    session = runtime.ready()
    session.write(NOT_JSON[case] + b"\n")
    error = session.unnumbered_error()
    assert error["code"] == PARSE_ERROR
    assert error["message"]
    assert session.pid() == neighbour.pid()


@pytest.mark.parametrize("case", NO_MESSAGE)
def test_json_that_is_no_message_is_answered_to_that_session_alone(
    runtime: Runtime, neighbour: Session, case: str
) -> None:
    session = runtime.ready()
    session.write(NO_MESSAGE[case] + b"\n")
    assert session.unnumbered_error()["code"] == INVALID_REQUEST
    assert session.pid() == neighbour.pid()


def test_a_wrong_message_with_a_good_id_is_answered_by_that_id(runtime: Runtime, neighbour: Session) -> None:
    session = runtime.ready()
    session.write(b'{"jsonrpc":"2.0","id":"mine","method":5}\n')
    assert session.response("mine")["error"]["code"] == INVALID_REQUEST
    assert session.pid() == neighbour.pid()


@pytest.mark.parametrize("place", ["whole line", "arguments"])
def test_a_nesting_of_100000_is_answered_with_an_error(runtime: Runtime, neighbour: Session, place: str) -> None:
    session = runtime.ready()
    deep = b"[" * 100_000 + b"]" * 100_000
    if place == "whole line":
        session.write(deep + b"\n")
        error = session.unnumbered_error()
    else:
        session.write(b'{"jsonrpc":"2.0","id":"deep","method":"tools/call","params":{"name":"echo","arguments":')
        session.write(deep + b"}}\n")
        session.begin("ping", number="after")
        session.response("after")
        answers = session.answers()
        error = (answers.get('"deep"') or answers["null"])[0]["error"]
    assert error["code"] in {PARSE_ERROR, INVALID_REQUEST}
    assert session.pid() == neighbour.pid()


def test_empty_lines_are_no_error(runtime: Runtime, neighbour: Session) -> None:
    session = runtime.ready()
    session.write(b"\n\r\n \n")
    assert session.call("echo", text="on") == "on"


def test_half_a_line_and_the_end_end_that_session_only(runtime: Runtime, neighbour: Session) -> None:
    session = runtime.ready()
    session.write(b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"exit","arguments":{"code":1')
    session.finish()
    assert session.stderr == ""


def test_bad_input_before_the_handshake_does_not_spoil_it(runtime: Runtime, neighbour: Session) -> None:
    session = runtime.session()
    session.write(b"hello\n[]\n")
    assert session.unnumbered_error(0)["code"] == PARSE_ERROR
    assert session.unnumbered_error(1)["code"] == INVALID_REQUEST
    assert session.initialize()["serverInfo"]["name"] == "scripted"


def test_an_answer_to_a_question_nobody_asked_is_dropped(runtime: Runtime, neighbour: Session) -> None:
    session = runtime.ready()
    session.send({"jsonrpc": "2.0", "id": 0, "result": {"roots": []}})
    assert session.call("echo", text="on") == "on"


def complaint(runtime: Runtime, *arguments: str) -> str:
    """stderr of a shim that is started in a wrong way; it must say nothing to the host."""
    done = subprocess.run(
        [runtime.shim()[0], *arguments],
        env=runtime.environment,
        cwd=runtime.project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("option", ["--no-such-option", "-x", "--socket"])
def test_an_unknown_or_incomplete_option_is_named(runtime: Runtime, option: str) -> None:
    assert option in complaint(runtime, option)


@pytest.mark.parametrize("arguments", [[], ["--"], ["--grace", "1"]])
def test_no_command_is_said_to_be_missing(runtime: Runtime, arguments: list[str]) -> None:
    assert "COMMAND" in complaint(runtime, *arguments)


def initialize_error(runtime: Runtime, *command: str) -> str:
    """The message of the error that `initialize` is answered with."""
    session = runtime.session(*command)
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    error = session.response(session.begin("initialize", params), seconds=SOON)["error"]
    assert error["code"] == UPSTREAM_UNAVAILABLE
    assert error["data"]["mux"]["executionState"] == "not_started"
    assert session.child.poll() is None, "a shim must outlive its server"
    return json.dumps(error, ensure_ascii=False)


def test_a_command_that_does_not_exist_is_named_in_the_answer_to_initialize(
    runtime: Runtime, neighbour: Session
) -> None:
    assert "no-such-command" in initialize_error(runtime, "no-such-command", "--flag")


def test_a_command_that_is_not_executable_is_named_in_the_answer_to_initialize(
    runtime: Runtime, neighbour: Session
) -> None:
    file = runtime.directory / "plain.txt"
    file.write_text("no program", encoding="utf-8")
    assert str(file) in initialize_error(runtime, str(file))


def test_a_server_that_dies_at_start_is_quoted_in_the_answer_to_initialize(
    runtime: Runtime, neighbour: Session
) -> None:
    said = initialize_error(runtime, *SCRIPTED, "--die-at-start", "7")
    assert "there is no database" in said
    assert "giving up" in said
    assert "7" in said


@pytest.mark.parametrize("text", ["Server listening", "[1, 2]", '{"jsonrpc":"2.0","id":999999,"result":{}}', "\x00"])
def test_what_a_server_prints_beside_the_protocol_harms_nobody(runtime: Runtime, neighbour: Session, text: str) -> None:
    session = runtime.ready()
    assert session.call("garbage", text=text) == "written"
    assert session.call("echo", text="on") == "on"


def test_a_server_that_floods_stderr_is_not_held_up(runtime: Runtime) -> None:
    session = runtime.ready()
    assert session.call("stderr", text="x" * 1000, times=2000) == "written"
    assert session.stderr == ""
