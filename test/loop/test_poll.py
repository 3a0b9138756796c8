"""What only poll(2) does."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from typing import Any

from thor.loop import EventSource, LoopBase
from thor.loop.poll import PollPoller
from thor.loop.poller import ERROR, MAX_EVENTS, READABLE, WRITABLE
from thor.testing import Recorder


def test_fd_that_was_closed_without_a_word_is_an_error_once() -> None:
    poller = PollPoller()
    with socket.socket() as sock:
        fd = sock.fileno()
        poller.register(fd, READABLE)
    assert poller.poll(0.0) == [(fd, ERROR)]
    assert poller.poll(0.0) == []


def test_source_hears_once_that_its_fd_was_closed(make_loop: Callable[..., LoopBase]) -> None:
    loop = make_loop(backend="poll")
    source = EventSource(loop)
    heard = Recorder(source, "fd_readable", "fd_error", "fd_close")
    with socket.socket() as sock:
        source.register_fd(sock.fileno(), "fd_writable")
    loop.run_once()
    loop.run_once()
    assert heard.take() == [("fd_error",)]
    assert loop.fd_count() == 0


class Answering:
    """A `select.poll` object that always answers the same."""

    def __init__(self, events: list[tuple[int, int]]) -> None:
        self.events = events
        self.timeouts: list[Any] = []

    def poll(self, timeout: Any) -> list[tuple[int, int]]:
        self.timeouts.append(timeout)
        return list(self.events)

    def unregister(self, fd: int) -> None:
        self.events = [event for event in self.events if event[0] != fd]


def answered(events: list[tuple[int, int]]) -> tuple[PollPoller, Answering]:
    poller = PollPoller()
    answering = Answering(events)
    poller._object = answering  # type: ignore[assignment]
    return poller, answering


def test_wait_is_counted_in_milliseconds() -> None:
    poller, answering = answered([])
    for seconds in (0.0, 1.5, None):
        poller.poll(seconds)
    assert answering.timeouts == [0.0, 1500.0, None]


def test_start_of_the_batch_moves_on() -> None:
    everything = [(fd, WRITABLE) for fd in range(3 * MAX_EVENTS + 10)]
    poller, _ = answered(everything)
    batches = [poller.poll(0.0) for _ in range(4)]
    assert [len(batch) for batch in batches] == [MAX_EVENTS] * 4
    assert {event for batch in batches for event in batch} == set(everything)
    assert batches[1][0] == (MAX_EVENTS, WRITABLE)


def test_closed_fd_is_not_confused_with_others() -> None:
    poller, _ = answered([(3, READABLE), (4, select.POLLNVAL), (5, READABLE | WRITABLE)])
    assert poller.poll(0.0) == [(3, READABLE), (4, ERROR), (5, READABLE | WRITABLE)]
    assert poller.poll(0.0) == [(3, READABLE), (5, READABLE | WRITABLE)]


def test_closed_poller_can_be_used_again() -> None:
    poller = PollPoller()
    near, far = socket.socketpair()
    with near, far:
        poller.register(near.fileno(), WRITABLE)
        poller.close()
        assert poller.poll(0.0) == []
        poller.register(near.fileno(), READABLE)
        poller.modify(near.fileno(), WRITABLE)
        assert poller.poll(0.0) == [(near.fileno(), WRITABLE)]
