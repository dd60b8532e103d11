"""A host sees through the shim what it would see from the server itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.installed import Node
from tests.support.runtime import SCRIPTED, Runtime
from tests.support.session import Stdio

HOSTS = json.loads((Path(__file__).parents[1] / "hosts" / "first_messages.json").read_text(encoding="utf-8"))
LEGACY = [name for name, said in HOSTS.items() if any('"initialize"' in line for line in said["first_lines"])]


@pytest.mark.parametrize("layout", ["python", "typescript"])
def test_handshake_list_and_call_look_the_same(runtime: Runtime, mode: str, layout: str) -> None:
    session = runtime.session(*SCRIPTED, "--layout", layout, mode=mode)
    assert session.initialize()["serverInfo"]["name"] == "scripted"
    assert "echo" in [tool["name"] for tool in session.request("tools/list")["tools"]]
    assert session.call("echo", text='grüß dich \u2028 \\ "') == 'grüß dich \u2028 \\ "'
    assert session.finish() == 0
    assert session.stderr == ""


@pytest.mark.parametrize("number", [0, "", "7", 7, 'a "quoted" \\ id', "ünï\u2028", 2**53 + 1, -1])
def test_an_id_comes_back_as_it_was_given(runtime: Runtime, mode: str, number: Any) -> None:
    session = runtime.session(mode=mode)
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    session.begin("initialize", params, number=number)
    assert session.result(number)["serverInfo"]["name"] == "scripted"
    session.notify("notifications/initialized")
    session.begin("tools/call", {"name": "echo", "arguments": {"text": "yes"}}, number=number)
    session.begin("ping", number="last")
    session.response("last")
    assert [answer["id"] for answer in session.answers()[json.dumps(number)]] == [number, number]


@pytest.mark.parametrize(
    "payload",
    [
        '{"a":1.0,"b":1e400,"c":"\\u0041\\/","d":NaN,"e":"\\ud800","a":2,"id":5,"jsonrpc":"1"}',
        '{"content": [{"type": "text", "text": "\u2028 }],\\"id\\":9}"}], "n": 123456789012345678901234567890}',
    ],
)
def test_payload_bytes_of_a_server_are_untouched(runtime: Runtime, mode: str, payload: str) -> None:
    session = runtime.ready(mode=mode)
    number = session.begin_call("raw", result=payload)
    session.response(number)
    assert session.lines[-1] == f'{{"jsonrpc": "2.0", "id": {number}, "result": {payload}}}'.encode()


def test_payload_bytes_of_a_host_are_untouched(runtime: Runtime, mode: str) -> None:
    session = runtime.ready(mode=mode)
    head = '{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"said","arguments":'
    arguments = '{"a":1.0,"b":1e400,"c":"\\u0041\\/","d":NaN,"e":"\\ud800","a":2}'
    session.write(f"{head}{arguments}}}}}\n".encode())
    assert arguments in session.text("x")


def test_progress_comes_before_its_answer_with_the_token_of_the_session(runtime: Runtime, mode: str) -> None:
    session = runtime.ready(mode=mode)
    for token in (0, "0", "a-uuid"):
        session.notifications.clear()
        number = session.begin_call("progress", token, steps=3)
        assert session.text(number) == "done"
        said = [message["params"] for message in session.notifications if message["method"] == "notifications/progress"]
        assert [(params["progressToken"], params["progress"]) for params in said] == [
            (token, 1),
            (token, 2),
            (token, 3),
        ]


def test_an_error_of_the_server_comes_as_it_is(runtime: Runtime, mode: str) -> None:
    session = runtime.ready(mode=mode)
    assert session.response(session.begin("no/such/method"))["error"] == {"code": -32601, "message": "Method not found"}
    unknown = session.begin("tools/call", {"name": "no such tool"})
    assert session.response(unknown)["error"] == {"code": -32602, "message": "Unknown tool"}


def test_the_server_has_the_directory_of_the_session(runtime: Runtime, mode: str) -> None:
    session = runtime.ready(mode=mode)
    assert session.call("cwd") == str(runtime.project)
    assert session.call("environment", name="PWD") == str(runtime.project)


@pytest.mark.parametrize("stdio", ["pipe", "socketpair"])
def test_twelve_megabytes_pass_each_way(runtime: Runtime, mode: str, stdio: Stdio) -> None:
    size = 12 * 1024 * 1024
    session = runtime.ready(mode=mode, stdio=stdio)
    assert session.call("size", text="x" * size) == str(size)
    assert len(session.call("big", bytes=size)) == size
    assert session.call("echo", text="and on") == "and on"


@pytest.mark.parametrize("host", LEGACY)
def test_the_first_lines_of_a_real_host_are_all_answered(runtime: Runtime, mode: str, host: str) -> None:
    said = HOSTS[host]
    stdio: Stdio = "pipe" if said["stdio"][0] == "fifo" else "socketpair"
    session = runtime.session(mode=mode, stdio=stdio)
    cancelled = [json.loads(line)["params"]["requestId"] for line in said["first_lines"] if "/cancelled" in line]
    for line in said["first_lines"]:
        message = json.loads(line)
        if '"crash"' in line:
            continue  # the tool of the recording; here it would do what it says
        session.write(line.encode() + b"\n")
        if "method" in message and "id" in message and message["id"] not in cancelled:
            reply = session.response(message["id"])
            refused = {"server/discover", "prompts/list"}
            assert ("error" in reply) == (message["method"] in refused), reply
            if message["method"] == "server/discover":
                assert reply["error"]["code"] == -32601
    assert session.finish() == 0
    assert session.stderr == ""


@pytest.mark.npm
def test_server_everything_is_the_same_and_its_question_with_id_zero_reaches_the_session(
    runtime: Runtime, mode: str, node_tools: Node
) -> None:
    session = runtime.session("mcp-server-everything", "stdio", mode=mode, environment=node_tools.environment)
    session.willing["roots/list"] = {"roots": [{"uri": "file:///somewhere"}]}
    session.initialize()
    assert "echo" in [tool["name"] for tool in session.request("tools/list")["tools"]]
    assert session.call("echo", message="hi") == "Echo: hi"
