"""opencode itself, offline, with a scripted model."""

from __future__ import annotations

import pytest

from tests.hosts.fake_model import FakeModel, Step
from tests.hosts.hosts import OPENCODE
from tests.hosts.stage import Stage, finish
from tests.support.installed import Node
from tests.support.processes import eventually
from tests.support.runtime import Runtime

pytestmark = [pytest.mark.host, pytest.mark.npm, pytest.mark.timeout(600)]


def test_two_runs_at_once_in_one_directory_call_a_tool_of_one_server(runtime: Runtime, node_tools: Node) -> None:
    runtime.grace = 10.0  # the second may be slower to start than the first is to finish
    with FakeModel(Step("who")) as model, Stage(runtime, node_tools) as stage:
        opencode = stage.host(OPENCODE, model)
        # two first starts at once spoil opencode's own database: one goes before, without the server
        assert opencode.run(["opencode", "session", "list"]) == ""
        said = [finish(run) for run in [opencode.start(), opencode.start()]]
        assert "shared_who" in model.offered, said
        (server,) = stage.lives()
        assert [f"The tool said: process {server}" in text for text in said] == [True, True], said
        eventually("both sessions are over", lambda: runtime.status()["sessions"] == [])
