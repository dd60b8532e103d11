"""OpenAI chat completions, streamed: opencode."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.hosts.dialects import Asked, Call, Event, Json, Turn, identifier, text

HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "fake-1"}
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def read(asked: Json) -> Asked:
    return Asked(
        offered=tuple(tool["function"]["name"] for tool in asked.get("tools", ())),
        results=tuple(text(message["content"]) for message in asked["messages"] if message["role"] == "tool"),
    )


def answer(turn: Turn, asked: Json) -> Iterator[Event]:
    yield _chunk({"role": "assistant", "content": ""})
    if isinstance(turn, Call):
        call = {"name": turn.tool, "arguments": json.dumps(turn.arguments)}
        yield _chunk({"tool_calls": [{"index": 0, "id": identifier("call"), "type": "function", "function": call}]})
        yield _chunk({}, "tool_calls")
    else:
        yield _chunk({"content": turn})
        yield _chunk({}, "stop")
    yield None, {**HEAD, "choices": [], "usage": USAGE}
    yield None, "[DONE]"


def _chunk(delta: Json, reason: str | None = None) -> Event:
    return None, {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
