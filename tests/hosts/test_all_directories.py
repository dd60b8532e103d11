"""`opencode serve` touched in sixteen directories: the case that fills a machine with idle servers."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.hosts.census import census
from tests.hosts.conftest import TAKING_PART
from tests.hosts.fake_model import FakeModel, Step
from tests.hosts.hosts import OPENCODE
from tests.hosts.serve import Serve
from tests.hosts.stage import Stage, patiently
from tests.support.installed import Node
from tests.support.runtime import DIRECT, SHIM, Runtime

pytestmark = [
    pytest.mark.host,
    pytest.mark.npm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(OPENCODE not in TAKING_PART, reason="opencode does not take part"),
]

DIRECTORIES = 16
IDLE_TIMEOUT = 60
"""Seconds, in which all of them must have been touched."""


def touch(serve: Serve, directories: list[Path]) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(serve.connected, directories))


def test_each_has_at_most_one_server_that_goes_when_idle_and_comes_back(
    runtime: Runtime, real_hosts: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    directories = [runtime.project / str(number) for number in range(DIRECTORIES)]
    for directory in directories:
        directory.mkdir()
    weights: dict[str, str] = {}
    with FakeModel(Step("ctx_stats")) as model:
        with Stage(runtime, real_hosts, mode=DIRECT, server=["context-mode"]) as stage:
            touch(Serve(stage.host(OPENCODE, model)), directories)
            weights["without us"] = str(census(stage, "context-mode"))
        options = ["--idle-timeout", str(IDLE_TIMEOUT)]
        with Stage(runtime, real_hosts, mode=SHIM, options=options, server=["context-mode"]) as stage:
            serve = Serve(stage.host(OPENCODE, model))
            touch(serve, directories)
            weights["with us, all touched"] = str(census(stage, "context-mode"))
            places = Counter(each["cwd"] for each in runtime.status()["upstreams"])
            assert places == Counter(str(directory) for directory in directories)
            patiently("no server is left", lambda: not runtime.backend().children())
            weights["with us, all idle"] = str(census(stage, "context-mode"))
            assert len(runtime.status()["sessions"]) == DIRECTORIES
            for directory in (directories[0], directories[7], directories[-1]):
                model.results.clear()
                serve.message(serve.session(directory), directory)
                assert "context-mode" in model.results[0], model.results
            assert max(Counter(each["cwd"] for each in runtime.status()["upstreams"]).values()) == 1
    runtime.expect_empty()
    with capsys.disabled():
        print(*(f"\n{DIRECTORIES} directories, {when}: {weight}" for when, weight in weights.items()))
