"""The self-pipe: a loop that waits is woken by other threads and by signals."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from thor.loop import LoopBase
from thor.loop.wakeup import Wakeup
from thor.testing import memory_loop


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    wakeup = Wakeup(lambda: None)
    yield wakeup
    wakeup.close()


@contextlib.contextmanager
def handled(handler: Callable[..., Any], number: int = signal.SIGUSR1) -> Iterator[None]:
    """A signal handler, for a while."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def wakeup_fd() -> int:
    """The fd that Python writes to when a signal comes."""
    fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(fd)
    return fd


def from_thread(function: Callable[[], object]) -> None:
    """Call a function in another thread, and wait for its end."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


# -- the pipe -----------------------------------------------------------------------------------


def ready(wakeup: Wakeup) -> bool:
    return bool(select.select([wakeup.fileno()], [], [], 0)[0])


def test_waking_makes_it_readable_and_draining_ends_that(wakeup: Wakeup) -> None:
    assert not ready(wakeup)
    wakeup.wake()
    wakeup.wake()
    assert ready(wakeup)
    wakeup.drain()
    assert not ready(wakeup)
    wakeup.drain()


def test_waking_never_blocks_nor_fails(wakeup: Wakeup) -> None:
    """The pipe fills up when the loop is busy: one call more says nothing new."""
    for _ in range(100_000):
        wakeup.wake()
    while ready(wakeup):
        wakeup.drain()


def test_waking_what_was_closed_is_harmless() -> None:
    wakeup = Wakeup(lambda: None)
    wakeup.close()
    wakeup.wake()
    wakeup.close()


def test_signals_may_write_without_blocking(wakeup: Wakeup) -> None:
    os.write(wakeup.signal_fd(), b"\0")
    assert ready(wakeup)
    assert not os.get_blocking(wakeup.signal_fd())


# -- other threads ------------------------------------------------------------------------------


def test_call_from_another_thread_wakes_the_loop_at_once(
    loop: LoopBase, run_loop: Callable[..., None]
) -> None:
    """Nothing else would: without the wake-up the loop waits until the test's limit."""
    called: list[threading.Thread] = []
    waiting = threading.Event()
    loop.schedule(0, waiting.set)

    def other() -> None:
        waiting.wait()
        loop.run_in_loop(lambda: called.append(threading.current_thread()))

    thread = threading.Thread(target=other)
    thread.start()
    run_loop(loop, lambda: called)
    thread.join()
    assert called == [threading.current_thread()]


def test_calls_are_made_in_order_and_each_once(
    loop: LoopBase, run_loop: Callable[..., None]
) -> None:
    heard: list[Any] = []

    def call() -> None:
        for number in range(1000):
            loop.run_in_loop(heard.append, number)

    from_thread(call)
    run_loop(loop, lambda: len(heard) == 1000)
    loop.run_once()
    assert heard == list(range(1000))


def test_calls_made_before_the_loop_was_ever_used_are_kept(
    loop: LoopBase, run_loop: Callable[..., None]
) -> None:
    heard: list[str] = []
    loop.run_in_loop(heard.append, "early")
    assert loop.fds.poller is None
    run_loop(loop, lambda: heard)


def test_call_that_makes_another_does_not_keep_the_loop_from_its_fds() -> None:
    loop = memory_loop()
    count = 0

    def again() -> None:
        nonlocal count
        count += 1
        loop.run_in_loop(again)

    loop.run_in_loop(again)
    loop.run_once()
    assert count == 1
    loop.run_once()
    assert count == 2


def test_burst_of_wake_ups_costs_one_turn(make_loop: Callable[..., LoopBase]) -> None:
    loop = make_loop()
    loop.run_once()
    heard: list[int] = []
    for number in range(3000):
        loop.run_in_loop(heard.append, number)
    loop.run_once()
    assert len(heard) == 3000
    assert loop.next_timeout() is None
    assert loop.fds.poller is not None
    assert loop.fds.poller.poll(0.0) == []


def test_stopping_from_another_thread(loop: LoopBase, run_loop: Callable[..., None]) -> None:
    waiting = threading.Event()
    loop.schedule(0, waiting.set)

    def other() -> None:
        waiting.wait()
        loop.stop()

    thread = threading.Thread(target=other)
    thread.start()
    run_loop(loop)
    thread.join()
    assert not loop.running
    assert loop.scheduled_events() == []


# -- signals ------------------------------------------------------------------------------------


def kill_from_thread(loop: LoopBase, number: int = signal.SIGUSR1) -> threading.Thread:
    """Send this process a signal when the loop waits, or is about to."""
    waiting = threading.Event()
    loop.schedule(0, waiting.set)

    def kill() -> None:
        waiting.wait()
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_signal_handler_may_stop_the_loop(loop: LoopBase, run_loop: Callable[..., None]) -> None:
    with handled(lambda *_: loop.stop()):
        thread = kill_from_thread(loop)
        run_loop(loop)
        thread.join()
    assert not loop.running


def test_what_a_signal_handler_schedules_is_seen_at_once(
    loop: LoopBase, run_loop: Callable[..., None]
) -> None:
    """The loop waits already, for no timer: the signal makes it look again."""
    with handled(lambda *_: loop.schedule(0, loop.stop)):
        thread = kill_from_thread(loop)
        run_loop(loop)
        thread.join()


def test_what_a_signal_handler_writes_is_flushed_at_once(
    loop: LoopBase, run_loop: Callable[..., None]
) -> None:
    class Written:
        def flush(self) -> None:
            loop.stop()

    with handled(lambda *_: loop.to_flush.append(Written())):
        thread = kill_from_thread(loop)
        run_loop(loop)
        thread.join()


def test_signal_wakeup_fd_is_set_while_the_loop_runs_and_then_restored(
    loop: LoopBase, run_loop: Callable[..., None], wakeup: Wakeup
) -> None:
    before = signal.set_wakeup_fd(wakeup.signal_fd())
    try:
        seen: list[int] = []
        loop.schedule(0, lambda: seen.append(wakeup_fd()))
        loop.schedule(0, loop.stop)
        run_loop(loop)
        assert seen[0] not in (-1, wakeup.signal_fd())
        assert wakeup_fd() == wakeup.signal_fd()
    finally:
        signal.set_wakeup_fd(before)


def test_signal_wakeup_fd_is_restored_when_an_exception_leaves_run(loop: LoopBase) -> None:
    before = wakeup_fd()
    loop.schedule(0, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loop.run()
    assert wakeup_fd() == before


def test_signal_wakeup_fd_is_restored_before_its_socket_is_closed(
    loop: LoopBase, run_loop: Callable[..., None]
) -> None:
    """A signal would else write into whatever gets the number next."""
    before = wakeup_fd()
    seen: list[int] = []

    class Closing:
        def __init__(self, inner: Wakeup) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def close(self) -> None:
            seen.append(wakeup_fd())
            self.inner.close()

    loop.run_once()
    assert loop.fds.wakeup is not None
    loop.fds.wakeup = Closing(loop.fds.wakeup)  # type: ignore[assignment]
    loop.schedule(0, loop.stop)
    run_loop(loop)
    assert seen == [before]


def test_loop_in_another_thread_leaves_signals_alone(make_loop: Callable[..., LoopBase]) -> None:
    loop = make_loop()
    before = wakeup_fd()
    seen: list[bool] = []
    loop.run_once()
    wakeup = loop.fds.wakeup
    assert wakeup is not None
    loop.schedule(0, lambda: seen.append(wakeup.receives_signals))
    loop.schedule(0, loop.stop)
    from_thread(loop.run)
    assert seen == [False]
    assert wakeup_fd() == before
