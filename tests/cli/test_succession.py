"""One backend after another: joined or started, and its end awaited, lock and all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mux.cli import succession
from mux.cli.control import Conversation
from mux.errors import MuxError, RendezvousError
from mux.rendezvous.lock import try_lock
from tests.support.processes import eventually, running
from tests.support.runtime import Runtime

OPTIONS = ["--grace", "47"]


@pytest.fixture
def conversation(runtime: Runtime) -> Iterator[Conversation]:
    """With a backend that was started for it."""
    found, started = succession.join_or_start(str(runtime.socket), OPTIONS)
    assert started
    with found:
        yield found


@pytest.fixture
def home(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a user who has configured nothing yet."""
    for name in [name for name in os.environ if name.startswith(("MUX_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(runtime.home))
    monkeypatch.chdir(runtime.project)
    return runtime.home


def test_where_none_runs_one_is_started_with_the_options_and_then_joined(
    runtime: Runtime, conversation: Conversation
) -> None:
    backend = runtime.backend()
    assert backend.cmdline()[-2:] == OPTIONS
    again, started = succession.join_or_start(str(runtime.socket), ["--grace", "1"])
    with again:
        assert not started
        assert again.ask("start")["pid"] == conversation.ask("start")["pid"] == backend.pid
        assert again.ask("start")["options"] == OPTIONS


def test_what_keeps_one_from_starting_is_told(runtime: Runtime) -> None:
    with pytest.raises(RendezvousError, match="'soon' is not a duration"):
        succession.join_or_start(str(runtime.socket), ["--grace", "soon"])
    (runtime.directory / "s.fail").unlink()


def test_a_backend_is_started_as_a_session_from_here_would(home: Path) -> None:
    assert succession.configured_options() == []
    (home / ".config" / "mux").mkdir(parents=True)
    (home / ".config" / "mux" / "config.toml").write_text('grace = "9s"\n[limits]\nsessions = 5\n', encoding="utf-8")
    assert succession.configured_options() == ["--grace", "9", "--limit", "sessions=5"]


def test_in_a_directory_that_is_gone_the_users_own_options_count(
    home: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = runtime.directory / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("MUX_GRACE", "8")
    assert home.exists()
    assert succession.configured_options() == ["--grace", "8"]


def test_the_end_of_a_backend_is_awaited_until_another_can_be_started(
    runtime: Runtime, conversation: Conversation
) -> None:
    answer = conversation.ask("stop")
    succession.await_end(conversation, answer)
    assert not runtime.locked()
    assert not runtime.socket.exists()
    eventually("it is gone", lambda: not running(answer["pid"]))


def test_the_end_of_the_connection_is_not_the_end_while_the_lock_is_held(
    runtime: Runtime, conversation: Conversation
) -> None:
    answer = conversation.ask("stop")
    assert conversation.wait_for_end(20.0)
    eventually("it has left", lambda: not runtime.locked())
    lock = try_lock(str(runtime.lock))
    assert lock is not None
    waiting = threading.Thread(target=succession.await_end, args=(conversation, answer))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    os.close(lock)
    waiting.join(20.0)
    assert not waiting.is_alive()


def test_a_backend_that_does_not_go_is_named_with_what_to_do(
    runtime: Runtime, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = conversation.ask("start")
    runtime.backend().suspend()
    monkeypatch.setattr(succession, "SUCCESSION_SECONDS", 0.2)
    with pytest.raises(MuxError) as failed:
        succession.await_end(conversation, answer)
    runtime.backend().resume()
    assert str(failed.value).startswith(f"the backend at {runtime.socket} (pid {answer['pid']}) is still there after 0")
    assert f"`mux logs` says why; `kill -9 {answer['pid']}` ends it" in str(failed.value)
