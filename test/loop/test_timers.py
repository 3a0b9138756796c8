"""Timers: what is called, when, in which order, and what is kept of those that were deleted."""

from __future__ import annotations

import contextvars
import gc
import random
import time
import weakref
from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest

from thor.loop import LoopBase, make
from thor.loop.timers import MIN_COMPACT_ENTRIES, ScheduledEvent, Timers
from thor.testing import ManualClock, MemoryPoller, advance, memory_loop, settle

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="nothing")


@pytest.fixture
def mem() -> LoopBase:
    return memory_loop()


def add(timers: Timers, when: float) -> ScheduledEvent:
    return timers.add(when, print, (), None)


# -- the heap -----------------------------------------------------------------------------------


def test_events_come_out_in_order_of_time() -> None:
    timers = Timers()
    times = [random.Random(1).random() for _ in range(500)]
    for when in times:
        add(timers, when)
    out = []
    while (event := timers.pop_due(inf)) is not None:
        out.append(event.when)
    assert out == sorted(times)


def test_equal_times_come_out_in_order_of_scheduling() -> None:
    timers = Timers()
    events = [add(timers, 1.0) for _ in range(100)]
    assert [timers.pop_due(1.0) for _ in events] == events


def test_what_is_not_due_stays() -> None:
    timers = Timers()
    add(timers, 2.0)
    assert timers.pop_due(1.9) is None
    assert timers.next_due() == 2.0
    assert timers.pop_due(2.0) is not None
    assert timers.next_due() is None


def test_deleted_event_is_not_pending() -> None:
    timers = Timers()
    first, second = add(timers, 1.0), add(timers, 2.0)
    first.delete()
    first.delete()
    assert timers.pending() == [second]
    assert len(timers) == 1
    assert timers.next_due() == 2.0
    assert timers.pop_due(inf) is second
    assert len(timers) == 0


def test_event_that_was_put_back_keeps_its_time() -> None:
    timers = Timers()
    add(timers, 1.0)
    event = timers.pop_due(1.0)
    assert event is not None
    timers.put_back(event)
    assert timers.next_due() == 1.0
    event.delete()
    assert timers.next_due() is None
    assert len(timers) == 0


def test_event_deleted_while_it_is_out_is_not_put_back() -> None:
    timers = Timers()
    add(timers, 1.0)
    event = timers.pop_due(1.0)
    assert event is not None
    event.delete()
    timers.put_back(event)
    assert timers.pending() == []


def test_deleting_after_clear_is_harmless() -> None:
    timers = Timers()
    event = add(timers, 1.0)
    timers.clear()
    assert event.callback is None
    event.delete()
    assert len(timers) == 0
    assert timers.next_due() is None


def test_many_timers_leave_no_more_dead_than_living() -> None:
    """Whatever is deleted: what is kept is in proportion to what is pending."""
    timers = Timers()
    chance = random.Random(2)
    living: list[ScheduledEvent] = []
    worst = 0
    for _ in range(100_000):
        event = add(timers, chance.random())
        if len(living) < 1000:
            living.append(event)
        else:
            event.delete()
        worst = max(worst, len(timers._heap))
    assert worst <= 2 * 1000 + 2 * MIN_COMPACT_ENTRIES
    assert len(timers) == 1000
    assert sorted(e.when for e in living) == sorted(e.when for e in timers.pending())


def test_deleting_all_of_many_leaves_next_to_nothing() -> None:
    timers = Timers()
    events = [add(timers, float(n)) for n in range(10_000)]
    random.Random(3).shuffle(events)
    for event in events:
        event.delete()
    assert len(timers) == 0
    assert len(timers._heap) <= 2 * MIN_COMPACT_ENTRIES


def test_signal_handler_may_add_and_delete_while_the_dead_are_dropped() -> None:
    """The handler runs between two steps of the library; here: while it looks at an event."""
    timers = Timers()
    late: list[ScheduledEvent] = []

    class Watched(ScheduledEvent):
        __slots__ = ()

        @property
        def callback(self) -> Any:
            if not late:
                late.append(add(timers, 0.5))
                others[0].delete()
            return None

        @callback.setter
        def callback(self, value: Any) -> None:
            pass

    others = [add(timers, 1.0 + n) for n in range(3)]
    entry = (0.1, -1, Watched(timers, 0.1, print, (), None))
    timers._heap.insert(0, entry)
    timers._deleted_count = 1
    timers._compact()
    assert [timers.pop_due(inf) for _ in range(3)] == [late[0], *others[1:]]
    assert timers.pop_due(inf) is None
    assert len(timers) == 0


def test_fired_or_deleted_event_lets_go_of_its_arguments(mem: LoopBase) -> None:
    class Argument:
        pass

    def schedule(delta: float) -> tuple[ScheduledEvent, weakref.ref[Argument]]:
        argument = Argument()
        return mem.schedule(delta, lambda arg: None, argument), weakref.ref(argument)

    fired, fired_argument = schedule(0)
    deleted, deleted_argument = schedule(1)
    deleted.delete()
    settle(mem)
    gc.collect()
    assert (fired_argument(), deleted_argument()) == (None, None)
    fired.delete()


# -- on a loop ----------------------------------------------------------------------------------


def test_timer_fires_when_it_is_due_and_not_before(mem: LoopBase) -> None:
    heard: list[Any] = []
    mem.schedule(1.5, heard.append, "fired")
    advance(mem, 1.499)
    assert heard == []
    advance(mem, 0.001)
    assert heard == ["fired"]
    advance(mem, 100)
    assert heard == ["fired"]


def test_arguments_are_handed_on(mem: LoopBase) -> None:
    heard: list[Any] = []
    mem.schedule(0, lambda *args: heard.append(args), 1, "two")
    settle(mem)
    assert heard == [(1, "two")]


def test_timers_fire_in_order_of_time_then_of_scheduling(mem: LoopBase) -> None:
    heard: list[str] = []
    for name, delta in (("d", 3), ("b", 2), ("c", 2), ("a", 1)):
        mem.schedule(delta, heard.append, name)
    mem.clock.advance(5)  # type: ignore[attr-defined]
    settle(mem)
    assert heard == ["a", "b", "c", "d"]


@pytest.mark.parametrize("delta", [-1, -0.001, nan, -inf])
def test_delta_that_is_negative_or_not_a_number_is_refused(mem: LoopBase, delta: float) -> None:
    with pytest.raises(ValueError, match="delta"):
        mem.schedule(delta, print)
    assert mem.scheduled_events() == []


def test_delta_of_nothing_fires_in_the_next_turn(mem: LoopBase) -> None:
    heard: list[str] = []
    mem.schedule(0, heard.append, "fired")
    assert heard == []
    mem.run_once()
    assert heard == ["fired"]


def test_deleted_timer_does_not_fire(mem: LoopBase) -> None:
    heard: list[str] = []
    mem.schedule(1, heard.append, "deleted").delete()
    mem.schedule(1, heard.append, "kept")
    advance(mem, 2)
    assert heard == ["kept"]


def test_timer_deleted_by_one_that_is_due_with_it_does_not_fire(mem: LoopBase) -> None:
    heard: list[str] = []
    mem.schedule(1, lambda: second.delete())
    second = mem.schedule(1, heard.append, "second")
    advance(mem, 2)
    assert heard == []


def test_deleting_a_timer_that_fired_is_harmless(mem: LoopBase) -> None:
    heard: list[str] = []
    event = mem.schedule(0, lambda: event.delete())
    mem.schedule(1, heard.append, "other")
    settle(mem)
    event.delete()
    assert len(mem.scheduled_events()) == 1
    advance(mem, 1)
    assert heard == ["other"]


def test_what_a_timer_schedules_for_now_waits_for_the_next_turn(mem: LoopBase) -> None:
    """Or a timer that schedules itself at once would starve the fds."""
    heard: list[str] = []

    def again() -> None:
        heard.append("fired")
        mem.schedule(0, again)

    mem.schedule(0, again)
    mem.run_once()
    assert heard == ["fired"]
    mem.run_once()
    assert heard == ["fired", "fired"]


def test_timers_scheduled_before_the_loop_runs_fire_when_it_runs(mem: LoopBase) -> None:
    heard: list[float] = []
    mem.schedule(2, lambda: heard.append(mem.clock.monotonic()))
    mem.schedule(3, mem.stop)
    began = mem.clock.monotonic()
    mem.run()
    assert heard == [began + 2]


def test_long_callback_does_not_make_its_timers_early(mem: LoopBase) -> None:
    clock = mem.clock
    assert isinstance(clock, ManualClock)
    heard: list[float] = []

    def long() -> None:
        clock.advance(10)
        mem.schedule(1, lambda: heard.append(clock.monotonic()))

    began = clock.monotonic()
    mem.schedule(0, long)
    advance(mem, 1)
    advance(mem, 20)
    assert heard == [began + 11]


def test_timer_scheduled_outside_of_a_turn_counts_from_then(mem: LoopBase) -> None:
    settle(mem)
    mem.clock.advance(100)  # type: ignore[attr-defined]
    event = mem.schedule(5, print)
    assert event.when == mem.clock.monotonic() + 5


def test_timers_run_in_the_context_in_which_they_were_scheduled(mem: LoopBase) -> None:
    heard: list[str] = []

    def scheduling() -> None:
        VAR.set("scheduled")
        mem.schedule(0, lambda: heard.append(VAR.get()))

    contextvars.Context().run(scheduling)
    settle(mem)
    assert heard == ["scheduled"]


def test_timer_scheduled_in_an_empty_context_runs_in_that_of_the_loop(mem: LoopBase) -> None:
    heard: list[str] = []
    contextvars.Context().run(mem.schedule, 0, lambda: heard.append(VAR.get()))

    def running() -> None:
        VAR.set("running")
        settle(mem)

    contextvars.Context().run(running)
    assert heard == ["running"]


def test_librarys_own_timers_keep_no_context(mem: LoopBase) -> None:
    def scheduling() -> ScheduledEvent:
        VAR.set("scheduled")
        return mem.call_later(0, print)

    assert contextvars.Context().run(scheduling).context is None


def test_precision_lets_timers_run_together() -> None:
    clock = ManualClock()
    loop = make(precision=0.5, backend=MemoryPoller(clock), clock=clock)
    heard: list[tuple[str, float]] = []
    began = clock.monotonic()
    for name, delta in (("a", 1.0), ("b", 1.4), ("c", 1.6)):
        loop.schedule(delta, lambda name=name: heard.append((name, clock.monotonic() - began)))
    advance(loop, 3)
    assert heard == [("a", 1.0), ("b", 1.0), ("c", pytest.approx(1.6))]


def test_precision_does_not_let_other_events_run_timers_early() -> None:
    clock = ManualClock()
    loop = make(precision=10.0, backend=MemoryPoller(clock), clock=clock)
    heard: list[str] = []
    loop.schedule(5, heard.append, "early")
    loop.run_in_loop(heard.append, "other")
    settle(loop)
    assert heard == ["other"]


def test_timer_further_off_than_the_kernel_can_wait(make_loop: Callable[..., LoopBase]) -> None:
    """epoll's longest wait is 24 days."""
    loop = make_loop()
    for delta in (1e9, 1e300, inf):
        loop.schedule(delta, print)
    loop.run_in_loop(loop.stop)
    loop.run()
    assert loop.scheduled_events() == []


def test_timer_on_a_real_clock_fires_when_due(
    loop: LoopBase, run_loop: Callable[..., None]
) -> None:
    fired: list[float] = []
    due = time.monotonic() + 0.02
    loop.schedule(0.02, lambda: fired.append(time.monotonic()))
    run_loop(loop, lambda: fired)
    assert fired[0] >= due - 0.001


def test_scheduled_events_are_those_that_are_pending(mem: LoopBase) -> None:
    kept, deleted = mem.schedule(1, print), mem.schedule(2, print)
    deleted.delete()
    assert mem.scheduled_events() == [(1, kept)]
    assert "print" in repr(kept)
    kept.delete()


def test_stop_forgets_timers(mem: LoopBase) -> None:
    heard: list[str] = []
    event = mem.schedule(1, heard.append, "forgotten")
    mem.schedule(0.5, mem.stop)
    mem.run()
    assert mem.scheduled_events() == []
    event.delete()
    advance(mem, 10)
    assert heard == []


def test_exception_that_leaves_run_keeps_the_other_timers(mem: LoopBase) -> None:
    heard: list[str] = []
    mem.schedule(1, heard.append, "a")
    mem.schedule(1, lambda: 1 / 0)
    mem.schedule(1, heard.append, "b")
    mem.schedule(1, heard.append, "c")
    with pytest.raises(ZeroDivisionError):
        advance(mem, 1)
    assert heard == ["a"]
    settle(mem)
    assert heard == ["a", "b", "c"]
