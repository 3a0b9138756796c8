"""What is done to sockets in more than one place."""

from __future__ import annotations

import pytest
from tcp_support import socket_pair

from thor.tcp.sockets import reset_on_close


def test_a_socket_can_be_closed_by_a_reset() -> None:
    ours, theirs = socket_pair()
    with theirs:
        reset_on_close(ours)
        ours.close()
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)


def test_a_socket_that_the_kernel_has_given_up_is_left_alone() -> None:
    ours, theirs = socket_pair()
    theirs.close()
    ours.close()
    reset_on_close(ours)
