"""What is done to sockets in more than one place."""

from __future__ import annotations

import pytest
from tcp_support import socket_pair

from thor.tcp.sockets import has_unread, reset_on_close


def test_socket_can_be_closed_by_a_reset() -> None:
    ours, theirs = socket_pair()
    with theirs:
        reset_on_close(ours)
        ours.close()
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)


def test_socket_that_the_kernel_has_given_up_is_left_alone() -> None:
    ours, theirs = socket_pair()
    theirs.close()
    ours.close()
    reset_on_close(ours)


def test_what_nobody_has_read_is_seen_and_stays() -> None:
    ours, theirs = socket_pair()
    with ours, theirs:
        ours.setblocking(False)
        assert not has_unread(ours)
        theirs.sendall(b"x")
        assert has_unread(ours)
        assert ours.recv(2) == b"x"
        assert not has_unread(ours)


def test_end_or_an_error_is_something_to_read() -> None:
    ours, theirs = socket_pair()
    with ours:
        ours.setblocking(False)
        theirs.close()
        assert has_unread(ours)
    ours, theirs = socket_pair()
    with ours:
        ours.setblocking(False)
        reset_on_close(theirs)
        theirs.close()
        assert has_unread(ours)
