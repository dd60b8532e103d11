"""`mux status`: its screen, its JSON and the schema of that, and that what it claims to save is true."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from mux import __version__
from mux.backend import memory
from mux.backend.state import Backend, Memory, Other, Saving, Session, State, Upstream
from mux.cli import backends, screen
from mux.cli.main import main
from mux.cli.screen import View
from mux.errors import MuxError
from mux.limits import IDLE_SECONDS
from tests.support.runtime import SCRIPTED, Runtime

MEGA = 1_000_000
BACKEND = Backend(__version__, 100, 75.0, Memory(30 * MEGA, 20 * MEGA, 18 * MEGA, 17 * MEGA), "/run/mux-1.sock")
UPSTREAM = Upstream(
    id=1,
    command=["npx", "-y", "a-server", "two words"],
    cwd="/home/me/project",
    pid=101,
    state="ready",
    uptime_seconds=70,
    generation=3,
    sessions=2,
    in_flight=3,
    waiting=4,
    memory=Memory(80 * MEGA, 75 * MEGA, 61 * MEGA, 40 * MEGA),
    scope="directory",
    scope_reason="by default",
)
SESSION = Session(7, 200, __version__, "opencode", "1.18", "/home/me/project", 3, 0, 5.0, 1)
STATE = State(BACKEND, Saving(), [UPSTREAM], [SESSION])


def shown(state: State, view: View | None = None) -> str:
    return "\n".join(screen.lines(state, view or View(home="/home/me")))


def with_upstream(**fields: Any) -> str:
    return shown(msgspec.structs.replace(STATE, upstreams=[msgspec.structs.replace(UPSTREAM, **fields)]))


def test_the_screen_says_what_runs_for_whom_and_what_it_costs() -> None:
    said = shown(STATE)
    for word in (
        "pid 100",
        "1m15s",
        "18.0 MB",
        "/run/mux-1.sock",
        "npx -y a-server 'two words'",
        "61.0 MB",
        "~/project",
    ):
        assert word in said
    (row,) = [line.split() for line in said.splitlines() if " a-server " in line and "npx" not in line]
    assert row == ["1", "a-server", "ready", "2", "3", "4", "61.0", "MB", "1m10s", "2", "101"]
    assert "shared in one directory, by default" in said
    (row,) = [line.split() for line in said.splitlines() if "opencode" in line]
    assert row == ["7", "opencode", "1.18", "200", "1", "3", "0", "5s", "-", "~/project"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"turns": True}, "calls of different sessions take turns"),
        ({"dropped": 1}, "1 message of it belonged to no session"),
        ({"last_error": "it exited with code 3.\nno database"}, "last failure: it exited with code 3. | no database"),
        ({"apart": "it says so"}, "no other session joins it: it says so"),
        ({"clients": "any"}, "one for clients of every kind"),
        ({"era_only": "legacy"}, "legacy sessions only"),
        ({"idle_seconds": 90.0, "idle_timeout_seconds": 900.0}, "idle for 1m30s · stops after 15m00s of idleness"),
        ({"scope": "user", "scope_reason": "asked for by --scope"}, "shared by all sessions of the user, asked for by"),
    ],
)
def test_what_is_special_about_a_server_stands_below_it(fields: dict[str, Any], said: str) -> None:
    assert said in with_upstream(**fields)
    assert said not in with_upstream()


@pytest.mark.parametrize(
    ("saving", "said"),
    [
        (Saving(0, 0, 25 * MEGA, -25 * MEGA), "No server is used by two sessions; backend and 1 shim take 25.0 MB."),
        (
            Saving(25, 900 * MEGA, 130 * MEGA, 770 * MEGA),
            "Sharing saves 770.0 MB now: 25 more servers would take 900.0 MB, backend and 1 shim take 130.0 MB.",
        ),
        (
            Saving(1, 5 * MEGA, 25 * MEGA, -20 * MEGA),
            "Sharing costs 20.0 MB now: 1 more server would take 5.0 MB, backend and 1 shim take 25.0 MB.",
        ),
    ],
)
def test_what_sharing_saves_is_said_also_where_it_costs(saving: Saving, said: str) -> None:
    assert said in shown(msgspec.structs.replace(STATE, saving=saving))


def test_what_an_idle_time_out_would_free_is_said_where_there_is_none() -> None:
    said = "--idle-timeout 15m would free 61.0 MB: server 1 has been idle for longer."
    assert said in with_upstream(idle_seconds=IDLE_SECONDS)
    assert "would free" not in with_upstream(idle_seconds=IDLE_SECONDS - 1)
    assert "would free" not in with_upstream(idle_seconds=None)
    assert "would free" not in with_upstream(idle_seconds=IDLE_SECONDS, idle_timeout_seconds=3600.0)


def test_a_backend_of_another_version_is_noticed() -> None:
    older = msgspec.structs.replace(BACKEND, version="0.0.1")
    assert "the backend mux 0.0.1: `mux restart`" in shown(msgspec.structs.replace(STATE, backend=older))


def test_other_backends_are_mentioned() -> None:
    others = [Other("/run/a.sock", 5, "0.1.0", 3, 1), Other("/run/b.sock", error="it does not answer")]
    said = shown(msgspec.structs.replace(STATE, others=others))
    assert "pid 5, 3 sessions, 1 server: `mux status --socket /run/a.sock`" in said
    assert "/run/b.sock (it does not answer)" in said


def test_no_line_is_longer_than_the_terminal_and_colour_is_not_counted() -> None:
    plain, coloured = shown(STATE, View(60)), shown(STATE, View(60, colour=True))
    assert max(map(len, plain.splitlines())) <= 60
    for code in ("0", *screen._CODES.values()):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured == plain


def test_neither_a_host_nor_a_server_can_write_to_the_terminal() -> None:
    session = msgspec.structs.replace(SESSION, host="\x1b[2J", version="\n", cwd="/a\nb")
    upstream = msgspec.structs.replace(UPSTREAM, command=["\x1b]0;x\x07"], last_error="\x1b[2J", scope="\x1b")
    said = shown(msgspec.structs.replace(STATE, sessions=[session], upstreams=[upstream]))
    assert "\x1b" not in said
    assert "/a?b" in said


def test_what_a_backend_does_not_send_is_no_error() -> None:
    assert "mux" in shown(backends.read({"backend": {}, "upstreams": [{}], "sessions": [{"unknown": 1}]}))


def test_an_answer_that_means_nothing_names_both_versions_and_the_way_out() -> None:
    with pytest.raises(MuxError, match=r"the backend is mux 9\.9 .*`mux restart`"):
        backends.read({"backend": {"version": "9.9"}, "upstreams": 5})


def test_no_backend_is_a_sentence_and_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o700)
    assert main(["status", "--socket", f"{tmp_path}/x.sock"]) == 0
    assert capsys.readouterr().out.startswith(f"No backend is running at {tmp_path}/x.sock.")
    assert list(tmp_path.iterdir()) == []


def test_no_backend_is_null_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o700)
    assert main(["status", "--json", "--socket", f"{tmp_path}/x.sock"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["backend"], found["upstreams"], found["sessions"]) == (None, [], [])


def test_a_directory_that_is_open_to_others_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o755)
    assert main(["status", "--socket", f"{tmp_path}/x.sock"]) == 1
    assert "open to others" in capsys.readouterr().err


def test_the_json_is_what_its_schema_says_and_every_field_is_documented(runtime: Runtime) -> None:
    for number in range(3):
        runtime.ready().call("echo", text=str(number))
    runtime.ready(*SCRIPTED, "--name", "own", options=["--no-share"])
    found = runtime.status()
    schema = json.loads(runtime.mux("status", "--schema").stdout)
    jsonschema.validate(found, schema)
    for part, kind in (("backend", Backend), ("saving", Saving)):
        assert set(found[part]) == set(kind.__struct_fields__)
        assert schema["$defs"][kind.__name__]["description"]
    assert {frozenset(entry) for entry in found["upstreams"]} == {frozenset(Upstream.__struct_fields__)}
    assert {frozenset(entry) for entry in found["sessions"]} == {frozenset(Session.__struct_fields__)}
    saving = found["saving"]
    assert saving["copies"] == 2
    assert saving["saved_bytes"] == saving["copies_bytes"] - saving["own_bytes"]


def test_the_screen_of_a_real_backend_names_all_and_no_secret(runtime: Runtime) -> None:
    one = runtime.ready(environment={"API_TOKEN": "s3cr3t-value"})
    call = one.begin_call("sleep", seconds=1)
    done = runtime.mux("status", "--socket", str(runtime.socket))
    one.text(call)
    assert done.returncode == 0, done.stderr
    for word in (str(runtime.socket), "scripted.py", str(one.child.pid), "raw 1"):
        assert word in done.stdout
    assert "\x1b" not in done.stdout
    assert "s3cr3t-value" not in done.stdout


def test_a_further_copy_takes_what_status_says_it_would(runtime: Runtime) -> None:
    """So the saving is none that was never there: pages of the program's files are shared by its copies anyway."""

    def weight(sessions: list[Any]) -> int:
        found = memory.weigh(session.child.pid for session in sessions)
        assert found is not None
        return found.private if found.pss is None else found.pss

    copies = [runtime.ready(mode="direct")]
    first = memory.weigh([copies[0].child.pid])
    assert first is not None
    one = weight(copies)
    copies += [runtime.ready(mode="direct") for _ in range(5)]
    growth = (weight(copies) - one) / 5
    assert first.copy <= 1.25 * growth


def test_memory_of_a_process_that_is_gone_is_nothing() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert memory.weigh([child.pid]) is None
