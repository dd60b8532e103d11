"""Where there is no fork, no flock and no descriptor passing, the shim still runs the server."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.runtime import SCRIPTED, Runtime

MISSING = ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty", "_posixsubprocess")
PRETEND = """
import subprocess, sys
for name in {missing!r}:
    sys.modules[name] = None
import os, select, signal, socket
sys.platform = "win32"
for module, names in {{
    os: ("fork", "forkpty", "geteuid", "getuid", "getpgid", "killpg", "mkfifo", "setsid", "environb", "confstr"),
    select: ("epoll", "poll"),
    signal: ("SIGHUP", "SIGKILL", "SIGPIPE", "SIGXFSZ", "pthread_sigmask"),
    socket: ("AF_UNIX", "SO_PEERCRED", "socketpair"),
}}.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
from mux.shim.main import main
sys.argv[0] = "mux-shim"
raise SystemExit(main())
"""


def pretended(runtime: Runtime, *command: str, said: str = "") -> subprocess.CompletedProcess[str]:
    code = PRETEND.format(missing=MISSING)
    return subprocess.run(
        [sys.executable, "-c", code, "--socket", str(runtime.socket), *command],
        env=runtime.environment,
        cwd=runtime.project,
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_on_windows_the_server_runs_directly_with_one_line_on_stderr(runtime: Runtime) -> None:
    asked = '{"jsonrpc":"2.0","id":5,"method":"ping"}\n'
    done = pretended(runtime, *SCRIPTED, said=asked)
    assert done.stdout == '{"jsonrpc": "2.0", "id": 5, "result": {}}\n'
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "directly" in done.stderr
    assert done.returncode == 0
    assert not runtime.socket.exists()


@pytest.mark.parametrize("code", [0, 3])
def test_on_windows_the_exit_code_is_the_servers(runtime: Runtime, code: int) -> None:
    assert pretended(runtime, sys.executable, "-c", f"raise SystemExit({code})").returncode == code


def test_on_windows_a_command_that_does_not_exist_is_named(runtime: Runtime) -> None:
    done = pretended(runtime, "no-such-command")
    assert done.returncode == 127
    assert "no-such-command" in done.stderr
    assert "Traceback" not in done.stderr


def test_on_windows_options_are_checked_all_the_same(runtime: Runtime) -> None:
    done = pretended(runtime, "--no-such-option", "x")
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr
