"""Starting a backend: what its starter learns. What becomes of the backend itself is shown with real starters."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from mux.errors import StartFailed
from mux.rendezvous import spawn
from mux.rendezvous.listener import listen
from mux.rendezvous.lock import try_lock
from mux.rendezvous.paths import Place
from mux.rendezvous.spawn import default_command, start
from tests.rendezvous.conftest import held
from tests.support.processes import eventually


@pytest.fixture
def place(private: Path) -> Place:
    return Place(f"{private}/s.sock")


def said(place: Place, command: Sequence[str], options: Sequence[str] = ()) -> bytes:
    """All that a backend says that is started as `command`."""
    lock, listener = held(Path(place.lock)), listen(place)
    status = start(place, lock, listener.fileno(), command=command, options=options)
    listener.close()
    os.close(lock)
    with open(status, "rb") as pipe:
        found = pipe.read()
    freed = eventually("its lock is free", lambda: try_lock(place.lock))
    assert freed is not None
    os.close(freed)
    return found


def script(text: str) -> list[str]:
    """A program that has its arguments as `given`, and says what it writes to `status`."""
    code = "import os, sys; given = dict(zip(sys.argv[1::2], sys.argv[2::2])); status = int(given['--inherit-status']);"
    return [sys.executable, "-c", code + text]


def test_the_backend_is_this_interpreters_whatever_its_variables_and_directory_say() -> None:
    assert default_command() == [sys.executable, "-E", "-P", "-m", "mux.backend.daemon"]


def test_what_the_backend_says_reaches_its_starter_and_ends_with_it(place: Place) -> None:
    assert said(place, script("os.write(status, b'ok')")) == b"ok"


def test_a_backend_that_dies_says_nothing(place: Place) -> None:
    assert said(place, script("os._exit(1)")) == b""


def test_the_backend_is_told_its_socket_its_descriptors_and_its_options(place: Place) -> None:
    found = said(place, script("os.write(status, repr(given).encode())"), ["--grace", "1"]).decode()
    assert f"'--socket': '{place.socket}'" in found
    assert "'--grace': '1'" in found
    assert "'--inherit-lock'" in found
    assert "'--inherit-listener'" in found


def test_the_backend_holds_the_lock_and_listens(place: Place) -> None:
    code = (
        "import fcntl, socket; lock = int(given['--inherit-lock']); fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB);"
        "sock = socket.socket(fileno=int(given['--inherit-listener']));"
        "os.write(status, sock.getsockname().encode())"
    )
    assert said(place, script(code)) == place.socket.encode()


def test_a_program_that_can_not_be_run_is_told_and_leaves_no_socket(place: Place) -> None:
    assert said(place, ["/nonexistent/python"]) == b"cannot run /nonexistent/python: No such file or directory"
    assert not os.path.exists(place.socket)


def test_without_an_interpreter_nothing_is_started(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(StartFailed, match="the path of this Python interpreter is not known"):
        start(place, 0, 0)


def test_where_no_process_can_be_made_that_is_told_and_nothing_stays_open(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "fork", refused)
    with pytest.raises(StartFailed, match="cannot start a backend: Resource temporarily unavailable"):
        start(place, 0, 0)
    assert os.listdir("/proc/self/fd") == before


def test_of_the_environment_only_what_is_no_sessions_own_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environb", {b"HOME": b"/h", b"TZ": b"UTC", b"PATH": b"/evil", b"TOKEN": b"t"})
    assert b"/evil" not in spawn._GIVEN.values()
    assert spawn._environment() == {b"HOME": b"/h", b"TZ": b"UTC"} | spawn._GIVEN


def test_a_start_that_is_given_up_after_its_starter_has_gone_ends_quietly(place: Place) -> None:
    read, write = os.pipe()
    os.close(read)
    spawn._give_up(place, write, "nobody hears this")
    os.close(write)
