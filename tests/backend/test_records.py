from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec
import pytest

from mux.backend import logs, reap, record
from mux.backend.reap import Identity
from mux.backend.record import Record, UpstreamRecord
from mux.limits import EXITED_STDERR_FILES, LOG_BYTES, LOG_FILES, RECORD_BYTES
from mux.rendezvous.birth import is_cut_off
from mux.rendezvous.paths import Place
from tests.backend.support import identity, sleeper


def gone_backend(*upstreams: UpstreamRecord) -> Record:
    return Record(Identity(1, 1), reap.boot(), "0", upstreams)


def test_the_record_comes_back_as_it_was_written_and_only_we_may_read_it(directory: Path) -> None:
    path = directory / "r.json"
    entry = UpstreamRecord(Identity(2, 3), "mark", (Identity(4, 5),))
    full = msgspec.structs.replace(record.describe(), upstreams=(entry,))
    record.write(path, full)
    assert record.read(path) == full
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(directory) == ["r.json"]


def ignored(path: Path, caplog: pytest.LogCaptureFixture) -> bool:
    """Whether it counts as absent, with one warning that names the file."""
    with caplog.at_level("WARNING", "mux.backend"):
        assert record.read(path) is None
    (warning,) = caplog.messages
    return warning.startswith(f"record.ignored path={path} reason=")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\0" * 512, b"x" * (RECORD_BYTES + 1)])
def test_a_record_that_is_torn_empty_or_too_long_counts_as_absent(
    directory: Path, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    path = directory / "r.json"
    path.write_bytes(data)
    assert ignored(path, caplog)


def test_of_a_record_that_is_not_there_nothing_is_said(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert record.read(directory / "none.json") is None
    assert caplog.messages == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_record_of_another_user_counts_as_absent(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = directory / "r.json"
    record.write(path, record.describe())
    os.chown(path, 1, 1)
    assert ignored(path, caplog)


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_a_record_that_is_no_plain_file_is_not_read(
    directory: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    path = directory / "r.json"
    if kind == "link":
        path.symlink_to(directory / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert ignored(path, caplog)


def test_leftovers_are_killed_also_those_known_by_their_mark_alone_and_nothing_else_is() -> None:
    ours, others = ({"MUX_UPSTREAM": mark} for mark in ("ours", "others"))
    with (
        sleeper() as leader,
        sleeper(env=ours, start_new_session=True) as detached,
        sleeper(env=others) as stranger,
    ):
        tree = UpstreamRecord(identity(leader.pid), "ours")
        assert record.reap_leftovers(gone_backend(tree)) == 2
        assert leader.wait() == detached.wait() == -signal.SIGKILL
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("change", ["started", "boot", "living"])
def test_nothing_is_killed_on_doubt(change: str) -> None:
    with sleeper(process_group=0) as process:
        known = identity(process.pid)
        found = gone_backend(UpstreamRecord(known, "mark"))
        if change == "started":
            found = gone_backend(UpstreamRecord(Identity(known.pid, known.started + 1), "mark"))
        elif change == "boot":
            found = msgspec.structs.replace(found, boot="another")
        else:
            found = msgspec.structs.replace(found, process=identity(os.getpid()))
        assert record.reap_leftovers(found) == 0
        assert process.poll() is None
        process.kill()


def test_a_servers_stderr_log_is_bounded(directory: Path) -> None:
    log = logs.Stderr(directory / "1.err")
    for _ in range(LOG_FILES + 2):
        log.feed(b"x" * LOG_BYTES)
    log.close()
    sizes = [path.stat().st_size for path in directory.iterdir()]
    assert sizes == [LOG_BYTES] * LOG_FILES


def test_only_the_newest_stderr_logs_of_servers_that_are_gone_are_kept(directory: Path) -> None:
    folder = logs.StderrFolder(directory / "s")
    (directory / "s.log").touch()
    (directory / "other-1-x.err").touch()
    for number in range(EXITED_STDERR_FILES + 5):
        log = folder.create(number, "/bin/a b")
        log.feed(b"x")
        folder.retire(log)
    assert len(list(directory.glob("s-*.err"))) == EXITED_STDERR_FILES
    folder.remove()
    assert sorted(os.listdir(directory)) == ["other-1-x.err", "s.log"]


def test_without_its_log_a_servers_stderr_is_still_read_and_its_tail_kept(directory: Path) -> None:
    log = logs.Stderr(directory / "missing" / "1.err")
    log.feed(b"a\nb\n")
    log.feed(b"c\n")
    assert log.tail() == "a\nb\nc"
    log.close()


def test_a_full_log_moves_on_and_stays_in_use_where_no_new_one_can_be_had(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = logs._Rotating(directory / "a.log")
    try:
        file.write(b"x" * LOG_BYTES)
        file.write(b"second")
        assert (directory / "a.log").read_bytes() == b"second"
        file.write(b"y" * LOG_BYTES)
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", lambda *_: os.stat(directory / "nothing"))
            with pytest.raises(FileNotFoundError):
                file.write(b"third")
        assert os.fstat(file._fd).st_size == LOG_BYTES + len(b"second"), "the number is still ours"
    finally:
        file.close()


def test_a_newcomer_reads_in_the_record_whether_its_backend_serves_or_leaves(directory: Path) -> None:
    place = Place(str(directory / "s.sock"))
    assert not is_cut_off(place)
    serving = record.describe()
    record.write(place.record, serving)
    assert is_cut_off(place)
    record.write(place.record, msgspec.structs.replace(serving, leaving=True))
    assert not is_cut_off(place)
    Path(place.record).write_bytes(b'{"of": "an older version"}')
    assert not is_cut_off(place)
