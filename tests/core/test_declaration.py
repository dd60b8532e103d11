"""A server's own word on how widely it may be shared, in the answer that opens it: it narrows, and never widens."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from mux.core import actions, events
from mux.core.declaration import declared, narrower
from mux.core.identity import Sharing
from tests.core.play import Message, Play
from tests.core.sessions import SPEC

HOME, ROOT = b"/home/u", b"/home/u/project"
MODERN = "2026-07-28"
META = {"_meta": {"io.modelcontextprotocol/protocolVersion": MODERN}}
ONE_SESSION = "it declares that it bears one session only"


def says(scope: str) -> Message:
    return {"experimental": {"mux": {"scope": scope}}}


def answer(id_: object = 1, **capabilities: Any) -> Message:
    result = {"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": {"name": "s"}}
    return {"jsonrpc": "2.0", "id": id_, "result": result}


def line(**capabilities: Any) -> bytes:
    return json.dumps(answer(**capabilities)).encode()


# --- what is understood -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capabilities", "scope"),
    [
        (says("session"), "session"),
        (says("directory"), "directory"),
        (says("project"), "project"),
        (says("user"), ""),
        (says("galaxy"), ""),
        ({"experimental": {"mux": {"scope": 3}}}, ""),
        ({"experimental": {"mux": "session"}}, ""),
        ({"experimental": {"x-mux": {"sharing": "isolated"}}}, "session"),
        ({"x-mux": {"sharing": "isolated"}}, "session"),
        ({"x-mux": {"sharing": "shared"}}, ""),
        ({"x-mux": "isolated"}, ""),
        ({**says("directory"), "x-mux": {"sharing": "isolated"}}, "session"),
        ({"tools": {}}, ""),
    ],
)
def test_a_server_can_say_what_it_bears(capabilities: Message, scope: str) -> None:
    assert declared(line(**capabilities)) == scope


@pytest.mark.parametrize("odd", [b'{"result":{"mux":', b'{"result":{"x-mux":{},"x-mux":{}}}', b'"mux"', b""])
def test_an_odd_declaration_is_none(odd: bytes) -> None:
    assert declared(odd) == ""


def test_of_two_declarations_the_narrower_counts() -> None:
    assert narrower("project", "directory") == narrower("directory", "project") == "directory"
    assert narrower("", "project") == narrower("project", "") == "project"
    assert narrower("", "") == ""


# --- what becomes of it -----------------------------------------------------------------------


class World(Play):
    """Sessions of one base key under a scope, in directories of ROOT."""

    def __init__(self, scope: str, **choice: str) -> None:
        super().__init__()
        self.sharing = Sharing(scope=scope, **choice)

    def join(self, session: int, directory: bytes = ROOT, *, modern: bool = False, probe: bool = False) -> None:
        """The session opens and asks for tools; its server starts where its scope says."""
        places = {"user": {"directory": directory, "project": ROOT}, "project": {"directory": directory}}
        cwd = {"user": HOME, "project": ROOT}.get(self.sharing.scope, directory)
        environment = (*SPEC.environment, b"PWD=" + cwd, b"CLAUDE_PROJECT_DIR=" + cwd, b"OTHER=" + cwd + b"/x")
        spec = msgspec.structs.replace(SPEC, cwd=cwd, environment=environment)
        self.give(
            events.SessionOpened(
                session, b"key", spec, grace=30.0, sharing=self.sharing, places=places.get(self.sharing.scope, {})
            )
        )
        if probe:
            self.host(session, {"jsonrpc": "2.0", "id": "probe", "method": "server/discover", "params": META})
        elif modern:
            self.ask(session, modern=True)
        else:
            params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t"}}
            self.host(session, {"jsonrpc": "2.0", "id": "open", "method": "initialize", "params": params})
            self.ask(session)

    def ask(self, session: int, *, modern: bool = False) -> None:
        params = {"params": META} if modern else {}
        self.host(session, {"jsonrpc": "2.0", "id": "list", "method": "tools/list", **params})

    def open(self, process: int, **capabilities: Any) -> None:  # type: ignore[override]
        """The server answers what has opened it."""
        opening = next(
            message for message in self.got(process) if message["method"] in ("initialize", "server/discover")
        )
        self.server(answer(opening["id"], **capabilities), process)

    def serve_all(self, **capabilities: Any) -> None:
        """Every server that is started opens, and answers what it is asked."""
        for process in self.start():
            self.open(process, **capabilities)

    def whereabouts(self) -> dict[int, bytes]:
        """Where the server of each session that has one was started."""
        return {
            number: session.router.spec.cwd
            for number, session in sorted(self.pool.sessions.items())
            if session.router is not None
        }

    def companies(self) -> list[list[int]]:
        """Which sessions share."""
        return sorted(sorted(router.sessions) for router in self.pool.routers.values() if router.sessions)


@pytest.mark.parametrize("choice", [{}, {"clients": "any"}])
def test_sessions_of_a_server_that_bears_one_get_one_each_with_all_that_they_had_asked(choice: dict[str, str]) -> None:
    play = World("directory", **choice)
    play.join(1)
    play.join(2)
    (first,) = play.start()
    play.open(first, **says("session"))
    (second,) = play.start()
    assert [message["id"] for message in play.heard(1)] == ["open"]
    assert play.heard(2) == []
    assert [message["method"] for message in play.got(first)] == ["tools/list"]
    play.open(second, **says("session"))
    assert [message["id"] for message in play.heard(2)] == ["open"]
    assert [message["method"] for message in play.got(second)] == ["tools/list"]
    play.join(3)
    play.serve_all(**says("session"))
    assert {upstream.apart for upstream in play.pool.snapshot().upstreams} == {ONE_SESSION}
    play.close(1)
    play.join(4)
    assert len(play.start()) == 1, "what the first session left behind at its server is not for the fourth"
    assert play.companies() == [[2], [3], [4]]


@pytest.mark.parametrize("scope", ["user", "project"])
def test_directory_under_a_wider_scope_gives_each_directory_a_server_that_starts_there(scope: str) -> None:
    play = World(scope)
    a, b = ROOT + b"/a", ROOT + b"/b"
    for session, directory in ((1, a), (2, b), (3, a)):
        play.join(session, directory)
    assert play.companies() == [[1, 2, 3]]
    play.serve_all(**says("directory"))
    assert play.companies() == [[1, 3], [2]]
    assert play.whereabouts() == {1: a, 2: b, 3: a}
    play.serve_all(**says("directory"))
    for session in (1, 2, 3):
        assert [message["id"] for message in play.heard(session)] == ["open"]
    play.join(4, b)
    play.join(5, ROOT + b"/c")
    assert play.companies() == [[1, 3], [2, 4], [5]]
    found = {upstream.cwd: upstream for upstream in play.pool.snapshot().upstreams if upstream.sessions}
    assert {upstream.sharing.scope for upstream in found.values()} == {"directory"}
    assert {upstream.sharing.reason for upstream in found.values()} == {"declared by the server itself"}


def test_variables_follow_the_server_to_its_directory_and_others_do_not() -> None:
    play = World("user")
    play.join(1, ROOT + b"/a")
    play.serve_all(**says("directory"))
    (launched,) = [action for action in play.log if isinstance(action, actions.Launch) and action.spec.cwd != HOME]
    there = launched.spec.cwd
    assert there == ROOT + b"/a"
    for expected in (b"PWD=" + there, b"CLAUDE_PROJECT_DIR=" + there, b"OTHER=" + HOME + b"/x"):
        assert expected in launched.spec.environment


def test_the_server_that_has_started_elsewhere_is_stopped_after_its_grace() -> None:
    play = World("user")
    play.join(1, ROOT)
    (first,) = play.start()
    play.open(first, **says("directory"))
    (second,) = play.start()
    play.open(second, **says("directory"))
    assert [message["method"] for message in play.got(first)] == []
    stopped = [action.process for action in play.wait(31.0) if isinstance(action, actions.Stop)]
    assert stopped == [first]


def test_project_under_user_gives_one_server_to_a_project() -> None:
    play = World("user")
    play.join(1, ROOT + b"/a")
    play.join(2, ROOT + b"/b")
    play.serve_all(**says("project"))
    assert play.companies() == [[1, 2]]
    assert play.whereabouts() == {1: ROOT, 2: ROOT}


def test_who_is_where_the_server_has_started_keeps_it() -> None:
    play = World("project")
    play.join(1, ROOT)
    play.join(2, ROOT + b"/a")
    (first,) = play.start()
    play.open(first, **says("directory"))
    assert [message["id"] for message in play.heard(1)] == ["open"]
    play.join(3, ROOT)
    assert play.companies() == [[1, 3], [2]]
    assert len(play.start()) == 1, "only the second directory needs one more"


@pytest.mark.parametrize(
    ("scope", "word"),
    [
        ("directory", "directory"),
        ("directory", "project"),
        ("directory", "user"),
        ("project", "project"),
        ("project", "user"),
    ],
)
def test_nothing_is_widened(scope: str, word: str) -> None:
    play = World(scope)
    play.join(1, ROOT)
    play.join(2, ROOT)
    play.serve_all(**says(word))
    assert play.start() == []
    assert play.whereabouts() == {1: ROOT, 2: ROOT}
    assert {session.sharing for session in play.pool.sessions.values()} == {play.sharing}


# --- the modern era ---------------------------------------------------------------------------


def test_a_declaration_in_a_discover_result_counts_and_who_asked_first_keeps_the_process() -> None:
    play = World("directory")
    play.join(1, probe=True)
    (first,) = play.start()
    play.open(first, **says("session"))
    assert [message["id"] for message in play.heard(1)] == ["probe"]
    play.ask(1, modern=True)
    assert [message["method"] for message in play.got(first)] == ["tools/list"]
    play.join(2, modern=True)
    (second,) = play.start()
    assert [message["method"] for message in play.got(second)] == ["tools/list"]
    assert play.companies() == [[1], [2]]
    assert {upstream.apart for upstream in play.pool.snapshot().upstreams} == {ONE_SESSION}


def test_sessions_that_asked_before_the_discover_was_answered_part_too() -> None:
    play = World("directory")
    play.join(1, probe=True)
    (first,) = play.start()
    play.join(2, modern=True)
    play.join(3, modern=True)
    assert play.companies() == [[2, 3]]
    play.open(first, **says("session"))
    assert play.companies() == [[2], [3]]
    (second,) = play.start()
    assert [message["method"] for message in [*play.got(first), *play.got(second)]] == ["tools/list"] * 2


def test_directory_in_a_discover_result_gives_each_directory_its_own() -> None:
    play = World("user")
    a, b = ROOT + b"/a", ROOT + b"/b"
    play.join(1, a, probe=True)
    play.serve_all(**says("directory"))
    assert [message["id"] for message in play.heard(1)] == ["probe"]
    play.ask(1, modern=True)
    play.join(2, b, modern=True)
    play.join(3, a, modern=True)
    assert play.companies() == [[1, 3], [2]]
    assert play.whereabouts() == {1: a, 2: b, 3: a}
    assert len(play.start()) == 2


def test_a_server_that_is_in_use_when_it_declares_keeps_who_is_there_and_takes_nobody_more() -> None:
    """Modern clients need not discover: the first that does may come late."""
    play = World("directory")
    play.join(1, modern=True)
    play.join(2, modern=True)
    (first,) = play.start()
    play.got(first)
    play.join(3, probe=True)
    play.open(first, **says("session"))
    assert [message["id"] for message in play.heard(3)] == ["probe"]
    assert play.companies() == [[1, 2]]
    play.ask(3, modern=True)
    play.join(4, modern=True)
    assert play.companies() == [[1, 2], [3], [4]]
