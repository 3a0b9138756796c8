"""A loop that another loop hosts, by `fileno()`, `next_timeout()` and `run_once()`."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from math import inf

import pytest
from tcp_support import played

from thor.loop import LoopBase
from thor.testing import ManualClock, Recorder, memory_loop

#: A host that is not woken by then has failed; nothing here takes so long.
LIMIT_S = 10.0


def host(loop: LoopBase, until: Callable[[], object]) -> None:
    """What a hosting loop does: wait for the fd or the timeout, then run one turn."""
    while not until():
        timeout_s = loop.next_timeout()
        waited = min(inf if timeout_s is None else timeout_s, LIMIT_S)
        ready, _, _ = select.select([loop.fileno()], [], [], waited)
        assert ready or waited < LIMIT_S, "nothing woke the hosting loop"
        loop.run_once()


@pytest.fixture
def hosted(make_loop: Callable[..., LoopBase]) -> LoopBase:
    return make_loop()


def test_host_waits_for_the_fd_of_a_connection(hosted: LoopBase) -> None:
    with played(hosted) as (conn, peer):
        heard = Recorder(conn, "data")
        conn.pause(False)
        peer.send(b"hello")
        host(hosted, lambda: heard.events)
        assert heard.take() == [("data", b"hello")]
        conn.write(b"answer")
        host(hosted, lambda: not conn.write_buffer.size)
        assert peer.recv(100) == b"answer"


def test_host_waits_for_a_timer(hosted: LoopBase) -> None:
    called: list[str] = []
    hosted.schedule(0.01, called.append, "timer")
    host(hosted, lambda: called)


def test_host_is_woken_by_another_thread(hosted: LoopBase) -> None:
    called: list[str] = []
    thread = threading.Thread(target=hosted.run_in_loop, args=(called.append, "call"))
    hosted.fileno()
    thread.start()
    host(hosted, lambda: called)
    thread.join()


def test_next_timeout_is_zero_while_calls_are_queued(hosted: LoopBase) -> None:
    assert hosted.next_timeout() is None
    hosted.call_soon(print)
    assert hosted.next_timeout() == 0.0
    hosted.run_once()
    assert hosted.next_timeout() is None


def test_next_timeout_is_the_time_to_the_next_timer() -> None:
    clock = ManualClock()
    loop = memory_loop(clock)
    loop.schedule(3.0, print)
    clock.advance(1.0)
    assert loop.next_timeout() == 2.0
    clock.advance(5.0)
    assert loop.next_timeout() == 0.0
    loop.stop()


def test_fileno_raises_where_the_backend_has_none(make_loop: Callable[..., LoopBase]) -> None:
    with pytest.raises(RuntimeError, match="poll"):
        make_loop(backend="poll").fileno()
