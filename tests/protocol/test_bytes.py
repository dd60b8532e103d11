"""What is not an id, a token or a cancel target passes byte for byte, whichever way and in whatever message."""

from __future__ import annotations

import json

import pytest

from tests.support.processes import eventually
from tests.support.runtime import Runtime
from tests.support.session import Session

VALUES = {
    "big integers": "123456789012345678901234567890123456789012345678901234567890",
    "a float that is whole": "[1.0,-0.0,1.50,1E+2]",
    "beyond a double": "[1E400,-1e999,1e-400]",
    "not JSON, yet sent by Python": "[NaN,Infinity,-Infinity]",
    "lone surrogates": '"\\ud800 \\udfff \\uDBFF"',
    "escapes": '"\\u0041\\/\\b\\u2028\\u0000 \u2028 é \\"id\\":7}"',
    "duplicate keys": '{"a":1,"a":2,"\\u0061":3,"id":4,"id":5,"jsonrpc":"1"}',
    "key order": '{"z":1,"a":{"y":2,"b":3},"result":null,"error":{},"method":"x"}',
    "spaces": '{ "a" :\t[ 1 ,2 , 3 ] , "b":{ } }',
}


@pytest.fixture(params=list(VALUES.values()), ids=list(VALUES))
def value(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def line(session: Session, words: bytes) -> bytes:
    """The line of the session's that holds the words, once it is there."""
    return eventually(f"a line has {words!r}", lambda: next((one for one in session.lines if words in one), b""))


def test_bytes_of_a_host_arrive_as_sent(runtime: Runtime, mode: str, value: str) -> None:
    session = runtime.ready(mode=mode)
    params = f'{{"name":"said","arguments":{{"v": {value} }},"_meta":{{"progressToken":"t", "other":{value}}}}}'
    session.write(f'{{"jsonrpc":"2.0", "id":"x","method":"tools/call", "params":{params}}}\n'.encode())
    said = session.text("x")
    token = (
        '"t"' if mode == "direct" else str(json.loads(said[said.index('"progressToken":') + 16 :].partition(",")[0]))
    )
    assert f'"params":{params}'.replace('"progressToken":"t"', f'"progressToken":{token}') in said


def test_bytes_of_a_server_arrive_as_sent(runtime: Runtime, mode: str, value: str) -> None:
    session = runtime.ready(mode=mode)
    number = session.begin_call("raw", result=f'{{"v": {value}}}')
    session.response(number)
    assert session.lines[-1] == f'{{"jsonrpc": "2.0", "id": {number}, "result": {{"v": {value}}}}}'.encode()
    told = f'{{"method":"notifications/tools/list_changed","params":{{"mark": {value}}},"jsonrpc":"2.0"}}'
    session.call("garbage", text=told)
    assert line(session, b'"mark"') == told.encode()
    asked = f'{{"jsonrpc": "2.0", "id": 77, "method": "elicitation/create", "params": {{"question": {value}}}}}'
    session.call("garbage", text=asked)
    got = line(session, b'"question"')
    id_ = b"77" if mode == "direct" else str(session.questions[-1]["id"]).encode()
    assert got == asked.encode().replace(b'"id": 77', b'"id": ' + id_)
