"""Anthropic messages, streamed: Claude Code."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.hosts.dialects import Asked, Call, Event, Json, Turn, identifier, text

USAGE = {"input_tokens": 1, "output_tokens": 1}


def read(asked: Json) -> Asked:
    blocks = [
        block for message in asked["messages"] if isinstance(message["content"], list) for block in message["content"]
    ]
    return Asked(
        offered=tuple(tool["name"] for tool in asked.get("tools", ())),
        results=tuple(text(block.get("content", "")) for block in blocks if block["type"] == "tool_result"),
    )


def answer(turn: Turn, asked: Json) -> Iterator[Event]:
    message: Json = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"], "content": []}
    yield _event("message_start", message={**message, "stop_reason": None, "stop_sequence": None, "usage": USAGE})
    if isinstance(turn, Call):
        block: Json = {"type": "tool_use", "id": identifier("toolu"), "name": turn.tool, "input": {}}
        delta: Json = {"type": "input_json_delta", "partial_json": json.dumps(turn.arguments)}
    else:
        block = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": turn}
    yield _event("content_block_start", index=0, content_block=block)
    yield _event("content_block_delta", index=0, delta=delta)
    yield _event("content_block_stop", index=0)
    reason = "tool_use" if isinstance(turn, Call) else "end_turn"
    yield _event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": 1})
    yield _event("message_stop")


def _event(kind: str, **rest: object) -> Event:
    return kind, {"type": kind, **rest}
