"""What the shim itself answers while no backend can be reached."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mux.errors import INVALID_REQUEST, OUTCOME_UNKNOWN, PARSE_ERROR, UPSTREAM_UNAVAILABLE
from mux.shim.offline import answer

CALL = b'{"jsonrpc":"2.0","id":%b,"method":"tools/call"}'


def errors(answers: bytes) -> list[dict[str, Any]]:
    """The answers, each an error in a line of its own."""
    assert answers.endswith(b"\n") or not answers
    found = [json.loads(line) for line in answers.splitlines()]
    assert all(entry["jsonrpc"] == "2.0" and set(entry) == {"jsonrpc", "id", "error"} for entry in found)
    return found


@pytest.mark.parametrize("id_", [b"7", b'"7"', b"0", b'""', b'"a\\"\\\\b"', b"123456789012345678901234567890", b"null"])
def test_a_request_is_answered_under_its_own_id_that_it_was_not_run(id_: bytes) -> None:
    answers, held = answer([CALL % id_], "the disk is full")
    (found,) = errors(answers)
    assert json.dumps(found["id"]).encode() == id_
    assert found["error"]["code"] == UPSTREAM_UNAVAILABLE
    assert "the disk is full" in found["error"]["message"]
    assert found["error"]["data"]["mux"] == {
        "cause": "the disk is full",
        "executionState": "not_started",
        "safeToRetry": True,
    }
    assert not held


def test_of_a_request_that_was_sent_the_outcome_is_unknown_and_a_retry_not_safe() -> None:
    answers, held = answer([CALL % b"7"], "it crashes", sent=True)
    (found,) = errors(answers)
    assert (found["id"], found["error"]["code"]) == (7, OUTCOME_UNKNOWN)
    assert "it crashes" in found["error"]["message"]
    assert found["error"]["data"]["mux"] == {"cause": "it crashes", "executionState": "unknown", "safeToRetry": False}
    assert not held


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"server/discover"}',
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
        b'{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}',
    ],
)
def test_what_a_server_must_hear_is_held_for_the_next_backend_as_it_is(line: bytes, sent: bool) -> None:
    assert answer([line], "", sent=sent) == (b"", [line])


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}',
        b'{"jsonrpc":"2.0","id":1,"result":{}}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}',
        b"",
        b" \r",
    ],
)
def test_other_notifications_answers_and_empty_lines_are_dropped(line: bytes) -> None:
    assert answer([line], "") == (b"", [])


@pytest.mark.parametrize("line", [b"{", b"hello", b"\xff", b"[" * 100_000])
def test_a_line_that_is_no_json_is_a_parse_error_of_nobody(line: bytes) -> None:
    (found,) = errors(answer([line], "")[0])
    assert (found["id"], found["error"]["code"]) == (None, PARSE_ERROR)
    assert "data" not in found["error"]


@pytest.mark.parametrize("line", [b"[]", b"1", b"null", b'"server/discover"'])
def test_json_that_is_no_message_is_an_invalid_request_of_nobody(line: bytes) -> None:
    (found,) = errors(answer([line], "")[0])
    assert (found["id"], found["error"]["code"]) == (None, INVALID_REQUEST)


def test_answers_and_held_lines_keep_the_order_of_the_lines() -> None:
    initialized, changed = (b'{"method":"notifications/initialized"}', b'{"method":"notifications/roots/list_changed"}')
    answers, held = answer([CALL % b"1", initialized, CALL % b"2", changed, b"{"], "")
    assert [found["id"] for found in errors(answers)] == [1, 2, None]
    assert held == [initialized, changed]


def test_no_line_is_no_answer() -> None:
    assert answer([], "") == (b"", [])
