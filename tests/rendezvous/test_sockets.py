"""Sockets without the `socket` module: the same sockets."""

from __future__ import annotations

import array
import os
import socket

import pytest

from mux.rendezvous.sockets import adopt, send_descriptor, unix_stream


def test_a_new_socket_is_a_unix_stream_that_no_other_program_inherits() -> None:
    made = unix_stream()
    assert (made.family, made.type) == (socket.AF_UNIX, socket.SOCK_STREAM)
    assert not os.get_inheritable(made.fileno())
    made.close()


def test_a_descriptor_becomes_a_socket_with_its_flags_and_is_closed_with_it() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    os.set_inheritable(ours.fileno(), True)
    fd = ours.detach()
    adopted = adopt(fd)
    assert (adopted.fileno(), os.get_inheritable(fd), os.get_blocking(fd)) == (fd, True, False)
    adopted.send(b"x")
    assert theirs.recv(2) == b"x"
    adopted.close()
    assert theirs.recv(1) == b""
    theirs.close()


def test_a_descriptor_that_is_sent_arrives_with_its_data_and_stays_ours() -> None:
    ours, theirs = socket.socketpair()
    read, write = os.pipe()
    send_descriptor(ours, b"data", read)
    numbers = array.array("i")
    data, ancillary, _, _ = theirs.recvmsg(10, socket.CMSG_LEN(numbers.itemsize))
    numbers.frombytes(ancillary[0][2])
    os.write(write, b"x")
    assert data == b"data"
    assert os.read(numbers[0], 1) == b"x"
    assert os.path.sameopenfile(numbers[0], read)
    for fd in (read, write, numbers[0]):
        os.close(fd)
    ours.close()
    theirs.close()


def test_what_does_not_fit_is_an_error_of_the_system() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    read, write = os.pipe()
    with pytest.raises(TimeoutError, match="full"):
        send_descriptor(ours, b"x" * (8 << 20), read)
    theirs.close()
    with pytest.raises(BrokenPipeError):
        send_descriptor(ours, b"x", read)
    ours.close()
    for fd in (read, write):
        os.close(fd)
