"""Each host by itself: its tools, its calls, its cancellations, its copies, and a server that dies under it."""

from __future__ import annotations

import pytest

from tests.hosts.fake_model import FakeModel, Step
from tests.hosts.hosts import INSPECTOR, Host
from tests.hosts.stage import Stage, finish
from tests.support.installed import Node
from tests.support.runtime import DIRECT, Runtime

pytestmark = [pytest.mark.host, pytest.mark.npm, pytest.mark.timeout(900)]


def test_a_tool_call_returns_through_the_shared_server_and_nothing_is_left(
    host: Host, stage: Stage, runtime: Runtime
) -> None:
    with FakeModel(Step("who")) as model:
        said = stage.host(host, model).run()
    (server,) = stage.lives()
    assert f"process {server}" in said
    runtime.expect_empty()


def test_the_list_of_servers_shows_it_connected_and_nothing_is_left(host: Host, stage: Stage, runtime: Runtime) -> None:
    if host.listing is None:
        pytest.skip(f"{host} has no list that connects")
    with FakeModel() as model:
        said = stage.host(host, model).run(host.listing)
    assert "shared" in said
    assert "connected" in said.lower(), said
    assert len(stage.lives()) == 1
    runtime.expect_empty()


def test_two_at_once_have_a_server_each_without_us_and_one_with_us(
    host: Host, mode: str, runtime: Runtime, real_hosts: Node
) -> None:
    runtime.grace = 20.0  # the second may be slower to start than the first is to finish
    with FakeModel(Step("who")) as model, Stage(runtime, real_hosts, mode=mode) as stage:
        actor = stage.host(host, model)
        actor.run(["opencode", "session", "list"] if host.name == "opencode" else ["true"])  # makes its database
        said = [finish(run) for run in [actor.start(), actor.start()]]
        lives = stage.lives()
    assert len(lives) == (2 if mode == DIRECT else 1)
    assert {life for life in lives for text in said if f"process {life}" in text} == {*lives}, said


def test_a_server_that_dies_between_two_calls_is_replaced_and_the_host_does_not_notice(
    host: Host, stage: Stage
) -> None:
    if host is INSPECTOR:
        pytest.skip("it makes one call in a run")
    script = (Step("who"), Step("who", before=stage.kill_server))
    with FakeModel(*script) as model:
        said = stage.host(host, model).run()
    assert len(stage.lives()) == 2, model.results
    first, second = stage.lives()
    assert f"process {first}" in model.results[0]
    assert f"process {second}" in said


def test_a_call_that_the_host_gives_up_is_cancelled_at_the_server(host: Host, stage: Stage) -> None:
    if host is INSPECTOR:
        pytest.skip("it never cancels")
    with FakeModel(Step("who"), Step("sleep", {"seconds": 1000}), Step("seen")) as model:
        stage.host(host, model, impatient=True).run()
    assert '"notifications/cancelled": 1' in model.results[2].replace("\\", ""), model.results
    assert len(stage.lives()) == 1
