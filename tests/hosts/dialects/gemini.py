"""Gemini streamGenerateContent as events, and generateContent as one object: gemini-cli."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.hosts.dialects import Asked, Call, Event, Json, Turn, identifier, text

USAGE = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}


def read(asked: Json) -> Asked:
    parts = [part for content in asked["contents"] for part in content["parts"]]
    answers = [part["functionResponse"]["response"] for part in parts if "functionResponse" in part]
    return Asked(
        offered=tuple(each["name"] for tool in asked.get("tools", ()) for each in tool.get("functionDeclarations", ())),
        results=tuple(text(answer.get("output", answer)) for answer in answers),
    )


def answer(turn: Turn, asked: Json) -> Iterator[Event]:
    if isinstance(turn, Call):
        part: Json = {"functionCall": {"id": identifier("call"), "name": turn.tool, "args": turn.arguments}}
    elif asked.get("generationConfig", {}).get("responseMimeType") == "application/json":
        part = {"text": json.dumps({"reasoning": turn})}
    else:
        part = {"text": turn}
    candidate = {"index": 0, "content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}
    yield None, {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": "gemini-2.5-flash"}
