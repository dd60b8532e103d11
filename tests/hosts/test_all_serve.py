"""`opencode serve`: many sessions in one directory, many directories, and a call that its user aborts."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.hosts.conftest import TAKING_PART
from tests.hosts.fake_model import FakeModel, Step
from tests.hosts.hosts import OPENCODE
from tests.hosts.serve import Serve
from tests.hosts.stage import RUN_SECONDS, Stage, finish, patiently
from tests.support.installed import Node
from tests.support.runtime import DIRECT, Runtime

pytestmark = [
    pytest.mark.host,
    pytest.mark.npm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(OPENCODE not in TAKING_PART, reason="opencode does not take part"),
]


def directories(runtime: Runtime, count: int) -> list[Path]:
    made = [runtime.project / f"directory-{number}" for number in range(count)]
    for each in made:
        each.mkdir()
    return made


def test_two_serves_in_two_directories_have_four_servers_without_us_and_two_with_us(
    mode: str, runtime: Runtime, real_hosts: Node
) -> None:
    with FakeModel(Step("who")) as model, Stage(runtime, real_hosts, mode=mode) as stage:
        opencode = stage.host(OPENCODE, model)
        places = directories(runtime, 2)
        serves = [Serve(opencode), Serve(opencode)]
        said = [serve.message(serve.session(place), place) for serve in serves for place in places]
        again = serves[0].message(serves[0].session(places[0]), places[0])
        lives = stage.lives()
    assert len(lives) == (4 if mode == DIRECT else 2)
    assert {text.rpartition(" ")[2] for text in said} == {str(life) for life in lives}, said
    assert again == said[0], "another session of the same directory"


def test_a_call_that_its_user_aborts_is_cancelled_at_the_server_and_no_other(stage: Stage, runtime: Runtime) -> None:
    here = runtime.project
    running = threading.Event()
    script = (Step("who"), Step("sleep", {"seconds": 1000}, before=running.set), Step("seen"))
    with FakeModel(*script) as model:
        serve = Serve(stage.host(OPENCODE, model))
        session = serve.session(here)
        asking = threading.Thread(target=serve.message, args=(session, here), daemon=True)
        asking.start()
        assert running.wait(RUN_SECONDS)
        patiently("the call runs", lambda: [each["in_flight"] for each in runtime.status()["sessions"]] == [1])
        serve.abort(session, here)
        asking.join(RUN_SECONDS)
        serve.message(session, here)
    assert '"notifications/cancelled": 1' in model.results[-1].replace("\\", ""), model.results


def test_runs_beside_a_serve_of_the_same_directory_share_its_server(stage: Stage, runtime: Runtime) -> None:
    with FakeModel(Step("who")) as model:
        opencode = stage.host(OPENCODE, model)
        serve = Serve(opencode)
        said = [serve.message(serve.session(runtime.project), runtime.project), finish(opencode.start())]
    (server,) = stage.lives()
    assert [f"process {server}" in text for text in said] == [True, True], said
