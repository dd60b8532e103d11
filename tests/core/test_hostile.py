"""Whatever peers say, and whenever, the core does not raise, and no session gets what is not its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mux.core import actions, events
from mux.core.session import State
from tests.core.layouts import FRAGMENTS
from tests.core.play import Play

if TYPE_CHECKING:
    from mux.core.actions import Action
    from mux.core.events import Event

FIRST = (1 << 20) + ((1 << 30) - (1 << 20)) // 2
"""The first id of every generation, question and task, as the play's entropy has it."""

UIDS = [b"%d" % (FIRST + number) for number in range(6)]

METAS = [
    b"{}",
    b'{"progressToken":1}',
    b'{"progressToken":"t"}',
    b'{"progressToken":1,"progressToken":2}',
    b'{"progressToken":1,"\\u0070rogressToken":2}',
    b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}',
    b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28","progressToken":1,"progressToken":2}',
    b'{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/logLevel":"debug"}',
    b'{"io.modelcontextprotocol/logLevel":1,"io.modelcontextprotocol/logLevel":2}',
    b'{"io.modelcontextprotocol/protocolVersion":1,"io.modelcontextprotocol/protocolVersion":2}',
    b'{"io.modelcontextprotocol/protocolVersion":1,"io.modelcontextprotocol/clientInfo":{"name":[],"name":1}}',
    b'{"io.modelcontextprotocol/subscriptionId":%b}' % UIDS[0],
    b'{"io.modelcontextprotocol/subscriptionId":"%b"}' % UIDS[1],
    b'{"io.modelcontextprotocol/subscriptionId":1,"io.modelcontextprotocol/subscriptionId":1}',
    b'{"io.modelcontextprotocol/related-task":{"taskId":"T"}}',
    b'{"io.modelcontextprotocol/related-task":{"taskId":"T","taskId":"U"}}',
    b"[]",
]
FIELDS = [
    b"",
    b'"level":"debug"',
    b'"level":"loud"',
    b'"level":1,"level":2',
    b'"uri":"file:///a"',
    b'"uri":"file:///a/b"',
    b'"uri":["a"]',
    b'"uri":"a","uri":"b"',
    b'"taskId":"T"',
    b'"taskId":"mux-task-%b"' % UIDS[0],
    b'"taskId":"T","taskId":"U"',
    b'"task":{}',
    b'"elicitationId":"e"',
    b'"elicitationId":"e","elicitationId":"f"',
    b'"progressToken":1,"progress":1',
    b'"progressToken":%b,"progress":1' % UIDS[1],
    b'"progressToken":1,"progressToken":2',
    b'"requestId":1',
    b'"requestId":"a"',
    b'"requestId":%b' % UIDS[1],
    b'"requestId":1,"requestId":2',
    b'"capabilities":{"roots":{},"sampling":{},"elicitation":{}},"clientInfo":{"name":"a","version":"1"}',
    b'"capabilities":[],"clientInfo":1,"protocolVersion":NaN',
    b'"x":"\xff"',
    b'"x":"\\ud800"',
]
RESULTS = [
    b"{}",
    b"[]",
    b"null",
    b'{"capabilities":{"tools":{"listChanged":true}}}',
    b'{"task":{"taskId":"T"}}',
    b'{"task":{"taskId":"T","taskId":"U"}}',
    b'{"tasks":[{"taskId":"T"},{"taskId":"V"},1,{"taskId":"T","taskId":"U"}]}',
    b'{"tasks":{}}',
    b'{"tasks":[1 2]}',
    b'{"tasks":[],"tasks":[]}',
    b'{"roots":[{"uri":"a"},{"uri":"a"},{"uri":"b","uri":"c"}]}',
    b'{"roots":1}',
    b'{"_meta":{"io.modelcontextprotocol/subscriptionId":%b}}' % UIDS[1],
    b'{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"T"}},"taskId":"T"}',
    b'{"resultType":"input_required","x":NaN}',
]
ERRORS = [
    b'{"code":-32601,"message":"Method not found"}',
    b'{"code":-32022,"message":"","data":{"supported":["2026-07-28"]}}',
    b'{"code":-32022,"message":"","data":{"supported":["2025-11-25"]}}',
    b'{"code":-32022,"message":"","data":{"supported":["\xff"]}}',
    b'{"code":-32022,"data":{"supported":' + b"[" * 1500 + b"]" * 1500 + b"}}",
    b'{"code":' + b"9" * 5000 + b"}",
    b'{"code":-32022,"code":1}',
    b'"no"',
]
OF_HOSTS = [
    "initialize",
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
    "logging/setLevel",
    "ping",
    "resources/subscribe",
    "resources/unsubscribe",
    "server/discover",
    "subscriptions/listen",
    "tasks/cancel",
    "tasks/get",
    "tasks/list",
    "tools/call",
    "tools/list",
    "vendor/x",
]
OF_SERVERS = [
    "elicitation/create",
    "notifications/cancelled",
    "notifications/elicitation/complete",
    "notifications/message",
    "notifications/progress",
    "notifications/resources/updated",
    "notifications/subscriptions/acknowledged",
    "notifications/tasks/status",
    "notifications/tools/list_changed",
    "notifications/vendor",
    "ping",
    "roots/list",
    "sampling/createMessage",
    "tasks/get",
    "tasks/result",
]


@st.composite
def asked(draw: st.DrawFn, methods: list[str]) -> bytes:
    """A request or notification."""
    method = draw(st.sampled_from(methods))
    fields = (
        [draw(st.sampled_from(FIELDS))] if draw(st.integers(0, 3)) else [draw(st.sampled_from(FIELDS)) for _ in "12"]
    )
    if draw(st.booleans()):
        fields.append(b'"_meta":' + draw(st.sampled_from(METAS)))
    id_ = (
        b"" if method.startswith("notifications/") else b'"id":%b,' % draw(st.sampled_from([b"1", b'"a"', b"2", b"3"]))
    )
    params = b",".join(field for field in fields if field)
    return b'{"jsonrpc":"2.0",%b"method":%b,"params":{%b}}' % (id_, json.dumps(method).encode(), params)


@st.composite
def answered(draw: st.DrawFn) -> bytes:
    """An answer to something that may be open."""
    failed = draw(st.integers(0, 3)) == 0
    body = b'"error":' + draw(st.sampled_from(ERRORS)) if failed else b'"result":' + draw(st.sampled_from(RESULTS))
    return b'{"jsonrpc":"2.0","id":%b,%b}' % (draw(st.sampled_from(UIDS)), body)


@st.composite
def wounded(draw: st.DrawFn, lines: st.SearchStrategy[bytes]) -> bytes:
    """A line with a small wound, mostly none."""
    line = draw(lines)
    if draw(st.integers(0, 7)) == 0:
        at = draw(st.integers(0, len(line)))
        line = line[:at] + draw(st.sampled_from(FRAGMENTS)) + line[at + draw(st.integers(0, 2)) :]
    return line


from_host = st.tuples(st.just("host"), wounded(asked(OF_HOSTS) | answered()))
from_server = st.tuples(st.just("server"), wounded(answered() | asked(OF_SERVERS)))
of_fate = st.tuples(st.sampled_from(["oversize", "replay", "wait", "exit", "close", "eof"]), wounded(asked(OF_HOSTS)))
steps = st.lists(
    st.tuples(st.one_of(from_host, from_server, from_host, from_server, of_fate), st.integers(1, 3)), max_size=30
)


def step(play: Play, what: str, number: int, line: bytes) -> None:
    """One thing that happens."""
    match what:
        case "host":
            play.host(number, line)
        case "server":
            play.server(line, number)
        case "oversize":
            play.give(events.SessionLine(number, 9999, line, oversize=True))
            play.give(events.ProcessLine(1, line, oversize=True))
        case "replay":
            play.give(events.SessionReplay(number, 9998, line, len(line) % 2 == 0, len(line) % 3 == 0, line[-1:]))
        case "wait":
            play.wait(len(line) / 5)
        case "exit":
            play.give(events.ProcessExited(number, 1, "boom"))
        case "eof":
            play.give(events.SessionEof(number))
        case _:
            play.give(events.SessionClosed(number))


LINES = events.SessionLine | events.ProcessLine
"""What a peer can send several of at once."""


class Recorded(Play):
    """A play that remembers what happened."""

    def __init__(self) -> None:
        super().__init__()
        self.happened: list[Event] = []

    def give(self, event: Event) -> list[Action]:
        self.happened.append(event)
        return super().give(event)


def lives(play: Play, ready: tuple[int, ...], happens: list[tuple[tuple[str, bytes], int]]) -> None:
    """All that happens to the sessions and their servers, one after the other."""
    play.serve(*ready, capabilities={"roots": {}, "sampling": {}})
    hosts = {number: number for number in ready}
    for (what, line), number in happens:
        session = hosts.get(number, 0)
        if session not in play.pool.sessions:
            session = hosts[number] = 10 * (max(hosts.values(), default=0) + 1)
            play.open(session)
        elif what in {"host", "replay"} and play.pool.sessions[session].state is State.ENDING:
            continue
        step(play, what, number if what in {"server", "exit"} else session, line)
        play.start()


@settings(max_examples=150)
@given(st.sampled_from([(), (1,), (1, 2)]), steps, st.integers(2, 9), st.integers(0, 200))
@example((1,), [(("server", b'{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{}}'), 1)], 3, 191)
def test_lines_that_come_together_lead_to_what_they_lead_to_one_by_one(
    ready: tuple[int, ...], happens: list[tuple[tuple[str, bytes], int]], size: int, end: int
) -> None:
    """So it does not matter how the bytes of peers are cut; not at a planned exit either."""
    play = Recorded()
    lives(play, ready, happens)
    happened = play.happened
    happened.insert(end % (len(happened) + 1), events.Shutdown())
    one, other = Play().pool, Play().pool
    alone = [action for event in (*happened, events.Tick()) for action in one.handle(event, play.now)]
    together: list[Action] = []
    batch: list[Event] = []
    for event in [*happened, events.Tick()]:
        if len(batch) == size or not isinstance(event, LINES):
            together += other.handle_all(batch, play.now)
            batch.clear()
        batch.append(event)
        if not isinstance(event, LINES):
            together += other.handle_all(batch, play.now)
            batch.clear()
    assert together == alone


@settings(max_examples=300)
@given(st.sampled_from([(), (1,), (1, 2)]), steps)
def test_nothing_that_peers_say_makes_the_core_raise_or_answer_twice(
    ready: tuple[int, ...], happens: list[tuple[tuple[str, bytes], int]]
) -> None:
    play = Play()
    lives(play, ready, happens)
    for number in list(play.pool.sessions):
        play.close(number)
    play.wait(10_000.0)
    for number in range(1, 40):
        play.give(events.ProcessExited(number, 0))
    assert not play.pool.routers
    answers = [action for action in play.log if isinstance(action, actions.Deliver) and action.seq in play.lines]
    assert all(play.lines[answer.seq] == answer.session for answer in answers)
    assert len({answer.seq for answer in answers}) == len(answers)
    for action in play.log:
        if isinstance(action, actions.Deliver | actions.Forward):
            assert action.data.count(b"\n") == 1
            assert action.data.endswith(b"\n")
