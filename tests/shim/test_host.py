"""Writing to a host: everything in order, never waiting, and nothing of the host's changed."""

from __future__ import annotations

import fcntl
import os
import pty
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mux.shim import host
from mux.shim.host import HostGone, HostOutput

BIG = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture(params=["pipe", "careful pipe", "socket"])
def ends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """(the host's end, ours)."""
    if request.param == "careful pipe":
        monkeypatch.setattr(host, "_opened_again", lambda _fd: None)
    if request.param == "socket":
        one, two = socket.socketpair()
        pair = one.detach(), two.detach()
    else:
        pair = os.pipe()
    yield pair
    for fd in pair:
        try:
            os.close(fd)
        except OSError:
            continue


def collect(fd: int, count: int) -> bytes:
    found = b""
    while len(found) < count:
        found += os.read(fd, 1 << 20)
    return found


def test_what_fits_is_written_at_once(ends: tuple[int, int]) -> None:
    output = HostOutput(ends[1])
    output.put(b"one\n")
    output.put(b"two\n")
    assert (output.queued, collect(ends[0], 8)) == (0, b"one\ntwo\n")
    output.close()


def test_what_does_not_fit_is_kept_in_order_and_nothing_waits(ends: tuple[int, int]) -> None:
    output = HostOutput(ends[1])
    output.put(BIG)
    output.put(b"last\n")
    assert 0 < output.queued < len(BIG) + 5
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(collect(ends[0], len(BIG) + 5)), daemon=True)
    reader.start()
    while output.queued:
        output.flush()
    reader.join(60)
    assert found == [BIG + b"last\n"]
    output.close()


def test_the_hosts_own_open_file_keeps_its_flags_and_stays_open(ends: tuple[int, int]) -> None:
    before = fcntl.fcntl(ends[1], fcntl.F_GETFL)
    output = HostOutput(ends[1])
    output.put(BIG)
    assert fcntl.fcntl(ends[1], fcntl.F_GETFL) == before
    output.close()
    assert fcntl.fcntl(ends[1], fcntl.F_GETFL) == before


def test_no_descriptor_of_ours_is_left(ends: tuple[int, int]) -> None:
    before = os.listdir("/dev/fd")
    output = HostOutput(ends[1])
    output.put(b"x")
    output.close()
    assert os.listdir("/dev/fd") == before


def test_a_host_that_is_gone_is_said_to_be(ends: tuple[int, int]) -> None:
    output = HostOutput(ends[1])
    os.close(ends[0])
    with pytest.raises(HostGone):
        output.put(b"x")
    output.close()


def test_a_host_that_was_gone_before_is_noticed_at_the_first_word(ends: tuple[int, int]) -> None:
    os.close(ends[0])
    output = HostOutput(ends[1])
    with pytest.raises(HostGone):
        output.put(b"x")
    output.close()


def test_a_file_takes_everything(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        output = HostOutput(file.fileno())
        output.put(BIG)
        assert output.queued == 0
        output.close()
    assert (tmp_path / "out").read_bytes() == BIG


def test_a_terminal_takes_a_little_at_a_time() -> None:
    ours, theirs = pty.openpty()
    try:
        output = HostOutput(theirs)
        text = b"y" * 3000
        output.put(text)
        found = b""
        while output.queued or len(found) < len(text):
            found += os.read(ours, 4096)
            output.flush()
        assert found == text
        output.close()
    finally:
        os.close(ours)
        os.close(theirs)
