"""What only kqueue does, over a stand-in for the `select` module of a BSD."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator

import kqueue_support as kq
import pytest

from thor.loop import LoopBase
from thor.loop.kqueue import KqueuePoller
from thor.loop.poller import ERROR, HANGUP, MAX_EVENTS, READABLE, WRITABLE
from thor.tcp import TcpConnection
from thor.testing import Recorder


@pytest.fixture
def poller() -> KqueuePoller:
    return KqueuePoller(kq)


@pytest.fixture
def fd() -> Iterator[int]:
    """An fd of which nothing is to be told."""
    near, far = socket.socketpair()
    with near, far:
        yield near.fileno()


def queue_of(poller: KqueuePoller) -> kq.kqueue:
    queue: kq.kqueue = poller._queue
    return queue


@pytest.mark.parametrize(
    ("event", "bits"),
    [
        pytest.param((kq.KQ_FILTER_READ, 0, 0), READABLE, id="readable"),
        pytest.param((kq.KQ_FILTER_WRITE, 0, 0), WRITABLE, id="writable"),
        # The peer finished sending; data may still be there.
        pytest.param((kq.KQ_FILTER_READ, kq.KQ_EV_EOF, 0), READABLE, id="end-of-stream"),
        pytest.param((kq.KQ_FILTER_WRITE, kq.KQ_EV_EOF, 0), WRITABLE | HANGUP, id="no-reader"),
        pytest.param(
            (kq.KQ_FILTER_READ, kq.KQ_EV_EOF, errno.ECONNRESET), READABLE | ERROR, id="reset"
        ),
        pytest.param(
            (kq.KQ_FILTER_WRITE, kq.KQ_EV_EOF, errno.ECONNREFUSED),
            WRITABLE | HANGUP | ERROR,
            id="refused",
        ),
        pytest.param((kq.KQ_FILTER_READ, kq.KQ_EV_ERROR, 0), ERROR, id="failed-change"),
    ],
)
def test_events_are_translated(
    poller: KqueuePoller, event: tuple[int, int, int], bits: int
) -> None:
    queue_of(poller).extra = [kq.kevent(7, *event)]
    assert poller.poll(0.0) == [(7, bits)]


def test_two_filters_of_an_fd_are_one_event(poller: KqueuePoller) -> None:
    queue_of(poller).extra = [
        kq.kevent(7, kq.KQ_FILTER_READ),
        kq.kevent(8, kq.KQ_FILTER_READ),
        kq.kevent(7, kq.KQ_FILTER_WRITE),
    ]
    assert poller.poll(0.0) == [(7, READABLE | WRITABLE), (8, READABLE)]


def test_only_what_changes_is_told_to_the_kernel(poller: KqueuePoller, fd: int) -> None:
    read, write = (fd, kq.KQ_FILTER_READ), (fd, kq.KQ_FILTER_WRITE)
    seen = []
    poller.register(fd, READABLE)
    for bits in (READABLE, READABLE | WRITABLE, WRITABLE, 0):
        poller.modify(fd, bits)  # deleting what is not there would be an error
        seen.append(set(queue_of(poller).knotes))
    assert seen == [{read}, {read, write}, {write}, set()]


def test_paused_fd_has_no_knote_and_can_be_resumed(poller: KqueuePoller, fd: int) -> None:
    poller.register(fd, 0)
    assert not queue_of(poller).knotes
    poller.modify(fd, READABLE)
    assert queue_of(poller).knotes


def test_fd_that_cannot_be_watched_is_not_remembered(poller: KqueuePoller) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    with pytest.raises(OSError, match="descriptor"):
        poller.register(reader, READABLE)
    with pytest.raises(KeyError):
        poller.modify(reader, READABLE)


def test_closed_fd_is_forgotten_without_a_word(poller: KqueuePoller) -> None:
    near, far = socket.socketpair()
    fd = near.fileno()
    poller.register(fd, READABLE)
    near.close()
    poller.unregister(fd)
    with pytest.raises(KeyError):
        poller.modify(fd, 0)
    far.close()


def test_waits_are_handed_on_as_they_are(poller: KqueuePoller, fd: int) -> None:
    poller.register(fd, WRITABLE)
    for seconds in (0.0, 0.25, None):
        poller.poll(seconds)
    assert queue_of(poller).timeouts == [0.0, 0.25, None]


def test_batch_is_bounded(poller: KqueuePoller) -> None:
    queue_of(poller).extra = [kq.kevent(n, kq.KQ_FILTER_READ) for n in range(MAX_EVENTS + 5)]
    assert len(poller.poll(0.0)) == MAX_EVENTS


def test_closing_a_queue_that_a_fork_took_away_is_harmless(poller: KqueuePoller) -> None:
    """A child does not inherit it: the number is nobody's, or closing says EBADF."""

    def gone() -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    queue_of(poller).close = gone  # type: ignore[method-assign]
    poller.close()


def test_connections_run_on_it(
    make_loop: Callable[..., LoopBase], run_loop: Callable[..., None]
) -> None:
    """Data both ways, then the peer's end, then ours."""
    loop = make_loop(backend=KqueuePoller(kq))
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    client, server = (TcpConnection(end, "", loop) for end in ends)
    heard = Recorder(client, "data", "end", "close", "disconnect")
    over = Recorder(server, "end", "close", "disconnect")
    server.on("data", server.write)
    server.pause(False)
    client.pause(False)
    client.write(b"hello")
    run_loop(loop, lambda: heard.events)
    client.end_writing()
    run_loop(loop, lambda: ("disconnect",) in over.events and ("disconnect",) in heard.events)
    assert heard.take() == [("data", b"hello"), ("end",), ("close",), ("disconnect",)]
