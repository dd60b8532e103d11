"""OpenAI responses, streamed: Codex. A tool of an MCP server stands in a namespace, here written NAMESPACE/NAME."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.hosts.dialects import Asked, Call, Event, Json, Turn, identifier, text

USAGE = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}


def read(asked: Json) -> Asked:
    return Asked(
        offered=tuple(_names(asked.get("tools", ()))),
        results=tuple(text(item["output"]) for item in asked["input"] if item["type"] == "function_call_output"),
        prompt=_prompt(asked["input"]),
    )


def _prompt(items: list[Json]) -> str:
    """All that was said to it before it said or did something itself."""
    own = next((at for at, item in enumerate(items) if item["type"] != "message"), len(items))
    return " ".join(text(item["content"]) for item in items[:own])


def _names(tools: list[Json]) -> Iterator[str]:
    for tool in tools:
        if tool["type"] == "namespace":
            yield from (f"{tool['name']}/{inner['name']}" for inner in tool["tools"])
        else:
            yield str(tool.get("name", tool["type"]))


def answer(turn: Turn, asked: Json) -> Iterator[Event]:
    yield _event("response.created", response={"id": "resp_1"})
    if isinstance(turn, Call):
        namespace, _, name = turn.tool.rpartition("/")
        item: Json = {
            "type": "function_call",
            "id": identifier("fc"),
            "call_id": identifier("call"),
            "name": name,
            "arguments": json.dumps(turn.arguments),
            **({"namespace": namespace} if namespace else {}),
        }
    else:
        said = {"type": "output_text", "text": turn, "annotations": []}
        item = {"type": "message", "id": "msg_1", "role": "assistant", "content": [said]}
    yield _event("response.output_item.added", output_index=0, item=item)
    yield _event("response.output_item.done", output_index=0, item=item)
    yield _event("response.completed", response={"id": "resp_1", "usage": USAGE})


def _event(kind: str, **rest: object) -> Event:
    return kind, {"type": kind, **rest}
