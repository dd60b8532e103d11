"""Every message that a person can meet says what happened, to what, and the next step. `pytest -s` prints them all."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mux import limits
from mux.backend import daemon
from mux.cli import main as cli
from mux.core import faults
from mux.errors import RendezvousError
from tests.support.runtime import SCRIPTED, Runtime, program
from tests.support.session import PATIENCE

ROOT = Path(__file__).parents[2]

# --- in the source: none is forgotten ---------------------------------------------------------------------------------

WITH_DOCTOR = {
    *("AttachTimeout", "Denied", "NoBackend", "PathTooLong", "RendezvousError", "StartFailed", "Stopped"),
    *("UnsafePath", "failed", "unusable", "_deny"),
}
"""Whoever prints one of these adds "`mux doctor` says what to do", as is proven below."""

PLAIN = {"ArgumentTypeError", "Finding", "LaunchFailed", "MuxError", "Refused", "UsageError", "_complain", "_failed"}

STEP = re.compile(
    r"`|--[a-z]|\{(_DOCTOR|advice|hint|_choice[^}]*)\}|\b(next start|first session|next session)\b"
    r"|\b([Aa]llow|[Cc]hange|[Cc]lose|[Ii]nstall|[Ll]et|[Mm]ake|[Mm]end|[Nn]ame|[Pp]ut|[Rr]aise|[Rr]ead|[Rr]emove|[Rr]epeat"
    r"|[Rr]un|[Ss]ave|[Ss]et|[Ww]rite|please report)\b"
)
RULE = re.compile(r"\b(is|is none of|needs|takes|must|is not|neither|stand|lists) ")
"""A wrong word is answered with the rule that it breaks: that is the step."""

NO_STEP = {
    "no command to run": "no shim says that",
    "this backend can not say": "only a backend of the tests can not",
    "there is no backend on Windows yet: mux-shim runs each server directly": "there is nothing to do",
    "on Windows mux-shim shares nothing yet, so nothing is installed there": "there is nothing to do",
    "running {command[0]} directly, not shared: the multiplexer does not share on Windows yet": "nothing to do",
    "hides the processes of others (hidepid) → nothing to do: only leftovers of other users stay unseen": "it says so",
    "no backend is running at {self._place.socket}": "inside `mux demo` only, which says what it did",
    "the backend at {self._place.socket} serves {served} sessions, not {sessions}": "the same",
}
"""Messages without a next step, and why they need none."""


class Source(NamedTuple):
    """A message where it is written. level: of a Finding."""

    place: str
    kind: str
    text: str
    level: str


def sources() -> Iterator[Source]:
    for path in sorted((ROOT / "mux").rglob("*.py")):
        place = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                kind = ast.unparse(node.func).rpartition(".")[2]
                if kind in PLAIN | WITH_DOCTOR and (text := _template(_message(kind, node))):
                    yield Source(f"{place}:{node.lineno}", kind, text, ast.unparse(node.args[0]))


def _message(kind: str, call: ast.Call) -> ast.expr:
    """Its argument that is the sentence."""
    if kind == "Finding":
        return ast.Tuple(elts=call.args[2:])
    if kind in ("_deny", "_failed") and len(call.args) > 1:
        return call.args[1]
    return call.args[0]


def _template(node: ast.expr) -> str:
    """The text with its variable parts in braces; nothing if it has no words of its own."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(
                str(part.value) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"  # type: ignore[attr-defined]
                for part in parts
            )
        case ast.BinOp(left=left, right=right):
            return _template(left) + _template(right)
        case ast.Tuple(elts=elements):
            return " → ".join(filter(None, map(_template, elements)))
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return f"{{{name}}}"
        case _:
            return ""


def _has_words(source: Source) -> bool:
    return bool(re.search(r"[a-z]{3}", re.sub(r"\{[^}]*\}", "", source.text)))


def _is_well(source: Source) -> bool:
    return source.kind == "Finding" and source.level == "OK"


def _has_step(source: Source) -> bool:
    if source.kind in WITH_DOCTOR or STEP.search(source.text):
        return True
    return source.kind in ("UsageError", "ArgumentTypeError") and RULE.search(source.text) is not None


def test_each_message_of_the_source_says_the_next_step() -> None:
    found = [source for source in sources() if _has_words(source)]
    for source in found:
        print(f"{source.place:40} {source.kind:16} {source.text}")
    assert len(found) > 100
    missing = [source for source in found if not (_is_well(source) or _has_step(source) or source.text in NO_STEP)]
    assert not missing, "\n".join(["no next step:", *(f"{s.place} {s.kind}: {s.text}" for s in missing)])
    gone = set(NO_STEP) - {source.text for source in found}
    assert not gone, f"no longer there: {gone}"


# --- as they are met --------------------------------------------------------------------------------------------------


class Met(NamedTuple):
    """What a person reads, and what must be in it: the thing that it is about, what happened, the next step."""

    situation: str
    said: str
    about: str
    happened: str
    step: str


def _status() -> int:
    return cli.main(["status", "--socket", "/nowhere/x.sock"])


def _foreground() -> int:
    return daemon.main(["--foreground", "--socket", "/nowhere/x.sock"])


@pytest.mark.parametrize(("run", "name"), [(_status, "mux"), (_foreground, "mux-backend")])
def test_an_error_of_the_rendezvous_leads_to_the_doctor(
    run: Callable[[], int], name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> Any:
        raise RendezvousError("it went wrong")

    monkeypatch.setattr("mux.cli.status.places", fail)
    monkeypatch.setattr("mux.rendezvous.listener.take", fail)
    assert run() == 1
    assert capsys.readouterr().err == f"{name}: it went wrong. `mux doctor` says what to do\n"


def test_each_message_says_what_happened_to_what_and_the_next_step(runtime: Runtime) -> None:
    met = [*_of_the_shim(runtime), *_of_a_server(runtime), *_of_the_protocol(runtime), *_of_the_operator(runtime)]
    for entry in met:
        print(f"\n{entry.situation}\n    {entry.said.strip().replace(chr(10), chr(10) + '    ')}")
    for entry in met:
        for part in (entry.about, entry.happened, entry.step):
            assert part in entry.said, f"{entry.situation}: {part!r} is not in {entry.said!r}"


def _of_the_shim(runtime: Runtime) -> Iterator[Met]:
    doctor = "`mux doctor` says what to do"

    def stderr(*arguments: str, options: Sequence[str] = ()) -> str:
        session = runtime.session(*arguments, options=options)
        session.end_input()
        session.child.wait(PATIENCE)
        return session.stderr

    runtime.directory.chmod(0o755)
    yield Met("its directory is open to others", stderr("true"), str(runtime.directory), "open to others", doctor)
    said = stderr("true", options=["--fallback", "error"])
    yield Met("the same, and the server must be single", said, "true is not started", "open to others", doctor)
    yield Met("and there is no such server", stderr("no-such"), "no-such", "command not found", "Install it")
    yield Met("or one that is no program", stderr("/etc/passwd"), "/etc/passwd", "cannot be run", "`chmod +x` it")
    runtime.directory.chmod(0o700)
    yield Met(
        "a wrong option", stderr("x", options=["--scop", "user"]), "--scop", "unknown option", "`mux-shim --help`"
    )
    said = stderr("x", options=["--grace", "soon"])
    yield Met("a wrong value", said, "--grace", "not 'soon'", "a time such as 30, 90s or 15m")
    said = subprocess.run([program("mux-shim")], capture_output=True, text=True, timeout=30, check=False).stderr
    yield Met("no command", said, "COMMAND", "no COMMAND", "put the MCP server's own command line")


def _of_a_server(runtime: Runtime) -> Iterator[Met]:
    """JSON-RPC errors, as a host shows them."""
    again = "`mux doctor` says what is wrong"
    initialize = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}

    def refused(*command: str, cwd: Path | None = None) -> str:
        session = runtime.session(*command, cwd=cwd)
        return str(session.response(session.begin("initialize", initialize))["error"]["message"])

    yield Met("no such server", refused("no-such-server"), "`no-such-server`", "command not found", again)
    yield Met("not executable", refused("/etc/passwd"), "`/etc/passwd`", "not executable", "`chmod +x`")
    said = refused(*SCRIPTED, "--die-at-start", "3")
    yield Met("it dies at its start", said, "scripted.py --die-at-start 3`", "exited with code 3", again)
    assert "there is no database" in said
    session = runtime.ready()
    said = session.response(session.begin_call("crash"))["error"]["message"]
    yield Met("it dies during a call", said, "this request", "killed by signal 9", "Look before you repeat it")
    said = session.response(session.begin_call("big", bytes=limits.MESSAGE_BYTES + 1))["error"]["message"]
    yield Met("its answer is too large", said, "The server", "larger than 64 MiB", "`message_bytes`")
    runtime.mux("stop", "--socket", str(runtime.socket))
    error = session.response(session.begin("tools/list"))["error"]
    yield Met("it was stopped", error["message"], "`mux stop`", "cannot serve this now", "`mux start`")
    runtime.mux("start", "--socket", str(runtime.socket))


def _of_the_protocol(runtime: Runtime) -> Iterator[Met]:
    session = runtime.ready()

    def answered(line: bytes, nth: int) -> str:
        session.write(line + b"\n")
        return str(session.unnumbered_error(nth)["message"])

    yield Met("no JSON", answered(b"{what", 0), "This line", "is not JSON", "byte")
    yield Met("a batch", answered(b"[]", 1), "JSON-RPC batches", "not part of MCP", "send one message a line")
    line = faults.overloaded(b"1").decode()
    yield Met("too many wait", line, "this session", f"More than {limits.SESSION_WAITING}", "Wait for answers")
    line = faults.kept_too_much(b"1").decode()
    yield Met("too many subscriptions", line, "This session", f"{limits.KEPT_LINES} subscriptions", "End some")


def _of_the_operator(runtime: Runtime) -> Iterator[Met]:
    socket = ["--socket", str(runtime.socket)]

    def said(*words: str) -> str:
        done = runtime.mux(*words, *([] if words[0] in ("statsu", "trust", "install") else socket))
        return done.stderr or done.stdout

    yield Met("a typo", said("statsu"), "'statsu'", "there is no command", "`mux status`")
    yield Met("no such server", said("stop", "99"), "server 99", "there is no", "`mux status` has the numbers")
    yield Met("no such log", said("logs", "99"), "server 99", "there is no", "These run:")
    yield Met("no such session", said("explain", "99"), "session 99", "there is no", "`mux status` lists them")
    yield Met("nothing to trust", said("trust", "."), "mux.toml", "there is no", "write it first")
    yield Met("no such host", said("install", "opncode"), "'opncode'", "there is no host", "Did you mean opencode?")
    said("stop")
    yield Met("nothing runs", said("status"), str(runtime.socket), "No backend is running", "first session")
    yield Met("nothing to stop", said("stop"), str(runtime.socket), "No backend is running", "nothing to stop")
    yield Met("nothing to explain", said("explain", "1"), str(runtime.socket), "no backend is running", "first session")
