"""Codex starts a server for each agent; through us its agents share one."""

from __future__ import annotations

import pytest

from tests.hosts.fake_model import HELPER, FakeModel, Step
from tests.hosts.hosts import CODEX, Host
from tests.hosts.stage import RUN_SECONDS, Stage
from tests.support.installed import Node
from tests.support.processes import eventually
from tests.support.runtime import DIRECT, Runtime

pytestmark = [pytest.mark.host, pytest.mark.npm, pytest.mark.timeout(900)]

SPAWN = Step("multi_agent_v1/spawn_agent", {"message": HELPER})


def test_an_agent_and_its_two_helpers_have_three_servers_without_us_and_one_with_us(
    host: Host, mode: str, runtime: Runtime, real_hosts: Node
) -> None:
    if host is not CODEX:
        pytest.skip("its agents share a server anyway, or cannot be scripted")

    def both_helped() -> None:
        eventually("both helpers have called the tool", lambda: len(model.helped) == 2, seconds=RUN_SECONDS)

    with Stage(runtime, real_hosts, mode=mode) as stage:
        model = FakeModel(SPAWN, SPAWN, Step("who", before=both_helped), helper=[Step("who")])
        with model:
            stage.host(host, model).run()
        lives = stage.lives()
    assert len(lives) == (3 if mode == DIRECT else 1)
    told = {life for life in lives for text in (model.results[-1], *model.helped) if f"process {life}" in text}
    assert told == {*lives}
