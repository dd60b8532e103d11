"""Async tests of the backend run on both loops that it can meet."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import uvloop

from tests.backend.place import Place
from tests.backend.support import World

_numbers = count(1)


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def directory(run_directory: Path) -> Iterator[Path]:
    """A fresh one of mode 0700, with a path short enough for a socket's."""
    path = run_directory / f"b{os.getpid()}-{next(_numbers)}"
    path.mkdir(mode=0o700)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def world(directory: Path) -> Iterator[World]:
    """A backend with a stub for a core, not yet started; ended, and looked after, with the test."""
    found = World(directory)
    yield found
    found.close()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A home with a repository in it."""
    return Place(tmp_path)
