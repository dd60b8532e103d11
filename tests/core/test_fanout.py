"""What a server says unasked. PROTOCOL: "Both eras", unknown notifications; "Legacy, server → client"; "Modern"."""

from __future__ import annotations

import pytest

from mux.core.identity import Sharing
from tests.core.playbook import (
    LOG_LEVEL,
    A,
    B,
    C,
    Play,
    U,
    ack,
    ask,
    call,
    cancel,
    closed,
    discovered,
    host,
    initialize,
    keep,
    launch,
    legacy,
    modern,
    note,
    opened,
    result,
    server,
    started,
    to,
    up,
    welcome,
)

LOG = note("notifications/message", '{"level":"info","data":1E400}')
LISTS = [
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
]


def busy(*sessions: int, method: str = "tools/list") -> Play:
    """A, B and C share a legacy server; each of those named has a request there, U + 1 and on."""
    play = legacy(A, B, C)
    for number, session in enumerate(sessions, 1):
        play(host(session, 3, ask(1, method)), up(ask(U + number, method)))
    return play


class TestLists:
    @pytest.mark.parametrize("method", LISTS)
    @pytest.mark.parametrize("at_work", [(), (A,), (A, B)])
    def test_a_changed_list_is_told_to_every_session_whoever_is_at_work(
        self, method: str, at_work: tuple[int, ...]
    ) -> None:
        play = busy(*at_work)
        line = note(method, '{"x":1.0}')
        play(server(line), to(A, 0, line), to(B, 0, line), to(C, 0, line))

    def test_a_changed_list_before_the_handshake_is_over_is_told_too(self) -> None:
        play = Play()
        play(opened(A), welcome(A))
        play(host(A, 1, initialize()), launch())
        play(started(), up(initialize(U)))
        play(server(note(LISTS[0])), to(A, 0, note(LISTS[0])))

    def test_a_session_that_is_gone_is_told_nothing(self) -> None:
        play = busy()
        play(closed(B))
        play(server(note(LISTS[0])), to(A, 0, note(LISTS[0])), to(C, 0, note(LISTS[0])))


class TestLogMessages:
    def test_with_one_session_at_work_a_log_message_is_its(self) -> None:
        play = busy(B)
        play(server(LOG), to(B, 0, LOG))

    def test_with_nobody_at_work_a_log_message_is_for_all(self) -> None:
        play = busy()
        play(server(LOG), to(A, 0, LOG), to(B, 0, LOG), to(C, 0, LOG))

    def test_with_several_at_work_a_log_message_is_dropped_and_counted(self) -> None:
        play = busy(A, B)
        play(server(LOG))
        assert play.pool.snapshot().upstreams[0].dropped == 1

    def test_several_at_work_hear_it_all_if_each_of_them_shares_its_log_messages(self) -> None:
        for allowing, heard in (((A, B), (A, B)), ((A,), ())):
            play = busy(A, B)
            for session in allowing:
                play.pool.sessions[session].sharing = Sharing(logs="share")
            play(server(LOG), *(to(session, 0, LOG) for session in heard))
            assert play.router.dropped == (not heard)

    def test_two_requests_of_one_session_are_one_session_at_work(self) -> None:
        play = busy(A, A)
        play(server(LOG), to(A, 0, LOG))

    def test_a_cancelled_request_counts_while_the_server_may_be_at_work_for_it(self) -> None:
        play = busy(A, B)
        play.run(host(A, 4, cancel(1)))
        play(server(LOG))
        play(server(result(U + 1)))
        play(server(LOG), to(B, 0, LOG))

    def test_a_log_message_of_a_session_that_is_gone_reaches_nobody(self) -> None:
        play = busy(A)
        play.run(closed(A))
        play(server(LOG))

    @pytest.mark.parametrize("params", ["{}", '{"level":"loud"}', '{"level":"info","level":"debug"}', "[]"])
    def test_a_log_message_without_a_level_passes_every_level(self, params: str) -> None:
        play = busy(A)
        line = note("notifications/message", params)
        play(server(line), to(A, 0, line))


class TestModernLogMessages:
    def working(self, *levels: tuple[int, str]) -> Play:
        """A and B share a modern server; requests of the sessions named, with the level that each asks for."""
        play = discovered(A, B)
        for number, (session, level) in enumerate(levels, 3):
            meta = f',"{LOG_LEVEL}":"{level}"' if level else ""
            play(
                host(session, number, modern(number, "tools/call", meta=meta)),
                up(modern(U + number, "tools/call", meta=meta)),
            )
        return play

    def test_a_log_message_is_for_the_request_that_asked_for_its_level_or_below(self) -> None:
        play = self.working((A, "warning"), (B, "info"))
        play(server(LOG), to(B, 0, LOG))
        play(server(LOG.replace(b"info", b"debug")))

    def test_a_log_message_that_two_sessions_asked_for_is_dropped_and_counted(self) -> None:
        play = self.working((A, "debug"), (B, "info"))
        play(server(LOG))
        assert play.pool.snapshot().upstreams[0].dropped == 1
        play(server(LOG.replace(b"info", b"debug")), to(A, 0, LOG.replace(b"info", b"debug")))

    def test_two_requests_of_one_session_are_one_that_asked(self) -> None:
        play = self.working((A, "debug"), (A, "info"))
        play(server(LOG), to(A, 0, LOG))

    def test_nobody_who_did_not_ask_hears_a_log_message(self) -> None:
        for levels in (((A, ""),), ((A, "loud"),), ((A, ""), (B, "loud"))):
            self.working(*levels)(server(LOG))
        discovered(A)(server(LOG))

    def test_a_listen_is_no_request_that_a_log_message_may_belong_to(self) -> None:
        """What a listen is told names it."""
        play = discovered(A, B)
        meta = f',"{LOG_LEVEL}":"debug"'
        for number, session in enumerate((A, B), 3):
            listen = modern(number, "subscriptions/listen", meta=meta)
            play(
                host(session, 3, listen),
                keep(session, 3),
                up(modern(U + number, "subscriptions/listen", meta=meta)),
            )
        play(server(LOG))
        play(host(B, 4, modern(4, "tools/call", meta=meta)), up(modern(U + 5, "tools/call", meta=meta)))
        play(server(LOG), to(B, 0, LOG))

    def test_a_level_asked_for_twice_is_refused(self) -> None:
        play = discovered(A)
        meta = f',"{LOG_LEVEL}":"debug","{LOG_LEVEL}":"info"'
        got = play.run(host(A, 3, modern(1, "tools/call", meta=meta)))
        assert b"ambiguous" in got[0].data  # type: ignore[union-attr]
        assert play.router.quota.in_flight == 0


class TestUnknown:
    def test_by_a_progress_token(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, call(1, token='"t"')), up(call(U + 1, token=U + 1)))
        play(host(B, 3, call(1, token='"t"')), up(call(U + 2, token=U + 2)))
        for form in ('{{"progressToken":{0}}}', '{{"_meta":{{"progressToken":{0}}}}}'):
            play(server(note("x", form.format(U + 2))), to(B, 0, note("x", form.format('"t"'))))
        play(server(note("x", '{"progressToken":5}')))

    def test_by_a_request_id_with_or_without_a_progress_token(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, call('"i"', token='"t"')), up(call(U + 1, token=U + 1)))
        play(host(B, 3, call('"i"')), up(call(U + 2)))
        for session, uid in ((A, U + 1), (B, U + 2)):
            play(server(note("x", f'{{"requestId":{uid}}}')), to(session, 0, note("x", '{"requestId":"i"}')))
            play(server(note("x", f'{{"requestId":"{uid}"}}')), to(session, 0, note("x", '{"requestId":"i"}')))
        play(server(note("x", '{"requestId":5}')))
        play.run(host(A, 4, cancel('"i"')))
        play(server(note("x", f'{{"requestId":{U + 1}}}')))

    @pytest.mark.parametrize("params", ['{"requestId":1,"requestId":2}', '{"_meta":{"progressToken":1},"_meta":{}}'])
    def test_what_names_two_things_reaches_nobody(self, params: str) -> None:
        play = busy()
        play(server(note("x", params)))
        assert play.router.dropped == 1

    def test_with_nothing_to_go_by_to_all_while_nobody_is_at_work(self) -> None:
        line = note("x", '{"y":1}')
        play = busy()
        play(server(line), to(A, 0, line), to(B, 0, line), to(C, 0, line))
        play = busy(A)
        play(server(line))
        assert play.router.dropped == 1


class TestCancelled:
    @pytest.mark.parametrize(
        "params", ["", "{}", '{"requestId":1}', '{"requestId":1,"requestId":2}', f'{{"requestId":{U}}}']
    )
    def test_a_servers_cancel_of_nothing_that_we_passed_on_goes_nowhere(self, params: str) -> None:
        play = busy(A)
        play(server(note("notifications/cancelled", params)))
        play(server(note("notifications/cancelled", f'{{"requestId":{U + 1}}}')))
        play(server(result(U + 1)), to(A, 3, result(1)))


class TestElicitationComplete:
    def test_who_was_asked_is_told_once_and_an_unknown_one_is_told_to_all(self) -> None:
        play = legacy(A, B, capabilities='{"elicitation":{}}')
        play(host(B, 3, call(1)), up(call(U + 1)))
        play.run(server(ask(0, "elicitation/create", '{"elicitationId":"e"}')))
        done = note("notifications/elicitation/complete", '{"elicitationId":"e"}')
        play(server(done), to(B, 0, done))
        play(server(done), to(A, 0, done), to(B, 0, done))
        for params in ("", '{"elicitationId":"e","elicitationId":"f"}'):
            odd = note("notifications/elicitation/complete", params)
            play(server(odd), to(A, 0, odd), to(B, 0, odd))

    def test_only_so_many_open_elicitations_are_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mux.core.questions.TOMBSTONES", 2)
        play = legacy(A, B, capabilities='{"elicitation":{}}')
        play(host(B, 3, call(1)), up(call(U + 1)))
        for number in range(3):
            play.run(server(ask(number, "elicitation/create", f'{{"elicitationId":"{number}"}}')))
        first, last = (note("notifications/elicitation/complete", f'{{"elicitationId":"{n}"}}') for n in (0, 2))
        play(server(last), to(B, 0, last))
        play(server(first), to(A, 0, first), to(B, 0, first))


def test_a_session_that_is_only_a_guest_hears_nothing_that_is_for_all() -> None:
    play = discovered(A)
    play(opened(B), welcome(B))
    play(host(B, 1, ask(1, "server/discover")), up(ask(U + 2, "server/discover")))
    play(server(note(LISTS[0])), to(A, 0, note(LISTS[0])))
    play(host(B, 2, note("x")), up(note("x")), ack(B, 2))
