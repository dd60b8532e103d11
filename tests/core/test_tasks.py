"""Tasks have owners. PROTOCOL: tasks/get, result, cancel, list; tasks/*, notifications/tasks/status of a server."""

from __future__ import annotations

import pytest

from mux import errors, limits
from tests.core.playbook import (
    RELATED,
    A,
    B,
    C,
    Failed,
    Play,
    Q,
    Refused,
    U,
    ack,
    ask,
    call,
    closed,
    crash,
    host,
    launch,
    legacy,
    note,
    progress,
    result,
    server,
    to,
    up,
)

STATUS = "notifications/tasks/status"


def make(id_: int, token: int | None = None) -> bytes:
    meta = "" if token is None else f',"_meta":{{"progressToken":{token}}}'
    return ask(id_, "tools/call", f'{{"name":"t","task":{{"ttl":1}}{meta}}}')


def made(id_: int, task: str) -> bytes:
    return result(id_, f'{{"task":{{"taskId":"{task}","status":"working"}}}}')


def use(id_: int, task: str, method: str = "tasks/get") -> bytes:
    return ask(id_, method, f'{{"taskId":"{task}"}}')


def related(task: str) -> str:
    return f'{{"_meta":{{"{RELATED}":{{"taskId":"{task}"}}}}}}'


def owners(*sessions: int, capabilities: str = "{}") -> Play:
    """A, B, C share a server; each of those named owns the task t1, t2 …, by its line 3."""
    play = legacy(A, B, C, capabilities=capabilities)
    for number, session in enumerate(sessions, 1):
        play(host(session, 3, make(1)), up(make(U + number)))
        play(server(made(U + number, f"t{number}")), to(session, 3, made(1, f"t{number}")))
    return play


class TestOwned:
    @pytest.mark.parametrize("method", ["tasks/get", "tasks/result", "tasks/cancel"])
    @pytest.mark.parametrize("spelling", ["t1", "\\u00741"])
    def test_a_task_is_its_owners_and_no_other_live_sessions(self, method: str, spelling: str) -> None:
        play = owners(A)
        play(host(B, 3, use(1, spelling, method)), Failed(B, 3, 1, errors.INVALID_PARAMS, "Task not found"))
        play(host(A, 4, use(2, spelling, method)), up(use(U + 2, spelling, method)))
        play(host(B, 4, use(2, "unknown", method)), up(use(U + 3, "unknown", method)))

    def test_a_task_of_a_session_that_is_gone_is_anybodys_who_knows_it(self) -> None:
        play = owners(A)
        play(closed(A))
        play(host(B, 3, use(1, "t1")), up(use(U + 2, "t1")))

    def test_a_request_that_names_two_tasks_is_refused(self) -> None:
        play = owners(A, B)
        line = ask(1, "tasks/get", '{"taskId":"t2","taskId":"t1"}')
        play(host(B, 4, line), Failed(B, 4, 1, errors.INVALID_REQUEST, "ambiguous"))

    def test_a_call_spelt_with_escapes_owns_its_task(self) -> None:
        play = legacy(A, B)
        line = ask(1, "tools/call", '{"t\\u0061sk":{}}')
        play.run(host(A, 3, line))
        play.run(server(made(U + 1, "t")))
        play(host(B, 3, use(1, "t")), Failed(B, 3, 1, errors.INVALID_PARAMS))

    def test_a_task_whose_call_was_cancelled_is_still_its_callers(self) -> None:
        play = legacy(A, B)
        play(host(A, 3, make(1)), up(make(U + 1)))
        play.run(host(A, 4, note("notifications/cancelled", '{"requestId":1}')))
        play(server(made(U + 1, "t")))
        play(host(B, 3, use(1, "t")), Failed(B, 3, 1, errors.INVALID_PARAMS))

    @pytest.mark.parametrize("answer", ['{"content":[]}', '{"task":{}}', '{"task":1}', "[]"])
    def test_an_answer_without_a_task_makes_no_owner(self, answer: str) -> None:
        play = legacy(A)
        play(host(A, 3, make(1)), up(make(U + 1)))
        play(server(result(U + 1, answer)), to(A, 3, result(1, answer)))
        assert not play.router.tasks.owner

    def test_the_oldest_of_too_many_tasks_is_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mux.core.tasks.TOMBSTONES", 2)
        play = owners(A, B, C)
        play(host(B, 4, use(1, "t1")), up(use(U + 4, "t1")))
        play(host(A, 4, use(1, "t2")), Failed(A, 4, 1, errors.INVALID_PARAMS))

    def test_a_dead_servers_tasks_are_forgotten(self) -> None:
        play = owners(A)
        crash(play)
        play(host(B, 3, use(1, "t1")))
        play.wait(1, launch(2, 2))


class TestList:
    def listed(self, *tasks: str) -> str:
        return '{"tasks":[' + ",".join(f'{{"taskId":"{task}","x":1E400}}' for task in tasks) + '],"nextCursor":"c"}'

    def test_a_list_shows_the_sessions_own_tasks_and_nobodys(self) -> None:
        play = owners(A, B, C)
        play(closed(C))
        play(host(A, 4, ask(2, "tasks/list")), up(ask(U + 4, "tasks/list")))
        every = self.listed("t1", "t2", "t3", "t4")
        play(server(result(U + 4, every)), to(A, 4, result(2, self.listed("t1", "t3", "t4"))))

    def test_a_list_with_nothing_to_hide_passes_as_it_is(self) -> None:
        play = owners(A)
        odd = '{"tasks":[ {"taskId":"t1"} , {"taskId":"x"}]}'
        play(host(A, 4, ask(2, "tasks/list")), up(ask(U + 2, "tasks/list")))
        play(server(result(U + 2, odd)), to(A, 4, result(2, odd)))

    def test_a_list_of_others_tasks_alone_is_empty(self) -> None:
        play = owners(A)
        play(host(B, 3, ask(2, "tasks/list")), up(ask(U + 2, "tasks/list")))
        play(server(result(U + 2, self.listed("t1"))), to(B, 3, result(2, self.listed())))

    @pytest.mark.parametrize("answer", ['{"tasks":7}', "{}", '{"tasks":{}}', "[]"])
    def test_an_answer_that_is_no_list_passes_as_it_is(self, answer: str) -> None:
        play = owners(A)
        play(host(B, 3, ask(2, "tasks/list")), up(ask(U + 2, "tasks/list")))
        play(server(result(U + 2, answer)), to(B, 3, result(2, answer)))

    def test_an_entry_that_names_two_tasks_is_hidden(self) -> None:
        play = owners(A)
        play(host(B, 3, ask(2, "tasks/list")), up(ask(U + 2, "tasks/list")))
        play(server(result(U + 2, '{"tasks":[{"taskId":"x","taskId":"t1"}]}')), to(B, 3, result(2, '{"tasks":[]}')))


class TestNotifications:
    def test_a_tasks_status_goes_to_its_owner_and_an_unknown_ones_to_nobody(self) -> None:
        play = owners(A, B)
        for task, hears in (("t1", [A]), ("\\u00742", [B]), ("t3", [])):
            line = note(STATUS, f'{{"taskId":"{task}","status":"working"}}')
            play(server(line), *(to(session, 0, line) for session in hears))

    @pytest.mark.parametrize("params", ["", "{}", '{"taskId":"t1","taskId":"t2"}', '{"taskId":1}'])
    def test_a_status_of_no_task_goes_to_nobody(self, params: str) -> None:
        play = owners(A, B)
        play(server(note(STATUS, params)))

    def test_an_unknown_notification_related_to_a_task_goes_to_its_owner(self) -> None:
        play = owners(A, B)
        line = note("notifications/custom", related("t2"))
        play(server(line), to(B, 0, line))
        play(closed(B))
        play(server(line))

    def test_progress_of_a_task_reaches_its_owner_as_long_as_it_lives(self) -> None:
        play = legacy(A)
        play(host(A, 3, make(1, token=5)), up(make(U + 1, token=U + 1)))
        play(server(made(U + 1, "t")), to(A, 3, made(1, "t")))
        play.wait(100 * limits.TOMBSTONE_SECONDS)
        play(host(A, 4, call(2, token=6)), up(call(U + 2, token=U + 2)))
        play(server(result(U + 2)), to(A, 4, result(2)))
        play(server(progress(U + 1)), to(A, 0, progress(5)))
        play.wait(limits.TOMBSTONE_SECONDS)
        play(server(progress(U + 2)))
        play(closed(A))
        play(server(progress(U + 1)))

    def test_no_more_tokens_of_tasks_are_remembered_than_the_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mux.core.ids.TOMBSTONES", 3)
        play = legacy(A)
        for number in range(1, 6):
            play.run(host(A, number + 2, make(1, token=number)))
            play.run(server(made(U + number, f"t{number}")))
        play(server(progress(U + 2)))
        play(server(progress(U + 3)), to(A, 0, progress(3)))


class TestHostedByClients:
    """A sampling request with a task: the client hosts it, under an id that only it knows."""

    def hosting(self, *sessions: int) -> tuple[Play, list[str]]:
        play = legacy(A, B, capabilities='{"sampling":{}}')
        known: list[str] = []
        for number, session in enumerate(sessions):
            play(host(session, 3, call(1)), up(call(U + 1 + number)))
            question = ask(number, "sampling/createMessage", '{"task":{}}')
            play(server(question), to(session, 0, ask(Q + number, "sampling/createMessage", '{"task":{}}')))
            (answer, _) = play.run(host(session, 4, result(Q + number, '{"task":{"taskId":"mine"}}')))
            known.append(answer.data.split(b'"taskId":"')[1].split(b'"')[0].decode())  # type: ignore[union-attr]
            play(server(result(U + 1 + number)), to(session, 3, result(1)))
        return play, known

    def test_equal_task_ids_of_two_clients_are_two_to_the_server(self) -> None:
        play, (first, second) = self.hosting(A, B)
        assert first != second
        for task, session, number in ((first, A, 2), (second, B, 3)):
            play(server(use(7, task)), to(session, 0, use(Q + number, "mine")))
            play(
                host(session, 5, result(Q + number, '{"taskId":"mine"}')),
                up(result(7, f'{{"taskId":"{task}"}}')),
                ack(session, 5),
            )

    @pytest.mark.parametrize("method", ["tasks/get", "tasks/result", "tasks/cancel"])
    def test_a_question_about_an_unknown_task_is_answered_here(self, method: str) -> None:
        play, _ = self.hosting(A)
        play(server(use(7, "mine", method)), Refused(7, errors.INVALID_PARAMS, "Task not found"))

    def test_the_tasks_of_a_client_that_is_gone_are_unknown(self) -> None:
        play, (task,) = self.hosting(A)
        play(closed(A))
        play(server(use(7, task)), Refused(7, errors.INVALID_PARAMS, "Task not found"))

    def test_a_result_names_its_task_by_our_id(self) -> None:
        play, (task,) = self.hosting(A)
        play(server(use(7, task, "tasks/result")), to(A, 0, use(Q + 1, "mine", "tasks/result")))
        play(host(A, 5, result(Q + 1, related("mine"))), up(result(7, related(task))), ack(A, 5))

    @pytest.mark.parametrize("end", ["leaves", "crash"])
    def test_progress_of_a_clients_task_goes_up_as_long_as_the_task_lives(self, end: str) -> None:
        play = legacy(A, B, capabilities='{"sampling":{}}')
        play(host(A, 3, call(1)), up(call(U + 1)))
        play.run(server(ask(0, "sampling/createMessage", '{"task":{},"_meta":{"progressToken":"p"}}')))
        (answer, _) = play.run(host(A, 4, result(Q, '{"task":{"taskId":"mine"}}')))
        task = answer.data.split(b'"taskId":"')[1].split(b'"')[0].decode()  # type: ignore[union-attr]

        def line(name: str, token: str = '"p"') -> bytes:
            meta = f'"_meta":{{"{RELATED}":{{"taskId":"{name}"}}}}'
            return note("notifications/progress", f'{{"progressToken":{token},{meta}}}')

        play(host(A, 5, line("mine")), up(line(task)), ack(A, 5))
        play(host(A, 6, line("other")), up(line("other")), ack(A, 6))
        play(host(A, 7, line("mine", "5")), ack(A, 7))
        play(host(B, 3, line("mine")), ack(B, 3))
        if end == "leaves":
            play.run(closed(A))
        else:
            crash(play)
        assert not play.router.questions._lasting

    def test_a_question_about_a_task_names_it_by_the_clients_id_wherever_it_does(self) -> None:
        play, (task,) = self.hosting(A)

        def about(name: str, other: str) -> bytes:
            return ask(7, "tasks/result", f'{{"taskId":"{name}","_meta":{{"{RELATED}":{{"taskId":"{other}"}}}}}}')

        asked = about("mine", "mine").replace(b'"id":7', b'"id":%d' % (Q + 1))
        play(server(about(task, task)), to(A, 0, asked))
        asked = about("mine", "x").replace(b'"id":7', b'"id":%d' % (Q + 2))
        play(server(about(task, "x")), to(A, 0, asked))

    def test_only_so_many_tokens_of_clients_tasks_are_remembered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mux.core.questions.TOMBSTONES", 2)
        play = legacy(A, capabilities='{"sampling":{}}')
        play(host(A, 3, call(1)), up(call(U + 1)))
        for number in range(3):
            play.run(
                server(ask(number, "sampling/createMessage", f'{{"task":{{}},"_meta":{{"progressToken":{number}}}}}'))
            )
            play.run(host(A, 4 + number, result(Q + number, '{"task":{"taskId":"mine"}}')))
        play(host(A, 8, progress(0)), ack(A, 8))
        play(host(A, 9, progress(2)), up(progress(2)), ack(A, 9))

    def test_a_clients_status_goes_up_under_our_id_and_only_for_a_task_that_the_server_knows(self) -> None:
        play, (task,) = self.hosting(A)
        play(
            host(A, 5, note(STATUS, '{"taskId":"mine"}')),
            up(note(STATUS, f'{{"taskId":"{task}"}}')),
            ack(A, 5),
        )
        play(host(B, 3, note(STATUS, '{"taskId":"mine"}')), ack(B, 3))
        play(host(A, 6, note(STATUS, '{"taskId":"other"}')), ack(A, 6))
        play(host(A, 7, note(STATUS, '{"taskId":"mine","taskId":"x"}')), ack(A, 7))

    def test_a_list_of_a_clients_tasks_names_them_by_our_ids(self) -> None:
        play, (task,) = self.hosting(A)
        play(host(A, 5, call(2)), up(call(U + 2)))
        play(server(ask(7, "tasks/list")), to(A, 0, ask(Q + 1, "tasks/list")))
        play(
            host(A, 6, result(Q + 1, '{"tasks":[{"taskId":"mine"}]}')),
            up(result(7, f'{{"tasks":[{{"taskId":"{task}"}}]}}')),
            ack(A, 6),
        )

    def test_an_answer_related_to_a_servers_task_is_left_alone(self) -> None:
        play = owners(A, capabilities='{"sampling":{}}')
        play(
            server(ask(7, "sampling/createMessage", related("t1"))),
            to(A, 0, ask(Q, "sampling/createMessage", related("t1"))),
        )
        play(host(A, 4, result(Q, related("t1"))), up(result(7, related("t1"))), ack(A, 4))

    def test_a_failed_answer_hosts_nothing(self) -> None:
        play = legacy(A, capabilities='{"sampling":{}}')
        play(host(A, 3, call(1)), up(call(U + 1)))
        play.run(server(ask(0, "sampling/createMessage")))
        line = b'{"jsonrpc":"2.0","id":%d,"error":{"code":1,"message":"m","result":{"task":{"taskId":"x"}}}}'
        play(host(A, 4, line % Q), up(line % 0), ack(A, 4))
        assert not play.router.tasks.hosted
