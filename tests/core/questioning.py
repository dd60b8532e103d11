"""A server that asks the sessions that it serves, and what they say."""

from __future__ import annotations

from tests.core.play import Message, Play

SAMPLING: Message = {"sampling": {}, "elicitation": {}, "roots": {}}


def shared(*sessions: int, capabilities: Message | None = None) -> Play:
    play = Play()
    play.serve(*sessions, capabilities=SAMPLING if capabilities is None else capabilities)
    return play


def ask(method: str = "sampling/createMessage", id_: object = 77, **params: object) -> Message:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def result(id_: object, **members: object) -> Message:
    return {"jsonrpc": "2.0", "id": id_, "result": members}
