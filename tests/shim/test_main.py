"""The command line, and the direct run where sharing is impossible."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mux import __version__
from mux.config.values import seconds
from mux.errors import UsageError
from mux.shim.main import parse
from tests.shim.conftest import SHIM, Bench, finish

ROOT = Path(__file__).parents[2]
STATE = "grep -E '^(SigIgn|SigBlk)' /proc/self/status; umask; env | grep ^MUX_; pwd; echo $$; cat"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SHIM, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "options", "command"),
    [
        (["server"], {}, ["server"]),
        (["server", "--grace", "5", "--"], {}, ["server", "--grace", "5", "--"]),
        (["--", "server", "--"], {}, ["server", "--"]),
        (["--", "--odd"], {}, ["--odd"]),
        (["--grace", "5", "--socket=/x/y", "s"], {"grace": "5", "socket": "/x/y"}, ["s"]),
        (["--grace=15m", "--grace=1h", "s"], {"grace": "3600"}, ["s"]),
        (["--idle-timeout=0", "--no-share", "s"], {"idle-timeout": "0", "no-share": "1"}, ["s"]),
        (["--scope", "project", "--fallback=error", "s"], {"scope": "project", "fallback": "error"}, ["s"]),
        (["--socket", "--", "s"], {"socket": "--"}, ["s"]),
    ],
)
def test_options_stand_before_the_command_and_all_behind_it_is_its_own(
    arguments: list[str], options: dict[str, str], command: list[str]
) -> None:
    assert parse(arguments) == (options, command)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no COMMAND"),
        (["--grace", "5"], "no COMMAND"),
        (["--"], "no COMMAND"),
        (["--frobnicate", "s"], "unknown option --frobnicate"),
        (["-x", "s"], "unknown option -x"),
        (["-", "s"], "unknown option -"),
        (["--grace"], "needs a value"),
        (["--grace", "soon", "s"], "30, 90s or 15m"),
        (["--scope=galaxy", "s"], "directory or project or user or session"),
        (["--fallback=", "s"], "direct or error"),
        (["--no-share=1", "s"], "takes no value"),
        (["--socket=", "s"], "path or a name"),
    ],
)
def test_a_wrong_command_line_says_what_would_be_right(arguments: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse(arguments)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30", "30"),
        ("0", "0"),
        ("90s", "90"),
        ("15m", "900"),
        ("1h", "3600"),
        ("0.5", "0.5"),
        ("1.5m", "90"),
        ("007", "7"),
    ],
)
def test_times_come_out_in_seconds(text: str, value: str) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "-1", "s", "1d", "1e3", "nan", "inf", "1.2.3", " 1", "٣", "."])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        seconds(text)


def test_help_and_version_are_answered_before_anything_is_touched() -> None:
    assert run("--version").stdout == f"mux-shim {__version__}\n"
    shown = run("--socket", "/nonexistent/x", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("usage: mux-shim")


def test_a_usage_error_goes_to_stderr_with_code_2() -> None:
    done = run("--frobnicate", "server")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown option --frobnicate" in done.stderr
    assert "--help" in done.stderr


# --- the direct run ---------------------------------------------------------------------------


def test_where_the_mux_can_not_serve_the_server_takes_the_process_over_with_the_state_it_was_given(
    bench: Bench,
) -> None:
    bench.directory.chmod(0o755)
    environment = {"MUX_GRACE": "5", "MUX_INSIDE": "above", "MUX_FAILPOINTS": "exit.closed=delay:0"}
    shim = bench.shim("sh", "-c", STATE, environment=environment, cwd="/usr", umask=0o31)
    assert shim.stdin is not None
    shim.stdin.write(b"not a byte of this was read before\n")
    code, out, err = finish(shim)
    direct = subprocess.run(
        ["sh", "-c", STATE],
        env=bench.environment,
        input=b"",
        capture_output=True,
        check=True,
        timeout=30,
        cwd="/usr",
        umask=0o31,
    )
    theirs = out.decode().splitlines()
    expected = direct.stdout.decode().splitlines()
    inside = theirs.index("MUX_INSIDE=above")
    assert theirs.pop() == "not a byte of this was read before"
    assert theirs.pop() == str(shim.pid)
    theirs.pop(inside)
    assert theirs == expected[:-1]
    assert code == 0
    assert err.decode().startswith("mux-shim: running sh directly, not shared: ")
    assert err.count(b"\n") == 1


def test_an_ignored_sigint_is_still_ignored_by_the_server(bench: Bench) -> None:
    bench.directory.chmod(0o755)
    shim = bench.shim(
        *("sh", "-c", "grep SigIgn /proc/self/status"),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    ignored = int(finish(shim)[1].split()[1], 16)
    assert ignored == 1 << (signal.SIGINT - 1)


def test_the_exit_code_of_a_direct_server_is_the_shim_s(bench: Bench) -> None:
    bench.directory.chmod(0o755)
    assert finish(bench.shim("sh", "-c", "exit 7"))[0] == 7


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [("/nonexistent/server", 127, b"command not found"), ("/etc/hostname", 126, b"cannot be run")],
)
def test_a_command_that_can_not_be_run_directly_is_named(bench: Bench, command: str, code: int, says: bytes) -> None:
    bench.directory.chmod(0o755)
    done, out, err = finish(bench.shim(command))
    assert (done, out) == (code, b"")
    assert says in err


def test_with_fallback_error_the_server_is_not_started(bench: Bench) -> None:
    bench.directory.chmod(0o755)
    code, out, err = finish(bench.shim("--fallback=error", "/bin/echo", "run directly"))
    assert (code, out) == (1, b"")
    assert b"open to others" in err
    assert err.count(b"\n") == 1


def test_a_malformed_variable_is_named_and_ignored(bench: Bench) -> None:
    bench.directory.chmod(0o755)
    code, out, err = finish(bench.shim("/bin/echo", "ran", environment={"MUX_GRACE": "soon", "MUX_SCOPE": ""}))
    assert (code, out) == (0, b"ran\n")
    assert b"MUX_GRACE is ignored" in err
    assert err.count(b"\n") == 2


def test_a_vanished_working_directory_means_a_direct_run(bench: Bench) -> None:
    gone = bench.directory / "gone"
    gone.mkdir()
    code, out, err = finish(bench.shim("/bin/echo", "ran", cwd=gone, preexec_fn=gone.rmdir))
    assert (code, out) == (0, b"ran\n")
    assert b"working directory is gone" in err


@pytest.mark.parametrize(("program", "code"), [("import sys; sys.exit(7)", 7), ("print('from the server')", 0)])
def test_on_windows_the_server_is_run_directly_with_one_line(program: str, code: int) -> None:
    pretend = (
        "import sys, subprocess; sys.platform = 'win32'\n"
        "for name in ('fcntl', 'resource', 'pwd', 'termios'): sys.modules[name] = None\n"
        "from mux.shim.main import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", pretend, "--grace", "5", sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == code
    assert done.stdout == ("" if code else "from the server\n")
    assert done.stderr.count("\n") == 1
    assert "directly" in done.stderr
