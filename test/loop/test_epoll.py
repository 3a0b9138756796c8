"""What only epoll does."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import pytest

from thor.loop.poller import HANGUP, READABLE, WRITABLE

if not hasattr(select, "epoll"):
    pytest.skip("this machine has no epoll", allow_module_level=True)

from thor.loop.epoll import EpollPoller


@pytest.fixture
def poller() -> Iterator[EpollPoller]:
    poller = EpollPoller()
    yield poller
    poller.close()


def test_kernels_bits_are_ours(poller: EpollPoller) -> None:
    assert (select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP) == (READABLE, WRITABLE, HANGUP)


def test_registering_a_closed_fd_is_an_error(poller: EpollPoller) -> None:
    with socket.socket() as sock:
        fd = sock.fileno()
    with pytest.raises(OSError, match="descriptor"):
        poller.register(fd, READABLE)


def test_registering_twice_is_an_error(poller: EpollPoller) -> None:
    with socket.socket() as sock:
        poller.register(sock.fileno(), READABLE)
        with pytest.raises(FileExistsError):
            poller.register(sock.fileno(), READABLE)


def test_closed_fd_with_a_twin_is_silent_once_it_was_unregistered(poller: EpollPoller) -> None:
    """The kernel watches the open file, which a duplicate (or a forked child) keeps open."""
    near, far = socket.socketpair()
    with near, far:
        twin = os.dup(near.fileno())
        poller.register(near.fileno(), READABLE)
        poller.unregister(near.fileno())
        near.close()
        far.send(b"x")
        assert poller.poll(0.0) == []
        os.close(twin)


def test_regular_file_is_refused(poller: EpollPoller) -> None:
    with open(__file__, "rb") as file, pytest.raises(PermissionError):
        poller.register(file.fileno(), READABLE)


def test_closing_twice_is_harmless(poller: EpollPoller) -> None:
    poller.close()
    poller.close()
