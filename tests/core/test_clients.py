"""Who a client says it is: read where it can be, unknown where it can not, and never a reason to refuse a message."""

from __future__ import annotations

import pytest

from mux.core.clients import is_enveloped, read_legacy, read_modern
from tests.core.playbook import VERSION, ask, initialize, modern
from tests.core.sessions import request, session

CLIENT = "io.modelcontextprotocol/clientInfo"
UNKNOWN = ("", "")


def hello(**params: str) -> bytes:
    return ask(0, "initialize", "{" + ",".join(f'"{name}":{value}' for name, value in params.items()) + "}")


def test_a_request_with_a_version_in_its_meta_is_a_modern_clients() -> None:
    assert is_enveloped(request(modern(1, "tools/list")))


@pytest.mark.parametrize(
    "line",
    [
        ask(1, "tools/list"),
        ask(1, "tools/list", "{}"),
        ask(1, "tools/list", '{"_meta":{"progressToken":1}}'),
        ask(1, "tools/list", f'{{"{VERSION}":"2026-07-28"}}'),
        ask(1, "tools/list", f'{{"_meta":{{"{VERSION}":"a","{VERSION}":"b"}}}}'),
        ask(1, "tools/list", f'{{"_meta":{{"{VERSION}":"a"}},"_meta":{{}}}}'),
    ],
)
def test_a_request_without_one_or_with_two_is_not(line: bytes) -> None:
    assert not is_enveloped(request(line))


def test_a_name_spelt_with_escapes_is_the_same_name() -> None:
    assert is_enveloped(request(modern(1, "tools/list").replace(b"protocolVersion", b"protocolV\\u0065rsion")))


def test_an_initialize_tells_client_version_and_what_it_can() -> None:
    found = session()
    read_legacy(found, request(initialize(0, '{"roots":{"listChanged":true},"sampling":{}}', client="codex")))
    assert found.client == ("codex", "1")
    assert found.version == "2025-11-25"
    assert found.capabilities == {"roots", "sampling"}


@pytest.mark.parametrize("line", [ask(0, "initialize"), ask(0, "initialize", "{}"), ask(0, "initialize", "[]")])
def test_an_initialize_that_says_nothing_is_of_an_unknown_client_that_can_nothing(line: bytes) -> None:
    found = session()
    read_legacy(found, request(line))
    assert (found.client, found.version, found.capabilities) == (UNKNOWN, "", frozenset())


@pytest.mark.parametrize("info", ["7", "null", "[]", '{"name":7}', '{"name":"\\ud800"}', '{"name":"a","version":1}'])
def test_a_client_that_can_not_be_read_is_unknown_and_the_rest_is_read(info: str) -> None:
    found = session()
    read_legacy(found, request(hello(clientInfo=info, protocolVersion='"v"', capabilities='{"roots":{}}')))
    assert (found.client, found.version, found.capabilities) == (UNKNOWN, "v", frozenset({"roots"}))


@pytest.mark.parametrize("capabilities", ["7", "null", "[]", '"roots"'])
def test_capabilities_that_are_no_object_tell_nothing(capabilities: str) -> None:
    found = session()
    read_legacy(found, request(hello(protocolVersion='"v"', capabilities=capabilities)))
    assert (found.version, found.capabilities) == ("", frozenset())


@pytest.mark.parametrize("name", ["protocolVersion", "capabilities"])
def test_what_stands_twice_is_not_guessed(name: str) -> None:
    line = hello(protocolVersion='"v"', capabilities='{"roots":{}}')
    doubled = line.replace(b'"%b":' % name.encode(), b'"%b":{},"%b":' % (name.encode(), name.encode()))
    found = session()
    read_legacy(found, request(doubled))
    assert (found.version, found.capabilities) == ("", frozenset())


@pytest.mark.parametrize(
    ("meta", "client"),
    [
        (f',"{CLIENT}":{{"name":"opencode","version":"1.18"}}', ("opencode", "1.18")),
        (f',"{CLIENT}":{{"name":"opencode"}}', ("opencode", "")),
        (f',"{CLIENT}":[]', UNKNOWN),
        (f',"{CLIENT}":{{"name":"a"}},"{CLIENT}":{{"name":"b"}}', UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_a_modern_request_tells_the_client_in_its_meta(meta: str, client: tuple[str, str]) -> None:
    found = session()
    read_modern(found, request(modern(1, "tools/list", meta=meta)))
    assert found.client == client


def test_a_client_that_was_known_is_not_forgotten_for_one_that_can_not_be_read() -> None:
    found = session()
    read_modern(found, request(modern(1, "tools/list", meta=f',"{CLIENT}":{{"name":"a","version":"1"}}')))
    read_modern(found, request(modern(1, "tools/list", meta=f',"{CLIENT}":7')))
    assert found.client == ("a", "1")
