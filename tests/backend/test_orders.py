"""What an operator orders, asked of a real backend: the answer says what it concerns, and comes before it is done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mux import __version__
from mux.cli import control
from mux.cli.control import Conversation
from mux.errors import MuxError
from mux.limits import SUCCESSION_SECONDS
from mux.rendezvous.paths import Place
from mux.wire import frames
from tests.backend.support import Peer
from tests.support.processes import eventually, running
from tests.support.runtime import SCRIPTED, Runtime
from tests.support.session import Failed, Session

STILL = ["--park-after", "0"]
"""Sessions that do not sleep: their connections are looked at."""


@pytest.fixture
def runtime(runtime: Runtime) -> Runtime:
    """A backend that outlives its last session by far."""
    runtime.grace = 60.0
    return runtime


@pytest.fixture
def operator(runtime: Runtime) -> Iterator[Conversation]:
    """A control connection to the backend; the first session is there already."""
    runtime.ready(options=STILL)
    found = control.converse([Place(str(runtime.socket))])
    assert found is not None
    with found:
        yield found


@pytest.fixture
def session(runtime: Runtime, operator: Conversation) -> Session:
    """The session that was there first."""
    assert operator.socket == str(runtime.socket)
    return runtime.sessions[0]


def refused(session: Session) -> str:
    """The message with which a session without its server answers."""
    with pytest.raises(Failed) as failed:
        session.request("tools/list")
    return str(failed.value.error["message"])


def welcome(runtime: Runtime) -> Peer:
    """A session of a command of its own, of which the test sees every frame."""
    peer = Peer(str(runtime.socket))
    environment = [f"{name}={value}".encode() for name, value in runtime.environment.items()]
    peer.hello(argv=[b"/bin/cat"], environment=environment)
    peer.until(frames.WELCOME)
    return peer


def until_ended(peer: Peer) -> list[tuple[int, bytes]]:
    """Kind and payload of all frames to the end."""
    found = []
    while (frame := peer.read()) is not None:
        found.append((frame[0], frame[3]))
    peer.close()
    return found


def test_an_answer_says_whom_it_is_from_and_how_many_it_concerns(runtime: Runtime, operator: Conversation) -> None:
    runtime.ready(options=STILL)
    runtime.ready(*SCRIPTED, "--name", "other", options=STILL)
    everything = operator.ask("start")
    assert everything["pid"] == runtime.backend().pid
    assert everything["version"] == __version__
    assert (everything["servers"], everything["sessions"]) == (2, 3)
    one = operator.ask("restart", upstream=1)
    assert (one["servers"], one["sessions"]) == (1, 2)


def test_a_server_that_does_not_run_is_not_counted_among_those_that_are_stopped(
    operator: Conversation, session: Session
) -> None:
    with pytest.raises(Failed):
        session.call("exit", code=3)
    eventually("it has ended", lambda: not operator.ask("status")["upstreams"][0]["pid"])
    answer = operator.ask("start")
    assert (answer["servers"], answer["sessions"]) == (0, 1)


@pytest.mark.parametrize("command", ["restart", "stop"])
@pytest.mark.parametrize(
    ("arguments", "words"), [({"upstream": 9}, "no server 9; `mux status`"), ({"upstream": "1"}, "str")]
)
def test_an_order_for_what_is_not_there_is_refused_and_nothing_is_done(
    operator: Conversation, session: Session, command: str, arguments: dict[str, object], words: str
) -> None:
    before = session.pid()
    with pytest.raises(MuxError, match=words):
        operator.ask(command, **arguments)
    assert session.pid() == before


def test_one_server_is_restarted_and_backend_and_others_stay(
    runtime: Runtime, operator: Conversation, session: Session
) -> None:
    other = runtime.ready(*SCRIPTED, "--name", "other", options=STILL)
    backend, before, stays = runtime.backend().pid, session.pid(), other.pid()
    operator.ask("restart", upstream=1)
    eventually("it is another process", lambda: session.pid() != before)
    assert other.pid() == stays
    assert runtime.backend().pid == backend


def test_one_server_is_stopped_and_its_sessions_are_told_why_until_start(
    runtime: Runtime, operator: Conversation, session: Session
) -> None:
    other = runtime.ready(*SCRIPTED, "--name", "other", options=STILL)
    server = session.pid()
    operator.ask("stop", upstream=1)
    eventually("it is dead", lambda: not running(server))
    assert "it was stopped with `mux stop`; `mux start` or a new session brings it back" in refused(session)
    assert other.call("echo", text="on") == "on"
    operator.ask("start")
    eventually("it is served again", lambda: "result" in session.response(session.begin("tools/list")))


def test_an_answer_says_whether_the_backend_is_leaving_already(
    runtime: Runtime, operator: Conversation, session: Session
) -> None:
    assert operator.ask("start")["leaving"] is False
    call = session.begin_call("sleep", seconds=0.5)
    eventually("the server has it", lambda: operator.ask("status")["upstreams"][0]["in_flight"])
    assert operator.ask("stop")["leaving"] is False, "as it was when the order came"
    assert operator.ask("start")["leaving"] is True
    assert session.text(call) == "slept"


def test_a_restart_of_all_is_answered_and_its_hold_off_told_to_every_session(
    runtime: Runtime, operator: Conversation
) -> None:
    peer = welcome(runtime)
    assert operator.ask("restart", hold_off=1.25)["pid"] == runtime.backend().pid
    told = until_ended(peer)
    assert [frames.parse_goaway(payload) for kind, payload in told if kind == frames.GOAWAY] == [(0, 1250)]
    assert frames.STOPPED not in dict(told)
    assert operator.wait_for_end(20.0)


@pytest.mark.parametrize(("hold_off", "told"), [(-1.0, 0.0), (1e9, SUCCESSION_SECONDS)])
def test_a_hold_off_is_never_longer_than_a_successor_is_awaited(
    runtime: Runtime, operator: Conversation, hold_off: float, told: float
) -> None:
    peer = welcome(runtime)
    operator.ask("restart", hold_off=hold_off)
    assert frames.parse_goaway(dict(until_ended(peer))[frames.GOAWAY])[1] == told * 1000
    assert operator.wait_for_end(20.0)


def test_a_stop_of_all_tells_every_session_that_it_was_so_ordered(runtime: Runtime, operator: Conversation) -> None:
    peer = welcome(runtime)
    operator.ask("stop")
    told = dict(until_ended(peer))
    assert b"`mux stop`" in told[frames.STOPPED]
    assert operator.wait_for_end(20.0)
    assert "mux stop" in refused(runtime.sessions[0])


def test_prune_names_what_has_no_session_and_ends_it_if_told_to(
    runtime: Runtime, operator: Conversation, session: Session
) -> None:
    used = session.pid()
    unused = runtime.ready(*SCRIPTED, "--name", "unused", options=STILL)
    server = unused.pid()
    unused.finish()
    eventually("its session is gone", lambda: len(operator.ask("status")["sessions"]) == 1)
    assert operator.ask("prune", older_than=3600, end=True) == {"backend": None, "servers": []}
    found = operator.ask("prune", older_than=0)
    assert found["backend"] is None
    assert [(entry["id"], entry["process"][0], entry["command"][-1]) for entry in found["servers"]] == [
        (2, server, "unused")
    ]
    assert running(server), "it was only named"
    assert operator.ask("prune", older_than=0, end=True) == found
    eventually("it is dead", lambda: not running(server))
    assert session.pid() == used
    assert operator.ask("prune", older_than=0) == {"backend": None, "servers": []}


def test_prune_of_an_empty_backend_answers_and_then_it_leaves(
    runtime: Runtime, operator: Conversation, session: Session
) -> None:
    server = session.pid()
    session.finish()
    eventually("its session is gone", lambda: not operator.ask("status")["sessions"])
    found = operator.ask("prune", older_than=0, end=True)
    assert found["backend"][0] == runtime.backend().pid
    assert [entry["process"][0] for entry in found["servers"]] == [server]
    assert operator.wait_for_end(20.0)
    assert not running(server)


def test_prune_without_an_age_is_refused(operator: Conversation, session: Session) -> None:
    session.finish()
    with pytest.raises(MuxError, match="older_than"):
        operator.ask("prune", end=True)
    assert operator.ask("status")["upstreams"][0]["state"] == "ready"
