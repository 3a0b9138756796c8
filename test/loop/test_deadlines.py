"""Deadlines: they pass when they are due, moving them costs next to nothing, and the loop's one
timer serves all of them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from functools import partial
from math import inf

import pytest

from thor.loop import LoopBase
from thor.loop.deadlines import MIN_COMPACT_ENTRIES
from thor.testing import advance, memory_loop, settle


class Holder:
    """What has a deadline; it notes when that passed."""

    def __init__(self, loop: LoopBase, then: Callable[[], object] = lambda: None) -> None:
        self.deadline_at = inf
        self.deadline_entry = inf
        self.loop = loop
        self.began = loop.clock.monotonic()
        self.then = then
        self.passed: list[float] = []
        self.failures: list[BaseException] = []

    def arm(self, delta: float) -> None:
        self.loop.deadlines.arm(self, self.loop.clock.monotonic() + delta)

    def extend(self, delta: float) -> None:
        """What a hot path does: it writes an attribute."""
        self.deadline_at = self.loop.clock.monotonic() + delta

    def on_deadline(self, now: float) -> None:
        assert self.deadline_at == inf
        self.passed.append(now - self.began)
        self.then()

    def failed(self, exc: BaseException) -> None:
        self.failures.append(exc)


@pytest.fixture
def mem() -> LoopBase:
    return memory_loop()


def test_deadline_passes_when_it_is_due_and_once(mem: LoopBase) -> None:
    holder = Holder(mem)
    holder.arm(5)
    advance(mem, 4.9)
    assert holder.passed == []
    advance(mem, 100)
    assert holder.passed == [5]


def test_extended_deadline_passes_at_its_new_time(mem: LoopBase) -> None:
    holder = Holder(mem)
    holder.arm(5)
    advance(mem, 3)
    holder.extend(5)
    advance(mem, 4.9)
    assert holder.passed == []
    advance(mem, 1)
    assert holder.passed == [8]


def test_deadline_extended_again_and_again_makes_no_timers(mem: LoopBase) -> None:
    holder = Holder(mem)
    holder.arm(5)
    for _ in range(1000):
        holder.arm(5)
        advance(mem, 0.01)
    assert len(mem.scheduled_events()) == 1
    assert len(mem.deadlines._heap) == 1
    advance(mem, 5)
    assert holder.passed == [pytest.approx(10 - 0.01 + 5)]


def test_earlier_deadline_passes_at_its_time_and_only_then(mem: LoopBase) -> None:
    holder = Holder(mem)
    holder.arm(60)
    advance(mem, 1)
    holder.arm(2)
    advance(mem, 100)
    assert holder.passed == [3]


def test_deadline_moved_to_and_fro_passes_once(mem: LoopBase) -> None:
    holder = Holder(mem)
    for delta in (60, 10, 30, 5, 60, 20):
        holder.arm(delta)
    advance(mem, 100)
    assert holder.passed == [20]


def test_what_was_left_by_moving_a_deadline_goes_when_its_time_comes(mem: LoopBase) -> None:
    holder = Holder(mem)
    holder.arm(60)
    holder.arm(10)
    holder.extend(100)
    advance(mem, 70)
    assert len(mem.deadlines._heap) == 1
    advance(mem, 30)
    assert holder.passed == [100]


def test_deadline_of_never_does_not_pass_and_can_be_set_again(mem: LoopBase) -> None:
    holder = Holder(mem)
    holder.arm(5)
    holder.deadline_at = inf
    advance(mem, 10)
    assert holder.passed == []
    assert mem.scheduled_events() == []
    holder.arm(5)
    advance(mem, 10)
    assert holder.passed == [15]


def test_deadlines_pass_in_order_of_time(mem: LoopBase) -> None:
    order: list[int] = []
    for delta in (3, 1, 2):
        Holder(mem, partial(order.append, delta)).arm(delta)
    mem.clock.advance(10)  # type: ignore[attr-defined]
    settle(mem)
    assert order == [1, 2, 3]


def test_one_timer_serves_all_at_the_earliest(mem: LoopBase) -> None:
    holders = [Holder(mem) for _ in range(100)]
    for number, holder in enumerate(holders):
        holder.arm(200 - number)
    ((left, _),) = mem.scheduled_events()
    assert left == 101


def test_loop_wakes_once_for_a_deadline_that_nobody_moves(mem: LoopBase) -> None:
    holder = Holder(mem)
    holder.arm(60)
    settle(mem)
    poller = mem.fds.poller
    before = poller.polls  # type: ignore[union-attr]
    mem.schedule(61, mem.stop)
    mem.run()
    assert holder.passed == [60]
    assert poller.polls - before <= 3  # type: ignore[union-attr]


def test_deadline_set_again_when_it_passes(mem: LoopBase) -> None:
    holder = Holder(mem)
    holder.then = lambda: holder.arm(5)
    holder.arm(5)
    advance(mem, 16)
    assert holder.passed == [5, 10, 15]
    holder.deadline_at = inf


def test_deadline_set_for_now_waits_for_the_next_turn(mem: LoopBase) -> None:
    """Or it would starve the fds."""
    holder = Holder(mem)
    holder.then = lambda: holder.arm(0)
    holder.arm(0)
    mem.run_once()
    assert len(holder.passed) == 1
    mem.run_once()
    assert len(holder.passed) == 2


def test_deadline_that_another_one_extends_does_not_pass(mem: LoopBase) -> None:
    second = Holder(mem)
    first = Holder(mem, lambda: second.extend(5))
    first.arm(1)
    second.arm(1)
    advance(mem, 1)
    assert (first.passed, second.passed) == ([1], [])
    advance(mem, 5)
    assert second.passed == [6]


def test_deadline_that_another_one_takes_away_does_not_pass(mem: LoopBase) -> None:
    second = Holder(mem)
    first = Holder(mem, lambda: setattr(second, "deadline_at", inf))
    first.arm(1)
    second.arm(1)
    advance(mem, 10)
    assert second.passed == []


def test_what_a_holder_raises_is_told_to_it_and_the_others_go_on(
    mem: LoopBase, expected_logs: object
) -> None:
    mem.on_exception = "log"
    first, second = Holder(mem, lambda: 1 / 0), Holder(mem)
    first.arm(1)
    second.arm(1)
    advance(mem, 1)
    assert [type(exc) for exc in first.failures] == [ZeroDivisionError]
    assert second.passed == [1]


def test_exception_that_leaves_run_keeps_the_other_deadlines(mem: LoopBase) -> None:
    first, second, third = Holder(mem, lambda: 1 / 0), Holder(mem), Holder(mem)
    first.arm(1)
    second.arm(1)
    third.arm(2)
    with pytest.raises(ZeroDivisionError):
        advance(mem, 1)
    advance(mem, 5)
    assert second.passed == [1]
    assert third.passed == [2]


def test_stop_forgets_deadlines_and_they_can_be_set_again(mem: LoopBase) -> None:
    holder = Holder(mem)
    holder.arm(1)
    mem.stop()
    assert holder.deadline_at == inf
    advance(mem, 10)
    assert holder.passed == []
    holder.arm(1)
    advance(mem, 1)
    assert holder.passed == [11]


def test_sweep_shares_a_turn_with_timers_that_precision_brings_forward(mem: LoopBase) -> None:
    mem.precision = 5.0
    holder = Holder(mem)
    holder.arm(3)
    mem.schedule(1, lambda: None)
    advance(mem, 1)
    assert holder.passed == []
    advance(mem, 2)
    assert holder.passed == [3]


# -- what is kept -------------------------------------------------------------------------------


def test_holders_that_have_no_deadline_any_more_are_let_go(mem: LoopBase) -> None:
    """A server of short connections would else keep each one until its timeout."""
    living: list[Holder] = []
    gone: list[weakref.ref[Holder]] = []
    for number in range(20_000):
        holder = Holder(mem)
        holder.arm(60)
        if number % 200:
            holder.deadline_at = inf
            gone.append(weakref.ref(holder))
        else:
            living.append(holder)
    del holder
    gc.collect()
    assert sum(ref() is not None for ref in gone) <= 2 * len(living) + 2 * MIN_COMPACT_ENTRIES
    advance(mem, 60)
    assert all(holder.passed for holder in living)


def test_holder_that_was_let_go_can_have_a_deadline_again(mem: LoopBase) -> None:
    holder = Holder(mem)
    holder.arm(60)
    holder.deadline_at = inf
    others = [Holder(mem) for _ in range(2 * MIN_COMPACT_ENTRIES)]
    for other in others:
        other.arm(90)
    holder.arm(70)
    advance(mem, 80)
    assert holder.passed == [70]


def test_deadline_that_is_moved_forward_and_back_leaves_nothing_behind(mem: LoopBase) -> None:
    """An idle timeout of a day and a head timeout of ten seconds, request after request."""
    holder = Holder(mem)
    for _ in range(10_000):
        holder.arm(86400)
        holder.arm(10)
        holder.extend(86400)
        advance(mem, 11)
    assert len(mem.deadlines._heap) <= 2 * MIN_COMPACT_ENTRIES
    assert holder.passed == []
