from __future__ import annotations

import json
from typing import Any

import pytest

from mux import errors, limits
from mux.core import faults

ARGV = (b"npx", b"-y", b"caf\xff")


def error(line: bytes) -> dict[str, Any]:
    """The error of a line, which answers the request "a"."""
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    message = json.loads(line)
    assert (message["jsonrpc"], message["id"]) == ("2.0", "a")
    found: dict[str, Any] = message["error"]
    return found


@pytest.mark.parametrize(
    ("line", "code", "state", "safe"),
    [
        (faults.unavailable(b'"a"', ARGV, "it is gone."), errors.UPSTREAM_UNAVAILABLE, "not_started", True),
        (faults.outcome_unknown(b'"a"', "it died."), errors.OUTCOME_UNKNOWN, "unknown", False),
        (faults.too_large(b'"a"', "The client"), errors.MESSAGE_TOO_LARGE, "not_started", False),
        (faults.too_large(b'"a"', "The server", faults.UNKNOWN), errors.MESSAGE_TOO_LARGE, "unknown", False),
        (faults.overloaded(b'"a"'), errors.OVERLOADED, "not_started", True),
    ],
)
def test_an_error_says_whether_the_request_ran_and_may_be_repeated(
    line: bytes, code: int, state: str, *, safe: bool
) -> None:
    found = error(line)
    assert found["code"] == code
    assert not -32768 <= code <= -32000
    mux = found["data"]["mux"]
    assert (mux["executionState"], mux["safeToRetry"]) == (state, safe)
    assert mux["cause"] in found["message"]


def test_an_unavailable_server_is_named_by_its_command() -> None:
    assert "`npx -y caf\ufffd` is not available: gone" in error(faults.unavailable(b'"a"', ARGV, "gone"))["message"]


def test_the_limit_is_named() -> None:
    assert f"{limits.MESSAGE_BYTES // limits.MIB} MiB" in error(faults.too_large(b'"a"', "The client"))["message"]
    assert str(limits.SESSION_WAITING) in error(faults.overloaded(b'"a"'))["message"]


@pytest.mark.parametrize("length", [199, 200, 201, 5000])
def test_a_command_is_cut_to_what_a_person_reads(length: int) -> None:
    words = faults.text((b"x" * length,))
    assert len(words) == min(length, 200)
    assert words.endswith("…") == (length > 200)


def test_how_a_process_ended_is_said_in_words() -> None:
    assert faults.exit_cause(3, "", "at start") == "it exited with code 3 at start. It wrote nothing to stderr."
    assert faults.exit_cause(-9, "boom", "while it ran").startswith("it was killed by signal 9 while it ran.")
    assert faults.exit_cause(0, "one\ntwo", "x").endswith("stderr:\none\ntwo")
    cause = faults.exit_cause(1, 'quote " and \x1b and \ud7ff', "at start")
    assert cause in error(faults.unavailable(b'"a"', ARGV, cause))["message"]
