"""Another user at either end of the socket, should the directory ever let one in."""

from __future__ import annotations

import json
import signal

from tests.security.support import NOBODY, ask, listening, root_only, started
from tests.support.processes import eventually
from tests.support.runtime import SCRIPTED, Runtime

pytestmark = root_only
SECRET = "canary-7f3a-of-the-peers"


def test_another_user_who_gets_to_our_socket_is_closed_without_an_answer(runtime: Runtime) -> None:
    session = runtime.ready()
    before = [oct(path.stat().st_mode) for path in (runtime.directory.parent, runtime.directory)]
    assert before == ["0o40700", "0o40700"], "that is what keeps others out in the first place"
    runtime.directory.parent.chmod(0o711)
    runtime.directory.chmod(0o711)
    runtime.socket.chmod(0o666)
    try:
        assert ask(runtime, "uid") == ["closed", ""]
        assert ask(runtime, "none") == ["welcome", ""], "the same from our own user"
    finally:
        runtime.directory.chmod(0o700)
        runtime.directory.parent.chmod(0o700)
    log = (runtime.directory / "s.log").read_text()
    assert f'uid={NOBODY} reason="another user"' in log
    assert session.call("echo", text="and on") == "and on"


def test_a_listener_of_another_user_gets_not_a_byte_of_us(runtime: Runtime) -> None:
    with listening(runtime, "uid") as heard:
        session = started(runtime, runtime.shim(*SCRIPTED), API_TOKEN=SECRET)
        session.initialize()
        assert session.pid() == session.child.pid, "the server runs directly"
        assert "served by another user; nothing was sent" in session.stderr
        status = runtime.mux("status", "--socket", str(runtime.socket))
        assert status.returncode != 0
        assert session.finish() == 0
    assert heard["connections"] >= 2
    assert (heard["bytes"], heard["descriptors"]) == (0, 0)


def test_a_session_that_lost_its_backend_sends_nothing_to_another_users(runtime: Runtime) -> None:
    """The journal holds requests, and HELLO the environment: both wait for a backend of ours."""
    session = runtime.ready(environment={"API_TOKEN": SECRET})
    lost = runtime.backend()
    session.kill_group(signal.SIGSTOP)  # it shall not be quicker than the intruder
    lost.kill()
    lost.wait(20)
    runtime.socket.unlink()
    with listening(runtime, "uid") as heard:
        session.kill_group(signal.SIGCONT)
        number = session.begin("tools/list")
        error = session.response(number)["error"]
        assert error["code"] == -31001
        assert "another user" in json.dumps(error)
    assert heard["connections"] >= 1
    assert (heard["bytes"], heard["descriptors"]) == (0, 0)
    eventually("ours is found", lambda: "result" in session.response(session.begin("ping")), seconds=60)
