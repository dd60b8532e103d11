"""`mux doctor`: each thing that can be wrong, made wrong, and found."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from pathlib import Path

import pytest

from mux.backend import reap
from mux.cli import checks
from mux.cli.main import main
from mux.rendezvous import failure
from mux.rendezvous.paths import Place
from tests.support.processes import eventually, running
from tests.support.runtime import SCRIPTED, Runtime, program


def examine(runtime: Runtime) -> tuple[int, list[str]]:
    """The exit code, and each finding with its advice as one line; but for processes of other tests and their runs."""
    done = runtime.mux("doctor", "--socket", str(runtime.socket))
    assert not done.stderr, done.stderr
    lines = done.stdout.replace("\n                        →", "  →").splitlines()
    return done.returncode, [line for line in lines if "no backend is known of" not in line]


def finding(lines: list[str], *words: str) -> str:
    """The one line with all those words."""
    found = [line for line in lines if all(word in line for word in words)]
    assert len(found) == 1, "\n".join(lines)
    return found[0]


def bad(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(("warning", "error"))]


@pytest.fixture
def well(runtime: Runtime) -> Runtime:
    """With mux-shim on PATH, as after an installation."""
    runtime.environment["PATH"] = f"{Path(program('mux')).parent}:{os.environ['PATH']}"
    return runtime


def test_where_all_is_well_it_says_so(well: Runtime) -> None:
    code, lines = examine(well)
    assert code == 0
    assert not bad(lines)
    assert "the first session starts one" in finding(lines, "ok", "none runs")
    assert not well.lock.exists()


def test_a_backend_that_runs_is_named_with_what_it_serves(well: Runtime) -> None:
    well.ready().call("echo", text="x")
    code, lines = examine(well)
    assert code == 0
    assert "1 session, 1 server" in finding(lines, "ok", "backend", f"pid {well.backend().pid}")


def test_a_mux_shim_that_is_not_on_path_is_a_warning(runtime: Runtime) -> None:
    runtime.environment["PATH"] = "/usr/bin:/bin"
    code, lines = examine(runtime)
    assert code == 0
    assert "put " in finding(lines, "warning", "not on PATH")
    assert len(bad(lines)) == 1
    assert "warning" in lines[-1]


def test_a_directory_that_others_can_enter_is_an_error_with_the_way_out(runtime: Runtime) -> None:
    runtime.directory.chmod(0o755)
    code, lines = examine(runtime)
    runtime.directory.chmod(0o700)
    assert code == 1
    assert f"`chmod 700 {runtime.directory}`" in finding(lines, "error", "open to others")


def test_a_backend_of_another_version_is_a_warning(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime.ready()
    monkeypatch.setattr(checks, "__version__", "99.0")
    (found,) = [
        entry for entry in checks.backend(Place(str(runtime.socket)), set(), ours=True) if entry.subject == "backend"
    ]
    assert found.level == "warning"
    assert "this is 99.0" in found.fact
    assert "`mux restart`" in found.advice


def test_a_server_that_does_not_start_is_found_with_its_last_words(runtime: Runtime) -> None:
    session = runtime.session(*SCRIPTED, "--die-at-start", "3")
    session.response(session.begin("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}}))
    _, lines = examine(runtime)
    assert "`mux logs 1` has its stderr" in finding(lines, "scripted.py", "exited with code 3", "there is no database")


def test_a_failed_start_is_an_error_with_its_reason(runtime: Runtime) -> None:
    failure.write(str(runtime.socket.with_suffix(".fail")), "no space left on device")
    code, lines = examine(runtime)
    assert code == 1
    assert "ago: no space left on device" in finding(lines, "error", "backend")


def test_a_lock_that_somebody_holds_without_listening_is_an_error(runtime: Runtime) -> None:
    with open(runtime.lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, lines = examine(runtime)
    assert code == 1
    assert "nobody listens" in finding(lines, "error", "backend", str(runtime.lock))


def test_what_a_killed_backend_leaves_is_a_warning(runtime: Runtime) -> None:
    session = runtime.ready()
    child = int(session.call("spawn", detached=True))
    backend = runtime.backend()
    session.child.kill()
    session.child.wait()
    backend.kill()
    backend.wait()
    eventually("the server is gone", lambda: not runtime.servers("scripted.py"))
    assert running(child)
    code, lines = examine(runtime)
    assert code == 0
    assert f"`mux prune --socket {runtime.socket} --yes`" in finding(lines, "warning", f"has left {child} running")
    assert "the next start replaces it" in finding(lines, "warning", "leftover", "its backend was killed")
    runtime.ready()
    eventually("the next start has cleaned up", lambda: not running(child))


def test_a_damaged_record_is_a_warning(runtime: Runtime) -> None:
    runtime.lock.touch(0o600)
    runtime.record.write_text("{")
    code, lines = examine(runtime)
    runtime.record.unlink()
    assert code == 0
    assert "damaged" in finding(lines, "warning", "leftover")


def test_errors_in_the_log_of_the_last_day_are_counted(runtime: Runtime) -> None:
    line = "2999-01-01T00:00:00.000Z ERROR socket.lost socket=x\n"
    (runtime.directory / "s.log").write_text(line.replace("2999", "1999") + line * 2)
    _, lines = examine(runtime)
    assert "2 errors in the last day, at last 2999" in finding(lines, "warning", "log")


def test_the_files_of_hosts_are_read(well: Runtime) -> None:
    servers = {
        "good": {"command": program("mux-shim"), "args": ["sh"]},
        "gone": {"command": "/nowhere/mux-shim", "args": ["sh"]},
        "odd": {"command": "mux-shim", "args": ["--no-such-option", "sh"]},
        "missing": {"command": "mux-shim", "args": ["no-such-program"]},
        "plain": {"command": "sh"},
    }
    (well.home / ".claude.json").write_text(json.dumps({"mcpServers": servers}))
    (well.home / ".codex").mkdir()
    (well.home / ".codex" / "config.toml").write_text("[a\n")
    code, lines = examine(well)
    assert code == 1
    assert "`mux install --yes`" in finding(lines, "error", "Claude Code", "gone", "/nowhere/mux-shim is not there")
    assert "unknown option" in finding(lines, "error", "Claude Code", "odd")
    assert "no no-such-program on PATH" in finding(lines, "warning", "Claude Code", "missing")
    assert "4 of 5 servers shared; `mux install` would share plain" in finding(lines, "ok", "Claude Code")
    assert "line 1, column 3" in finding(lines, "error", "Codex")
    assert not any(": good" in line for line in lines)


def test_a_setting_that_does_not_count_is_a_warning(well: Runtime) -> None:
    (well.home / ".config" / "mux").mkdir(parents=True)
    (well.home / ".config" / "mux" / "config.toml").write_text('grace = "soon"\n')
    well.environment.pop("XDG_CONFIG_HOME", None)
    _, lines = examine(well)
    assert "grace" in finding(lines, "warning", "settings", "soon")


def test_few_open_files_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 256))
    found = next(iter(checks.machine()))
    assert (found.level, found.subject) == ("warning", "open files")
    assert "room for about 27 sessions" in found.fact


def test_a_sandbox_without_sockets_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def forbidden() -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("mux.rendezvous.sockets.unix_stream", forbidden)
    found = next(iter(checks.directories([])))
    assert (found.level, "forbidden" in found.fact) == ("error", True)


def test_on_windows_it_says_that_nothing_is_shared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    assert main(["doctor"]) == 0
    assert "on Windows every server runs directly" in capsys.readouterr().out


def test_a_process_of_a_server_whose_backend_nobody_knows_is_a_warning() -> None:
    environment = {**os.environ, reap.MARK.decode(): "a-mark-of-its-own"}
    with subprocess.Popen(["sleep", "100"], env=environment) as child:
        try:
            (found,) = [entry for entry in checks.strays(set()) if "a-mark-of-its-own" in entry.fact]
            assert (found.level, f" {child.pid}, " in found.fact) == ("warning", True)
            assert not [entry for entry in checks.strays({child.pid}) if "a-mark-of-its-own" in entry.fact]
        finally:
            child.kill()
