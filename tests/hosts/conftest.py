"""Which hosts take part: opencode always, the others where MUX_HOSTS names them, or says `all`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.hosts.hosts import HOSTS, Host
from tests.hosts.stage import Stage
from tests.support.installed import Node, hosts
from tests.support.runtime import Runtime

CHOSEN = os.environ.get("MUX_HOSTS", "").replace(",", " ").split()
TAKING_PART = HOSTS if "all" in CHOSEN else tuple(host for host in HOSTS if host.name in CHOSEN)

# A job of many minutes that installs 0.9 GB: where nobody asked for it, its tests do not exist.
collect_ignore_glob = [] if TAKING_PART else ["test_all_*.py"]


@pytest.fixture(params=TAKING_PART, ids=str)
def host(request: pytest.FixtureRequest) -> Host:
    chosen: Host = request.param
    return chosen


@pytest.fixture(scope="session")
def real_hosts() -> Node:
    """All hosts, installed; this job is for nothing else, so that it fails where they are not to be had."""
    found = hosts()
    if isinstance(found, str):
        pytest.fail(found)
    return found


@pytest.fixture
def stage(runtime: Runtime, real_hosts: Node) -> Iterator[Stage]:
    """A server that is shared by hosts of any kind."""
    with Stage(runtime, real_hosts, options=["--clients", "any"]) as world:
        yield world
