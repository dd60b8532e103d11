"""The embedded server: what a client of the legacy era may send, and what it gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from mux.cli.demo_server import VERSIONS, answer
from mux.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, PARSE_ERROR

SERVER = [sys.executable, "-m", "mux.cli.demo_server"]


def ask(method: str, params: Any = None, request: Any = 1) -> Any:
    message = {"jsonrpc": "2.0", "id": request, "method": method}
    return answer(json.dumps(message if params is None else message | {"params": params}).encode())


def call(name: object, **arguments: object) -> Any:
    return ask("tools/call", {"name": name, "arguments": arguments})["result"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_that_it_speaks_is_agreed_on(version: str) -> None:
    assert ask("initialize", {"protocolVersion": version})["result"]["protocolVersion"] == version


def test_an_unknown_version_is_answered_with_the_newest() -> None:
    assert ask("initialize", {"protocolVersion": "1999-01-01"})["result"]["protocolVersion"] == VERSIONS[-1]


@pytest.mark.parametrize("request_id", [0, "", "7", -3, 1.5, 2**60])
def test_an_id_comes_back_with_its_type(request_id: object) -> None:
    reply = ask("ping", request=request_id)
    assert (reply["id"], type(reply["id"])) == (request_id, type(request_id))


def test_every_listed_tool_can_be_called_as_its_schema_says() -> None:
    examples = {"string": "x", "number": 2}
    for tool in ask("tools/list")["result"]["tools"]:
        properties = tool["inputSchema"]["properties"].items()
        result = call(tool["name"], **{name: examples[schema["type"]] for name, schema in properties})
        assert result["isError"] is False


def test_tools_do_what_they_say() -> None:
    assert call("echo", text="hü\u2028")["content"][0]["text"] == "hü\u2028"
    assert call("pid")["content"][0]["text"] == str(os.getpid())
    assert call("add", a=1, b=2.5)["content"][0]["text"] == "3.5"


@pytest.mark.parametrize("arguments", [{}, {"a": 1}, {"a": 1, "b": "2"}, {"a": 1, "b": True}])
def test_wrong_arguments_are_a_result_that_a_model_can_read(arguments: dict[str, object]) -> None:
    result = call("add", **arguments)
    assert result["isError"] is True
    assert "number" in result["content"][0]["text"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"not json", PARSE_ERROR),
        (b"\xff\xfe", PARSE_ERROR),
        (b"[" * 100_000, PARSE_ERROR),
        (b"[]", INVALID_REQUEST),
        (b'{"id":1}', INVALID_REQUEST),
        (b'{"id":null,"method":"ping"}', INVALID_REQUEST),
        (b'{"id":true,"method":"ping"}', INVALID_REQUEST),
        (b'{"id":1,"method":"resources/list"}', METHOD_NOT_FOUND),
        (b'{"id":1,"method":"ping","params":[]}', INVALID_PARAMS),
        (b'{"id":1,"method":"initialize"}', INVALID_PARAMS),
        (b'{"id":1,"method":"tools/call","params":{"name":"rm"}}', INVALID_PARAMS),
        (b'{"id":1,"method":"tools/call","params":{"name":["echo"]}}', INVALID_PARAMS),
        (b'{"id":1,"method":"tools/call","params":{"name":"echo","arguments":"x"}}', INVALID_PARAMS),
    ],
)
def test_bad_input_is_answered_with_the_error_that_names_it(line: bytes, code: int) -> None:
    reply = answer(line)
    assert reply is not None
    assert reply["error"]["code"] == code


@pytest.mark.parametrize("line", [b"", b"  ", b'{"method":"notifications/initialized"}', b'{"id":1,"result":{}}'])
def test_what_wants_no_answer_gets_none(line: bytes) -> None:
    assert answer(line) is None


def test_the_process_answers_in_order_and_ends_with_its_input() -> None:
    lines = [b"nope"] + [b'{"jsonrpc":"2.0","id":%d,"method":"ping"}' % number for number in range(100)]
    done = subprocess.run(SERVER, input=b"\n".join(lines) + b"\n", capture_output=True, timeout=30, check=True)
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [None, *range(100)]
    assert done.stderr == b""


def test_it_ends_quietly_when_nobody_reads_its_answers() -> None:
    with subprocess.Popen(SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stderr is not None
        server.stdout.close()
        server.stdin.write(b'{"id":1,"method":"ping"}\n')
        server.stdin.flush()
        assert server.wait(30) == 0
        assert server.stderr.read() == b""
