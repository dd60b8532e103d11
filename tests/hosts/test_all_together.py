"""Two hosts of different kinds at once: who ends, however it ends, leaves nothing and does not disturb the other."""

from __future__ import annotations

import signal
import subprocess
import threading

import pytest

from tests.hosts.fake_model import FakeModel, Step
from tests.hosts.hosts import CLAUDE, INSPECTOR, OPENCODE, Host
from tests.hosts.stage import RUN_SECONDS, Stage, end, finish, patiently
from tests.support.installed import Node
from tests.support.processes import eventually
from tests.support.runtime import Runtime

pytestmark = [pytest.mark.host, pytest.mark.npm, pytest.mark.timeout(900)]

SIGNALS = {"SIGTERM": signal.SIGTERM, "SIGKILL": signal.SIGKILL}


def calls_in_flight(runtime: Runtime, client: str) -> list[int]:
    """For each session of this kind of host."""
    return [each["in_flight"] for each in runtime.status()["sessions"] if each["host"] == client]


@pytest.mark.parametrize("how", ["normal", *SIGNALS])
def test_a_host_that_ends_leaves_nothing_and_does_not_disturb_another(
    host: Host, how: str, stage: Stage, runtime: Runtime
) -> None:
    other = OPENCODE if host is CLAUDE else CLAUDE
    gate, running = threading.Event(), threading.Event()
    lasting = FakeModel(Step("who"), Step("who", before=lambda: gate.wait(RUN_SECONDS)))
    ending = FakeModel(Step("who") if how == "normal" else Step("sleep", {"seconds": 1000}, before=running.set))
    with lasting, ending:
        partner = stage.host(other, lasting).start()
        eventually("its first call has returned", lambda: lasting.results, seconds=RUN_SECONDS)
        leaving = stage.host(host, ending).start()
        if how == "normal":
            finish(leaving)
        else:
            assert host is INSPECTOR or running.wait(RUN_SECONDS)
            patiently("its call runs", lambda: calls_in_flight(runtime, host.client) == [1])
            _end(leaving, SIGNALS[how])
        patiently("its session is over", lambda: not calls_in_flight(runtime, host.client))
        gate.set()
        said = finish(partner)
    assert lasting.results[0] in said, "another server answered the second call"
    runtime.expect_empty()


def _end(leaving: subprocess.Popen[str], number: signal.Signals) -> None:
    end(leaving, number)
    leaving.communicate(timeout=RUN_SECONDS)


def test_hosts_of_different_kinds_share_one_server_only_where_that_is_said(runtime: Runtime, real_hosts: Node) -> None:
    runtime.grace = 60.0
    servers: list[int] = []
    for options in ((), ("--clients", "any")):
        with Stage(runtime, real_hosts, options=options) as stage, FakeModel() as model:
            before = len(stage.lives())
            actors = [stage.host(host, model) for host in (OPENCODE, CLAUDE)]
            shell = {name: value for actor in actors for name, value in actor.environment.items()}
            for actor in actors:
                actor.environment = shell
                actor.run(actor.host.listing)
            servers.append(len(stage.lives()) - before)
    assert servers == [2, 1]
