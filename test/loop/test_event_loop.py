"""A turn of the loop: its stages and their order, how long it waits, the time, the fds."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import Callable
from typing import Any, cast

import pytest
from loop_support import ready_source
from tcp_support import memory_socket

from thor.loop import EventSource, LoopBase, make
from thor.loop.deferred import MAX_ROUNDS
from thor.loop.event_loop import MAX_WAIT_S, SLICES_PER_TURN
from thor.loop.poller import MAX_EVENTS
from thor.testing import (
    ManualClock,
    MemoryPoller,
    Recorder,
    advance,
    connection_pair,
    memory_loop,
    settle,
)


@pytest.fixture
def mem() -> LoopBase:
    return memory_loop()


# -- a turn -------------------------------------------------------------------------------------


def test_stages_of_a_turn(mem: LoopBase) -> None:
    heard: list[str] = []

    class Written:
        def flush(self) -> None:
            heard.append("flush")

    class Ended:
        def close(self) -> None:
            heard.append("close")

    def timer() -> None:
        heard.append("timer")
        mem.to_flush.append(Written())
        mem.close_later(Ended())
        mem.call_soon(heard.append, "soon")

    mem.call_soon(heard.append, "soon, from before")
    mem.schedule_slice(heard.append, "slice")
    ready_source(mem, lambda: heard.append("fd"))
    mem.run_in_loop(heard.append, "thread")
    mem.schedule(0, timer)
    mem.run_once()
    assert heard == [
        *("timer", "thread", "fd", "slice", "soon, from before", "soon", "flush", "close")
    ]


def test_slices_are_few_in_a_turn_and_in_order(mem: LoopBase) -> None:
    heard: list[int] = []
    for number in range(SLICES_PER_TURN + 1):
        mem.schedule_slice(heard.append, number)
    mem.run_once()
    assert heard == list(range(SLICES_PER_TURN))
    mem.run_once(None)  # it does not wait: there is one left
    assert heard == list(range(SLICES_PER_TURN + 1))


def test_slice_that_schedules_the_next_one_starves_nobody(mem: LoopBase) -> None:
    heard: list[str] = []

    def slice_of_work() -> None:
        heard.append("slice")
        mem.schedule_slice(slice_of_work)

    mem.schedule_slice(slice_of_work)
    ready_source(mem, lambda: heard.append("fd"))
    for _ in range(3):
        mem.run_once()
    assert heard == ["fd", "slice"] * 3


def test_slices_are_forgotten_with_the_loop(mem: LoopBase) -> None:
    mem.schedule_slice(pytest.fail)
    mem.stop()
    mem.run_once()


def test_slice_must_be_callable(mem: LoopBase) -> None:
    with pytest.raises(TypeError):
        mem.schedule_slice("not this")  # type: ignore[arg-type]


def test_what_a_method_causes_comes_after_the_current_callback(mem: LoopBase) -> None:
    heard: list[str] = []

    def callback() -> None:
        mem.call_soon(heard.append, "caused")
        heard.append("callback")

    mem.schedule(0, callback)
    mem.run_once()
    assert heard == ["callback", "caused"]


def test_what_is_caused_by_what_was_caused_is_settled_in_the_same_turn(mem: LoopBase) -> None:
    heard: list[int] = []

    def cause(n: int) -> None:
        heard.append(n)
        if n < 5:
            mem.call_soon(cause, n + 1)

    mem.call_soon(cause, 0)
    mem.run_once()
    assert heard == [0, 1, 2, 3, 4, 5]


def test_what_never_settles_does_not_starve_the_fds(mem: LoopBase) -> None:
    rounds = 0

    def again() -> None:
        nonlocal rounds
        rounds += 1
        mem.call_soon(again)

    heard: list[str] = []
    ready_source(mem, lambda: heard.append("fd"))
    mem.call_soon(again)
    mem.run_once()
    mem.run_once()
    assert heard == ["fd", "fd"]
    assert rounds == 2 * MAX_ROUNDS


def test_calls_that_wait_keep_the_loop_from_waiting(mem: LoopBase) -> None:
    assert mem.next_timeout() is None
    mem.call_soon(lambda: None)
    assert mem.next_timeout() == 0.0
    mem.run_once()
    assert mem.next_timeout() is None


def test_batch_is_256_events_then_what_was_written_is_flushed(mem: LoopBase) -> None:
    heard: list[str] = []

    class Written:
        def flush(self) -> None:
            heard.append("flush")

    def readable() -> None:
        if not mem.to_flush:
            mem.to_flush.append(Written())
        heard.append("fd")

    for _ in range(MAX_EVENTS + 10):
        ready_source(mem, readable)
    mem.run_once()
    assert heard == ["fd"] * 256 + ["flush"]


def test_each_connection_sends_once_a_turn_whatever_was_written(mem: LoopBase) -> None:
    client, server = connection_pair(mem)
    for word in (b"start", b"body", b"done"):
        mem.schedule(0, client.write, word)
    mem.run_once()
    assert memory_socket(client).calls["send"] == 1
    assert memory_socket(server).received == b"startbodydone"


def test_sockets_are_closed_at_the_end_of_the_turn_and_outside_of_one_at_once(
    mem: LoopBase,
) -> None:
    class Ended:
        closed = False

        def close(self) -> None:
            self.closed = True

    inside, outside = Ended(), Ended()
    seen: list[bool] = []

    def callback() -> None:
        mem.close_later(inside)
        seen.append(inside.closed)

    mem.schedule(0, callback)
    mem.run_once()
    mem.close_later(outside)
    assert (seen, inside.closed, outside.closed) == ([False], True, True)


def test_run_once_waits_no_longer_than_it_is_told() -> None:
    clock = ManualClock()
    loop = memory_loop(clock)
    began = clock.monotonic()
    loop.schedule(10, print)
    loop.run_once(3)
    assert clock.monotonic() == began + 3
    loop.run_once()
    assert clock.monotonic() == began + 3


def test_run_once_hosts_the_loop(mem: LoopBase) -> None:
    """Another loop calls it; neither `start` nor `stop` is said, and `stop()` forgets."""
    heard = Recorder(mem, "start", "stop")
    calls: list[str] = []
    mem.schedule(0, calls.append, "timer")
    mem.run_once()
    mem.schedule(0, mem.stop)
    mem.schedule(5, print)
    mem.run_once()
    assert calls == ["timer"]
    assert mem.scheduled_events() == []
    assert heard.events == []


# -- waiting ------------------------------------------------------------------------------------


class Waiting(MemoryPoller):
    """Notes how long it was told to wait, and ends the run after some waits."""

    def __init__(self, clock: ManualClock, most: int) -> None:
        super().__init__(clock)
        self.waits: list[float | None] = []
        self.most = most

    def poll(self, timeout_s: float | None) -> list[tuple[int, int]]:
        self.waits.append(timeout_s)
        if len(self.waits) >= self.most:
            raise KeyboardInterrupt
        return super().poll(timeout_s if timeout_s is not None else 0.0)


def waits(most: int, prepare: Callable[[LoopBase], object]) -> list[float | None]:
    clock = ManualClock()
    poller = Waiting(clock, most)
    loop = make(backend=poller, clock=clock)
    prepare(loop)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    return poller.waits


def test_idle_loop_does_not_wake() -> None:
    assert waits(1, lambda loop: None) == [None]


def test_idle_loop_with_idle_connections_does_not_wake(mem: LoopBase) -> None:
    for conn in connection_pair(mem):
        conn.pause(False)
    settle(mem)
    assert isinstance(mem.fds.poller, MemoryPoller)
    before = mem.fds.poller.polls
    with pytest.raises(RuntimeError, match="wait for ever"):
        mem.run()
    assert mem.fds.poller.polls == before + 1


def test_loop_sleeps_until_the_nearest_timer() -> None:
    def prepare(loop: LoopBase) -> None:
        for delta in (30, 10, 20):
            loop.schedule(delta, lambda: None)

    assert waits(4, prepare) == [10, 10, 10, None]


def test_deleted_timer_wakes_nobody() -> None:
    assert waits(1, lambda loop: loop.schedule(10, print).delete()) == [None]


def test_timer_far_off_is_waited_for_in_days() -> None:
    assert waits(2, lambda loop: loop.schedule(1e9, print)) == [MAX_WAIT_S, MAX_WAIT_S]


@pytest.mark.parametrize("timeout_s", [1e9, float("inf")])
def test_run_once_takes_any_timeout(loop: LoopBase, timeout_s: float) -> None:
    loop.run_in_loop(lambda: None)
    loop.run_once(timeout_s)


# -- time ---------------------------------------------------------------------------------------


def test_time_is_the_wall_clock_as_of_this_turn(mem: LoopBase) -> None:
    clock = mem.clock
    assert isinstance(clock, ManualClock)
    seen: list[float] = []

    def callback() -> None:
        seen.append(mem.time())
        clock.advance(10)
        seen.append(mem.time())

    began = clock.time()
    mem.schedule(0, callback)
    mem.run_once()
    assert seen == [began, began]
    mem.schedule(0, callback)
    mem.run_once()
    assert seen[2:] == [began + 10, began + 10]


def test_timeoutside_of_a_turn_is_the_wall_clock(mem: LoopBase) -> None:
    mem.schedule(0, mem.time)
    mem.run_once()
    for _ in range(2):
        mem.clock.advance(10)  # type: ignore[attr-defined]
        assert mem.time() == mem.clock.time()


def test_wall_clock_may_jump_without_harm_to_timers() -> None:
    class Jumping(ManualClock):
        def time(self) -> float:
            return -super().time()

    loop = memory_loop(Jumping())
    heard: list[str] = []
    loop.schedule(5, heard.append, "fired")
    advance(loop, 5)
    assert heard == ["fired"]


# -- fds ----------------------------------------------------------------------------------------


def test_introspection_shows_the_programs_fds_only(loop: LoopBase) -> None:
    near, far = socket.socketpair()
    loop.run_once()
    assert (loop.fd_count(), loop.registered_fd_handlers()) == (0, [])
    source = EventSource(loop)
    source.register_fd(near.fileno())
    assert loop.fd_count() == 1
    handlers = loop.registered_fd_handlers()
    assert handlers == [source]
    handlers.clear()
    assert loop.fd_count() == 1
    source.unregister_fd()
    near.close()
    far.close()


def test_two_loops_do_not_know_each_other(make_loop: Callable[..., LoopBase], poller: str) -> None:
    one, other = make_loop(backend=poller), make_loop(backend=poller)
    heard: list[str] = []
    one.schedule(0, heard.append, "one")
    other.schedule(0, heard.append, "other")
    one.schedule(0, lambda: other.run_once())  # a loop may run inside another
    one.run_once()
    assert heard == ["one", "other"]


def test_loop_that_nobody_holds_is_freed() -> None:
    def made() -> weakref.ref[LoopBase]:
        loop = memory_loop()
        loop.run_once()
        return weakref.ref(loop)

    ref = made()
    gc.collect()
    assert ref() is None


@pytest.mark.parametrize("wrong", [None, 5, "print"])
def test_what_cannot_be_called_is_refused_at_once(loop: LoopBase, wrong: Any) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: loop.schedule(1, wrong),
        lambda: loop.run_in_loop(wrong),
        lambda: loop.run_in_thread(wrong),
        lambda: loop.run_in_thread(int, then=wrong or cast(Any, 0)),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="a callback must be callable, not"):
            call()
    assert loop.scheduled_events() == []


def test_loop_refuses_callbacks_that_are_coroutine_functions(loop: LoopBase) -> None:
    async def wrong() -> None: ...

    calls: list[Callable[[], Any]] = [
        lambda: loop.schedule(1, wrong),
        lambda: loop.run_in_loop(wrong),
        lambda: loop.run_in_thread(wrong),
        lambda: loop.run_in_thread(int, then=wrong),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"a callback .* needs asyncio hosting"):
            call()
    assert loop.scheduled_events() == []
