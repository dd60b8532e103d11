"""`mux logs`, and what the backend writes down for it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mux.backend import logs
from mux.wire import frames
from tests.backend.support import Peer
from tests.support.processes import eventually
from tests.support.runtime import SCRIPTED, Runtime, program
from tests.support.session import PATIENCE, Session

LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?P<level>[A-Z]+) (?P<event>[a-z.]+)"
    r"(?P<fields>( [a-z_]+=(\"(\\.|[^\"\\])*\"|[^\s\"]+))*)"
)


@contextmanager
def following(runtime: Runtime, *arguments: str, said: Path) -> Generator[subprocess.Popen[bytes], None, None]:
    argv = [program("mux"), "logs", "-f", "--socket", str(runtime.socket), *arguments]
    with open(said, "wb") as out:
        child = subprocess.Popen(
            argv, env=runtime.environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def leave(session: Session) -> None:
    """As a host ends a server in good order."""
    session.end_input()
    session.child.wait(PATIENCE)


def logged(runtime: Runtime, event: str) -> list[dict[str, str]]:
    """The fields of each line about `event`."""
    done = runtime.mux("logs", "-n", "9999", "--socket", str(runtime.socket))
    found = [LINE.fullmatch(line) for line in done.stdout.splitlines()]
    assert all(found), done.stdout
    return [_fields(match["fields"]) for match in found if match and match["event"] == event]


def _fields(words: str) -> dict[str, str]:
    pairs = re.findall(r"([a-z_]+)=(\"(?:\\.|[^\"\\])*\"|\S+)", words)
    return {name: value.strip('"') for name, value in pairs}


def test_the_life_of_a_session_and_of_its_server_is_one_line_per_event(runtime: Runtime) -> None:
    session = runtime.ready(*SCRIPTED, "--name", "s3cr3t-argument", environment={"TOKEN": "s3cr3t-value"})
    session.call("echo", text="s3cr3t-payload")
    pid = session.pid()
    leave(session)
    runtime.expect_empty()
    (opened,), (joined,), (closed,) = (logged(runtime, f"session.{what}") for what in ("opened", "joined", "closed"))
    assert (opened["pid"], opened["server"], opened["cwd"]) == (
        str(session.child.pid),
        "scripted.py",
        str(runtime.project),
    )
    assert (joined["session"], joined["upstream"], joined["host"]) == (opened["session"], "1", "raw")
    assert (closed["session"], closed["reason"]) == (opened["session"], "its host closed its end")
    (started,), (ready,), (exited,) = (logged(runtime, f"upstream.{what}") for what in ("started", "ready", "exited"))
    assert (started["pid"], started["generation"], ready["era"]) == (str(pid), "1", "legacy")
    assert (exited["code"], exited["asked"]) == ("0", "true")
    assert len(logged(runtime, "upstream.unused")) == len(logged(runtime, "backend.left")) == 1
    assert "s3cr3t" not in (runtime.directory / "s.log").read_text()


def test_how_a_session_ended_is_told_apart(runtime: Runtime) -> None:
    keeper, killed = runtime.ready(), runtime.ready()
    killed.child.send_signal(signal.SIGKILL)
    eventually("its end is noticed", lambda: logged(runtime, "session.closed"))
    assert logged(runtime, "session.closed")[0]["reason"] == "its shim has ended"
    leave(keeper)
    runtime.expect_empty()
    assert logged(runtime, "session.closed")[1]["reason"] == "its host closed its end"


def test_a_death_has_its_cause_and_what_follows(runtime: Runtime) -> None:
    session = runtime.ready()
    session.response(session.begin_call("crash"))
    eventually("a death is logged", lambda: logged(runtime, "upstream.died"))
    (exited,), (died,) = logged(runtime, "upstream.exited"), logged(runtime, "upstream.died")
    assert (exited["signal"], exited["asked"]) == ("SIGKILL", "false")
    assert (died["upstream"], died["state"]) == ("1", "backoff")
    session.call("echo", text="again")
    assert [entry["generation"] for entry in logged(runtime, "upstream.started")] == ["1", "2"]


def test_a_server_that_does_not_start_and_a_session_that_is_refused_have_their_reasons(runtime: Runtime) -> None:
    session = runtime.session(str(runtime.directory / "nothing-here"))
    session.response(session.begin("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}}))
    (failed,) = logged(runtime, "upstream.not.started")
    assert "not found" in failed["reason"]
    peer = Peer(str(runtime.socket))
    peer.hello(argv=[b"sh"], options=[b"scope=odd"])
    peer.until(frames.REFUSE)
    peer.close()
    (refused,) = logged(runtime, "connection.refused")
    assert (refused["pid"], "odd" in refused["reason"]) == (str(os.getpid()), True)


def test_an_idle_stop_and_a_question_without_an_owner_are_logged(runtime: Runtime) -> None:
    one, two = (runtime.ready(options=["--idle-timeout", "0.3"]) for _ in range(2))
    calls = [session.begin_call("ask", method="elicitation/create") for session in (one, two)]
    for session, call in zip((one, two), calls, strict=True):
        session.response(call)
    assert logged(runtime, "upstream.idle") or eventually("it idles", lambda: logged(runtime, "upstream.idle"))


def test_a_field_with_blanks_or_worse_is_quoted_and_stays_on_its_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "mux.backend"):
        logs.event("info", "x.y", plain="a/b:1", blank="a b", line="a\nb", turned="a\u202eb", none=None, truth=True)
    assert caplog.messages == ['x.y plain=a/b:1 blank="a b" line="a\\nb" turned="a\\u202eb" truth=true']


def test_the_foreground_shows_the_same_readably(runtime: Runtime) -> None:
    said = runtime.directory / "said"
    with open(said, "wb") as out:
        backend = subprocess.Popen(
            [program("mux-backend"), "--foreground", "--socket", str(runtime.socket), "--grace", "0.3"],
            env=runtime.environment,
            stderr=out,
            stdin=subprocess.DEVNULL,
        )
    eventually("it serves", lambda: "serving" in said.read_text())
    runtime.ready().close()
    assert runtime.mux("logs", "--socket", str(runtime.socket)).returncode == 1 or backend.poll() is not None
    assert backend.wait(30) == 0
    (line,) = [line for line in said.read_text().splitlines() if "session.opened" in line]
    assert re.match(r"\d\d:\d\d:\d\d    session\.opened +session=1 pid=\d+ ", line)
    assert "\x1b" not in said.read_text()


def test_the_stderr_of_a_server_is_found_by_number_and_by_name_over_its_restarts(runtime: Runtime) -> None:
    session = runtime.ready(*SCRIPTED, "--name", "talker")
    session.call("stderr", text="first words")
    session.response(session.begin_call("crash"))
    session.call("stderr", text="second life")
    for word in ("1", "talker", "SCRIPTED"):
        done = runtime.mux("logs", word, "--socket", str(runtime.socket))
        assert done.stdout == "first words\nsecond life\n", done.stderr
    assert runtime.mux("logs", "-n", "1", "1", "--socket", str(runtime.socket)).stdout == "second life\n"


@pytest.mark.parametrize(
    ("word", "code", "said"),
    [
        ("9", 2, "there is no server 9. These run:"),
        ("nobody", 2, "no server is called 'nobody'. These run:"),
        ("scripted", 2, "'scripted' fits 2 servers. These run:"),
        ("1", 1, "has written nothing to its stderr"),
    ],
)
def test_a_server_that_is_not_clear_is_asked_for_with_those_that_run(
    runtime: Runtime, word: str, code: int, said: str
) -> None:
    runtime.ready()
    runtime.ready(options=["--no-share"])
    done = runtime.mux("logs", word, "--socket", str(runtime.socket))
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    if code == 2:
        assert done.stderr.count("scripted.py  in ") == 2


@pytest.mark.parametrize(("words", "said"), [([], "there is no log yet"), (["1"], "no backend is running")])
def test_without_a_backend_it_says_so(runtime: Runtime, words: list[str], said: str) -> None:
    done = runtime.mux("logs", *words, "--socket", str(runtime.socket))
    assert done.returncode == 1
    assert said in done.stderr


def test_following_goes_on_in_the_next_file(runtime: Runtime) -> None:
    path, said = runtime.directory / "s.log", runtime.directory / "said"
    path.write_text("one\n")
    with following(runtime, said=said):
        eventually("it has begun", lambda: said.read_text() == "one\n")
        with open(path, "a") as file:
            file.write("two\n")
        eventually("it goes on", lambda: said.read_text() == "one\ntwo\n")
        with open(path, "a") as file:
            file.write("three\n")
            os.rename(path, f"{path}.1")
            file.write("four\n")
        path.write_text("five\n")
        eventually("it is in the next file", lambda: said.read_text() == "one\ntwo\nthree\nfour\nfive\n")


def test_following_a_server_ends_with_its_backend(runtime: Runtime) -> None:
    session = runtime.ready()
    session.call("stderr", text="words")
    said = runtime.directory / "said"
    with following(runtime, "1", said=said) as child:
        eventually("it has begun", lambda: said.read_text() == "words\n")
        session.close()
        assert child.wait(30) == 0
    assert "the backend has left" in said.read_text()


def test_the_last_lines_come_from_the_files_before_too(runtime: Runtime) -> None:
    path = runtime.directory / "s.log"
    for name, lines in ((f"{path}.2", "a\nb\n"), (f"{path}.1", "c\n"), (str(path), "d\ne\n")):
        Path(name).write_text(lines)
    asked: dict[int, Any] = {n: runtime.mux("logs", "-n", str(n), "--socket", str(runtime.socket)) for n in (0, 3, 9)}
    assert {n: done.stdout.split() for n, done in asked.items()} == {0: [], 3: list("cde"), 9: list("abcde")}
