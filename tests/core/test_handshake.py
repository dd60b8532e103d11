from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from mux.core.envelope import Answer, read_host, read_server
from mux.core.handshake import INITIALIZED, Handshake
from mux.core.session import Call, Session
from tests.core.layouts import Known, answers, ids, marked
from tests.core.sessions import request, session

if TYPE_CHECKING:
    from collections.abc import Iterable


def initialize(params: bytes = b'{"protocolVersion":"2025-11-25"}') -> bytes:
    return b'{"jsonrpc":"2.0","id":"first","method":"initialize","params":%b}' % params


def answer(line: bytes) -> Answer:
    message = read_server(line)
    assert isinstance(message, Answer)
    return message


def served(line: bytes) -> Handshake:
    handshake = Handshake()
    handshake.propose(request(initialize()))
    handshake.send(b"1048576")
    handshake.answered(answer(line))
    return handshake


def waiting(handshake: Handshake, sessions: Iterable[Session]) -> list[Call]:
    waiters = [one.accept(5, request(initialize())) for one in sessions]
    handshake.waiters += waiters
    return waiters


def test_the_first_request_opens_every_generation() -> None:
    handshake = Handshake()
    first, second = request(initialize()), request(initialize(b"{}"))
    handshake.propose(first)
    handshake.propose(second)
    assert handshake.send(b"100") == first.line.replace(b'"first"', b"100") + b"\n"
    handshake.announced = True
    handshake.ended()
    assert (handshake.uid, handshake.announced) == (b"", False)
    assert handshake.send(b"200") == first.line.replace(b'"first"', b"200") + b"\n"
    assert handshake.uid == b"200"


def test_a_generation_is_not_opened_for_nobody() -> None:
    with pytest.raises(AssertionError):
        Handshake().send(b"1")


def test_its_progress_token_goes_up_as_its_id() -> None:
    handshake = Handshake()
    handshake.propose(request(initialize(b'{"_meta":{"progressToken":"t"},"x":"t"}')))
    sent = json.loads(handshake.send(b"100"))
    assert sent["id"] == sent["params"]["_meta"]["progressToken"] == 100
    assert sent["params"]["x"] == "t"


def test_an_ambiguous_token_stops_nobody() -> None:
    handshake = Handshake()
    params = b'{"_meta":{"progressToken":1,"progressToken":2}}'
    handshake.propose(request(initialize(params)))
    assert handshake.send(b"100") == initialize(params).replace(b'"first"', b"100") + b"\n"


@given(answers(), ids)
def test_the_kept_answer_differs_in_nothing_but_the_id(known: Known, id_: bytes) -> None:
    if "error" in known.spans or known.text("id").startswith(b"0"):
        return
    handshake = served(known.line)
    assert handshake.known
    start, end = known.spans["id"]
    line = handshake.answer_for(id_)
    assert line == known.line[:start] + id_ + known.line[end:] + b"\n"
    assert marked(line, (start, start + len(id_))) == marked(known.line, (start, end))


def test_a_refusal_is_given_to_all_who_wait_and_not_kept() -> None:
    handshake = Handshake()
    handshake.propose(request(initialize()))
    waiters = waiting(handshake, [session(1), session(2)])
    handshake.send(b"100")
    assert handshake.answered(answer(b'{"jsonrpc":"2.0","id":100,"error":{"code":-32602}}')) == waiters
    assert not handshake.known
    assert handshake.uid == b""
    assert handshake.release() == []


def test_everybody_who_waits_is_released_once() -> None:
    handshake = Handshake()
    waiters = waiting(handshake, [session(1), session(2)])
    assert handshake.release() == waiters
    assert handshake.release() == []


CAPABILITIES = [
    (b"{}", []),
    (b'{"tools":{"listChanged":true}}', [b"tools"]),
    (b'{"tools":{"listChanged":false},"prompts":{},"resources":{"listChanged":true,"subscribe":true}}', [b"resources"]),
    (
        b'{"resources":{"listChanged":true},"prompts":{"listChanged":true},"tools":{"listChanged":true}}',
        [b"tools", b"prompts", b"resources"],
    ),
    (b'{"tools":"yes"}', []),
    (b'{"tools":{"listChanged":1}}', []),
    (b'{"tools":{"listChanged":true},"x":NaN}', []),
    (b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}", []),
    (b'{"tools":{"listChanged":true},"\xff":1}', [b"tools"]),
]


@pytest.mark.parametrize(("capabilities", "lists"), CAPABILITIES, ids=range(len(CAPABILITIES)))
def test_the_lists_whose_changes_are_announced_are_known(capabilities: bytes, lists: list[bytes]) -> None:
    handshake = served(b'{"jsonrpc":"2.0","id":1048576,"result":{"capabilities":%b}}' % capabilities)
    assert handshake.declared_lists() == lists


def test_without_an_answer_no_list_is_known() -> None:
    assert Handshake().declared_lists() == []


def test_what_we_say_once_is_a_notification() -> None:
    assert type(read_host(INITIALIZED.removesuffix(b"\n"))).__name__ == "Notification"
