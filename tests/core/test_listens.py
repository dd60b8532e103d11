"""`subscriptions/listen`, one to one. PROTOCOL: "Modern": subscriptions/listen, notifications/cancelled."""

from __future__ import annotations

import pytest

from mux import errors, limits
from tests.core.playbook import (
    SUBSCRIPTION,
    U2,
    A,
    B,
    Failed,
    Play,
    U,
    ack,
    cancel,
    closed,
    crash,
    discovered,
    dismiss,
    eof,
    error,
    exited,
    gone,
    host,
    keep,
    launch,
    legacy,
    modern,
    note,
    opened,
    replay,
    result,
    server,
    started,
    to,
    up,
    welcome,
)

LISTEN = "subscriptions/listen"
SEEN = b"acknowledged"


def meta(id_: object, more: str = "") -> str:
    return f'{{"_meta":{{"{SUBSCRIPTION}":{id_}}}{more}}}'


def acknowledged(id_: object, agreed: str = "") -> bytes:
    return note("notifications/subscriptions/acknowledged", meta(id_, agreed and f',"notifications":{agreed}'))


def changed(kind: str, id_: object) -> bytes:
    return note(f"notifications/{kind}/list_changed", meta(id_))


def event(id_: object, more: str = ',"uri":"u","x":1E400') -> bytes:
    return note("notifications/resources/updated", meta(id_, more))


def listening(*ids: tuple[int, str]) -> Play:
    """A and B share a modern server; a listen of each of those named, acknowledged: U + 3 and on, its line 3 and on."""
    play = discovered(A, B)
    for number, (session, id_) in enumerate(ids, 3):
        play(host(session, number, modern(id_, LISTEN)), keep(session, number), up(modern(U + number, LISTEN)))
        play(server(acknowledged(U + number)), keep(session, number, SEEN), to(session, 0, acknowledged(id_)))
    return play


@pytest.mark.parametrize("id_", ["7", '"7"', '"l"', "0"])
def test_what_belongs_to_a_listen_names_it_by_the_sessions_own_id_with_its_type(id_: str) -> None:
    play = listening((A, id_))
    play(server(event(U + 3)), to(A, 0, event(id_)))
    play(server(event(f'"{U + 3}"')), to(A, 0, event(id_)))
    play(server(result(U + 3, meta(U + 3))), to(A, 3, result(id_, meta(id_))), ack(A, 3))


def test_equal_ids_of_two_sessions_are_two_listens_each_in_its_order() -> None:
    play = listening((A, "1"), (B, "1"))
    for number in range(6):
        session, uid = ((A, U + 3), (B, U + 4))[number % 2]
        play(server(event(uid, f',"n":{number}')), to(session, 0, event(1, f',"n":{number}')))


@pytest.mark.parametrize("id_", ["1", "null", f"{U + 9}", f"{U + 1}", f'1,"{SUBSCRIPTION}":2'])
def test_what_names_no_listen_of_ours_is_dropped(id_: str) -> None:
    play = listening((A, "7"))
    play(server(event(id_)))
    play(server(note("notifications/tools/list_changed", meta(id_))))
    assert play.router.dropped == 2


def test_a_listens_final_result_without_our_id_passes_as_it_is() -> None:
    play = listening((A, "7"))
    odd = meta("1").replace("1}", f'1,"{SUBSCRIPTION}":2}}')
    play(server(result(U + 3, odd)), to(A, 3, result(7, odd)), ack(A, 3))


def test_a_listen_that_fails_is_over() -> None:
    play = listening((A, "7"))
    play(server(error(U + 3, -1, "no")), to(A, 3, error(7, -1, "no")), ack(A, 3))
    play(server(event(U + 3)))


def test_a_listen_that_its_host_cancels_is_over() -> None:
    play = listening((A, "7"))
    play(host(A, 4, cancel(7)), up(cancel(U + 3)), ack(A, 3), ack(A, 4))
    play(server(event(U + 3)))
    play(server(acknowledged(U + 3)))
    play(server(result(U + 3)))


@pytest.mark.parametrize("id_", [f"{U + 3}", f'"{U + 3}"'])
def test_a_listen_that_its_server_cancels_is_over(id_: str) -> None:
    play = listening((A, '"l"'))
    play(server(cancel(id_)), to(A, 0, cancel('"l"')), ack(A, 3))
    play(server(cancel(id_)))
    play(server(event(U + 3)))
    play(server(result(U + 3)))
    assert not play.pool.sessions[A].open


def test_a_server_can_cancel_nothing_but_a_listen() -> None:
    play = discovered(A)
    play(host(A, 3, modern(1, "tools/call")), up(modern(U + 2, "tools/call")))
    play(server(cancel(U + 2)))
    play(server(result(U + 2)), to(A, 3, result(1)))


def test_a_session_that_leaves_cancels_its_listens() -> None:
    play = listening((A, "7"), (B, "7"))
    play(closed(A), up(gone(U + 3)))
    play(server(event(U + 3)))
    play(server(event(U + 4)), to(B, 0, event(7)))


def test_listens_do_not_count_as_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SESSION_IN_FLIGHT", 1)
    monkeypatch.setattr(limits, "UPSTREAM_IN_FLIGHT", 1)
    play = listening((A, "7"), (B, "7"))
    play(host(A, 4, modern(1, "tools/call")), up(modern(U + 5, "tools/call")))


def test_the_end_of_input_waits_for_no_listen() -> None:
    play = listening((A, "7"))
    play(eof(A), dismiss(A))
    play(server(result(U + 3)), to(A, 3, result(7)), ack(A, 3))


def test_an_ambiguous_listen_is_refused_and_nothing_of_it_stays() -> None:
    play = discovered(A)
    twice = ',"progressToken":1,"progressToken":2'
    play(
        host(A, 3, modern(7, LISTEN, meta=twice)),
        keep(A, 3),
        Failed(A, 3, 7, errors.INVALID_REQUEST, "ambiguous"),
        ack(A, 3),
    )
    assert not play.pool.sessions[A].kept


def test_more_listens_than_are_kept_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEPT_LINES", 1)
    play = listening((A, "7"))
    play(host(A, 4, modern(8, LISTEN)), Failed(A, 4, 8, errors.OVERLOADED))
    play(server(result(U + 3)), to(A, 3, result(7)), ack(A, 3))
    play(host(A, 5, modern(8, LISTEN)), keep(A, 5), up(modern(U + 4, LISTEN)))


def test_a_listen_of_the_legacy_era_is_a_request_like_any_other() -> None:
    play = legacy(A)
    play(host(A, 3, modern(7, LISTEN)), up(modern(U + 1, LISTEN)))
    assert play.router.quota.in_flight == 1
    play(server(result(U + 1)), to(A, 3, result(7)))


class TestNextGeneration:
    def test_a_listen_is_sent_again_and_its_second_acknowledgement_swallowed(self) -> None:
        play = listening((A, "7"))
        play(exited())
        play.wait(1, launch(2, 2))
        play(started(2), up(modern(U2, LISTEN), 2))
        play(server(acknowledged(U2), 2))
        play(server(event(U + 3), 2))
        play(server(event(U2), 2), to(A, 0, event(7)))

    def test_the_second_acknowledgement_says_which_lists_the_host_is_told_of(self) -> None:
        for agreed, kinds in (
            ('{"toolsListChanged":true,"promptsListChanged":null,"resourceSubscriptions":["u"]}', ["tools"]),
            (
                '{"promptsListChanged":true,"resourcesListChanged":true,"toolsListChanged":false}',
                ["prompts", "resources"],
            ),
            ('{"toolsListChanged":"yes"}', []),
            ("{}", []),
        ):
            play = listening((A, '"7"'), (B, "7"))
            play(exited())
            play.wait(1, launch(2, 2))
            play(started(2), up(modern(U2, LISTEN), 2), up(modern(U2 + 1, LISTEN), 2))
            play(server(acknowledged(U2, agreed), 2), *(to(A, 0, changed(kind, '"7"')) for kind in kinds))
            play(server(acknowledged(U2 + 1), 2))

    def test_a_listen_that_was_not_acknowledged_is_acknowledged_by_the_next(self) -> None:
        play = discovered(A)
        play(host(A, 3, modern(7, LISTEN)), keep(A, 3), up(modern(U + 2, LISTEN)))
        play(exited())
        play.wait(1, launch(2, 2))
        play(started(2), up(modern(U2, LISTEN), 2))
        play(server(acknowledged(U2), 2), keep(A, 3, SEEN), to(A, 0, acknowledged(7)))

    def test_a_listen_cancelled_meanwhile_is_not_sent_again(self) -> None:
        play = listening((A, "7"))
        play(exited())
        play(host(A, 4, cancel(7)), ack(A, 3), ack(A, 4))
        play.wait(60)

    def test_a_listen_whose_session_left_meanwhile_starts_nothing(self) -> None:
        play = listening((A, "7"))
        play(exited())
        play(closed(A))
        play.wait(5)

    def test_a_server_that_does_not_start_is_told_to_who_has_not_listened_yet_and_tried_for_the_others(
        self,
    ) -> None:
        play = listening((A, "7"))
        crash(play)
        play(host(B, 3, modern(8, LISTEN)), keep(B, 3))
        play.wait(1, launch(2, 2))
        play.router.upstream.failures.extend([play.now] * limits.BREAKER_FAILURES)
        play(exited(2), Failed(B, 3, 8, errors.UPSTREAM_UNAVAILABLE), ack(B, 3))
        play(host(B, 4, modern(8, LISTEN)), keep(B, 4), Failed(B, 4, 8, errors.UPSTREAM_UNAVAILABLE), ack(B, 4))
        play.wait(limits.BREAKER_COOL_OFF_SECONDS, launch(3, 3))


class TestNextBackend:
    def test_an_acknowledged_listen_is_opened_again_without_a_word(self) -> None:
        play = Play()
        play(opened(A, resumed=True), welcome(A))
        play(replay(A, 3, modern(7, LISTEN), blob=SEEN), keep(A, 3), launch(), keep(A, 3, SEEN))
        play(started(), up(modern(U, LISTEN)))
        play(server(acknowledged(U, '{"toolsListChanged":true}')), to(A, 0, changed("tools", 7)))
        play(server(event(U)), to(A, 0, event(7)))

    @pytest.mark.parametrize("blob", [b"", b"else"])
    def test_one_that_was_not_is_acknowledged_now(self, blob: bytes) -> None:
        play = Play()
        play(opened(A, resumed=True), welcome(A))
        play(replay(A, 3, modern(7, LISTEN), blob=blob), keep(A, 3), launch())
        play(started(), up(modern(U, LISTEN)))
        first = acknowledged(U, '{"toolsListChanged":true}')
        play(server(first), keep(A, 3, SEEN), to(A, 0, acknowledged(7, '{"toolsListChanged":true}')))

    def test_a_legacy_session_gets_no_such_thing(self) -> None:
        play = legacy(A)
        play(replay(A, 3, modern(7, LISTEN), blob=SEEN), up(modern(U + 1, LISTEN)))
