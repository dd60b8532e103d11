from __future__ import annotations

import pytest

from mux import errors
from mux.core import actions
from mux.core.questions import Questions
from tests.core.play import Play
from tests.core.questioning import ask, result, shared
from tests.core.sessions import session

RELATED = "io.modelcontextprotocol/related-task"


def refusal(play: Play) -> tuple[int, str]:
    (answer,) = play.got()
    assert answer["id"] == 77
    return answer["error"]["code"], answer["error"]["message"]


# --- the table of open questions --------------------------------------------------------------


def test_an_answer_counts_only_from_the_session_that_was_asked() -> None:
    questions, one, two = Questions(500), session(1), session(2)
    question = questions.ask(one, b"7", "sampling/createMessage")
    assert question.id == b"500"
    assert questions.answered(two, b"500") is None
    assert questions.answered(one, b"7") is None
    assert questions.answered(one, b"500") is question
    assert questions.answered(one, b"500") is None
    assert len(questions) == 0


def test_no_id_of_a_question_is_used_twice() -> None:
    questions, one = Questions(500), session(1)
    ids: set[bytes] = set()
    for _ in range(5):
        question = questions.ask(one, b"7", "x")
        ids.add(question.id)
        questions.drop(question.id)
        questions.drop(question.id)
    assert len(ids) == 5


def test_a_server_withdraws_its_own_question_by_its_own_id() -> None:
    questions, one, two = Questions(500), session(1), session(2)
    asked = [questions.ask(one, b"7", "x"), questions.ask(two, b"7", "x"), questions.ask(one, b'"7"', "x")]
    assert questions.withdrawn(b"500") == []
    assert questions.withdrawn(b"7") == asked[:2]
    assert len(questions) == 1


def test_progress_is_taken_only_for_a_token_that_the_session_was_given() -> None:
    questions, one, two = Questions(500), session(1), session(2)
    question = questions.ask(one, b"7", "x", b'"t"')
    assert questions.gave(one, b'"t"')
    assert not questions.gave(two, b'"t"')
    assert not questions.gave(one, b"1")
    questions.answered(one, question.id)
    assert not questions.gave(one, b'"t"')


def test_a_session_that_leaves_takes_its_questions_along() -> None:
    questions, one, two = Questions(500), session(1), session(2)
    first, second = questions.ask(one, b"7", "x"), questions.ask(two, b"8", "x")
    questions.elicited = {b'"a"': one, b'"b"': two}
    assert questions.leave(one) == [first]
    assert questions.elicited == {b'"b"': two}
    assert questions.clear() == [second]
    assert len(questions) == len(questions.elicited) == 0


# --- whom a question concerns -----------------------------------------------------------------


def test_a_ping_of_the_server_is_answered_here() -> None:
    play = shared(1)
    play.server({"jsonrpc": "2.0", "id": "p", "method": "ping"})
    assert play.got() == [{"jsonrpc": "2.0", "id": "p", "result": {}}]
    assert play.heard(1) == []


@pytest.mark.parametrize("method", ["sampling/createMessage", "elicitation/create", "vendor/ask", "roots/list"])
def test_the_one_session_at_work_is_asked_and_its_answer_goes_back(method: str) -> None:
    play = shared(1, 2)
    play.call(1)
    play.server(ask(method, id_="q", text="a"))
    (question,) = play.heard(1)
    assert question == {"jsonrpc": "2.0", "id": question["id"], "method": method, "params": {"text": "a"}}
    assert question["id"] != "q"
    assert play.heard(2) == []
    play.host(2, result(question["id"], stolen=True))
    assert play.got() == []
    play.host(1, result(question["id"], kind="mine"))
    assert play.got() == [{"jsonrpc": "2.0", "id": "q", "result": {"kind": "mine"}}]
    play.host(1, result(question["id"], kind="again"))
    assert play.got() == []


def test_a_failed_answer_goes_back_as_it_is() -> None:
    play = shared(1)
    play.call(1)
    play.server(ask())
    (question,) = play.heard(1)
    play.host(1, {"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "no"}})
    assert play.got() == [{"jsonrpc": "2.0", "id": 77, "error": {"code": -1, "message": "no"}}]


def test_a_question_that_could_be_anybodys_is_put_to_nobody_and_calls_take_turns_from_then_on() -> None:
    play = shared(1, 2)
    play.call(1)
    play.call(2)
    for _ in range(2):
        play.server(ask())
        assert refusal(play)[0] == errors.INTERNAL_ERROR
    assert play.heard(1) == play.heard(2) == []
    warned = [action for action in play.log if isinstance(action, actions.Log) and action.event == "question.ambiguous"]
    assert len(warned) == 1
    (router,) = play.pool.routers.values()
    assert router.turns.needed


def test_a_request_that_may_not_ask_makes_nobody_a_candidate() -> None:
    play = shared(1, 2)
    play.call(1)
    play.call(2, "tools/list")
    play.server(ask())
    assert len(play.heard(1)) == 1


def test_a_cancelled_call_still_counts_while_the_server_may_work_for_it() -> None:
    play = shared(1, 2)
    play.call(1)
    play.call(2)
    play.host(2, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
    play.got()
    play.server(ask())
    assert "Several clients" in refusal(play)[1]


def test_the_only_session_that_the_server_has_known_is_asked_at_work_or_not() -> None:
    play = shared(1)
    play.server(ask())
    assert len(play.heard(1)) == 1


def test_with_nobody_at_work_a_question_is_refused() -> None:
    play = shared(1, 2)
    play.close(2)
    play.got()
    play.server(ask())
    code, reason = refusal(play)
    assert code == errors.INTERNAL_ERROR
    assert "none is in flight" in reason


def test_the_only_session_at_work_refuses_itself_what_it_has_not_declared() -> None:
    play = shared(1, 2, capabilities={"roots": {}})
    play.call(1)
    play.server(ask("elicitation/create"))
    assert len(play.heard(1)) == 1


def test_of_several_none_is_asked_what_it_has_not_declared() -> None:
    play = shared(1, 2, capabilities={"roots": {}})
    play.call(1)
    play.call(2)
    play.server(ask("elicitation/create"))
    assert "has declared what `elicitation/create` needs" in refusal(play)[1]
    assert play.heard(1) == []


def test_the_question_of_a_call_whose_session_is_gone_is_refused() -> None:
    play = shared(1, 2)
    play.call(1)
    play.close(1)
    play.got()
    play.server(ask())
    assert "is gone" in refusal(play)[1]
    assert play.heard(2) == []


def test_a_session_that_leaves_refuses_what_it_was_asked() -> None:
    play = shared(1, 2)
    play.call(1)
    play.server(ask())
    play.got()
    play.close(1)
    answers = [message for message in play.got() if "error" in message]
    assert [(answer["id"], answer["error"]["message"]) for answer in answers] == [
        (77, "The client that was asked is gone.")
    ]


def test_a_question_with_an_ambiguous_token_is_asked_and_its_progress_is_nobodys() -> None:
    play = shared(1)
    play.call(1)
    play.server(
        b'{"jsonrpc":"2.0","id":77,"method":"vendor/ask","params":{"_meta":{"progressToken":1,"progressToken":2}}}'
    )
    assert len(play.heard(1)) == 1
    play.host(1, {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}})
    assert play.got() == []


def test_progress_of_a_question_comes_only_from_who_was_asked() -> None:
    play = shared(1, 2)
    play.call(1)
    play.server(ask(_meta={"progressToken": "up"}))
    progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": "up", "progress": 1}}
    play.host(2, progress)
    assert play.got() == []
    play.host(1, progress)
    assert play.got() == [progress]


def test_the_end_of_an_elicitation_is_told_to_whom_it_was_put() -> None:
    play = shared(1, 2)
    play.call(1)
    play.server(ask("elicitation/create", mode="url", elicitationId="e1"))
    play.heard(1)
    done = {"jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": {"elicitationId": "e1"}}
    play.server(done)
    assert play.heard(1) == [done]
    assert play.heard(2) == []


def test_a_question_that_is_withdrawn_is_withdrawn_from_the_host_under_its_id() -> None:
    play = shared(1)
    play.call(1)
    play.server(ask())
    (question,) = play.heard(1)
    play.server({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 77}})
    (cancel,) = play.heard(1)
    assert cancel["params"]["requestId"] == question["id"]
    play.host(1, result(question["id"]))
    assert play.got() == []


# --- tasks ------------------------------------------------------------------------------------


def test_a_question_related_to_a_task_goes_to_its_owner_whoever_is_at_work() -> None:
    play = shared(1, 2)
    uid = play.call(1, task={})
    play.server({"jsonrpc": "2.0", "id": uid, "result": {"task": {"taskId": "T", "status": "working"}}})
    play.heard(1)
    play.call(2)
    play.server(ask(_meta={RELATED: {"taskId": "T"}}))
    assert len(play.heard(1)) == 1
    assert play.heard(2) == []


def hosting(play: Play, owner: int) -> str:
    """The owner answers a question with a task of its own; returns the id that the server learns."""
    play.call(owner)
    play.server(ask(task={}))
    (question,) = play.heard(owner)
    play.host(owner, result(question["id"], task={"taskId": "T", "status": "working"}))
    (answer,) = play.got()
    known: str = answer["result"]["task"]["taskId"]
    return known


def test_the_task_of_a_host_has_an_id_of_ours_at_the_server() -> None:
    play = shared(1, 2)
    known = hosting(play, 1)
    assert known != "T"
    play.server(ask("tasks/get", taskId=known))
    (question,) = play.heard(1)
    assert question["params"] == {"taskId": "T"}
    play.host(1, result(question["id"], taskId="T", status="completed"))
    (answer,) = play.got()
    assert answer == {"jsonrpc": "2.0", "id": 77, "result": {"taskId": known, "status": "completed"}}


def test_a_task_of_a_host_that_is_unknown_or_gone_is_not_found() -> None:
    play = shared(1, 2)
    known = hosting(play, 1)
    play.server(ask("tasks/get", taskId="T"))
    assert refusal(play) == (errors.INVALID_PARAMS, "Task not found")
    play.close(1)
    play.got()
    play.server(ask("tasks/get", taskId=known))
    assert refusal(play) == (errors.INVALID_PARAMS, "Task not found")
