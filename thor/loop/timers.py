"""Timers: a heap of what is to be called, and when.

Owns: the order of scheduled events. It is handed `now` and never reads a clock.

Theory of operation: a binary heap of `(when, number, event)`; the number makes equal times keep
the order of scheduling, and keeps events from being compared. Deleting marks the event, O(1);
the entry is dropped when it comes up, or when the dead outnumber the living and the heap is
made anew, so that the cost stays O(log n) each and the memory in proportion.

A signal handler may add and delete timers between any two steps of this code. So the heap is one
list for ever, each change of it is one call of C, and what is taken out is looked at afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

#: Below so many dead entries the heap is left as it is.
MIN_COMPACT_ENTRIES = 512


class ScheduledEvent:
    """A call that is to be made at a time. Made by `schedule`."""

    __slots__ = ("_timers", "args", "callback", "context", "when")

    def __init__(
        self,
        timers: Timers,
        when: float,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: Context | None,
    ) -> None:
        self._timers: Timers | None = timers
        self.when = when
        self.callback: Callable[..., Any] | None = callback
        self.args = args
        self.context = context

    def delete(self) -> None:
        """Do not make the call. Harmless when it was made or deleted already."""
        if self.callback is not None:
            self.callback = None
            self.args = ()
            if self._timers is not None:
                self._timers.forget_one()

    def __repr__(self) -> str:
        name = getattr(self.callback, "__qualname__", repr(self.callback))
        return f"<ScheduledEvent {name} at {self.when:.3f}>"


class Timers:
    """The heap of scheduled events."""

    __slots__ = ("_dead", "_heap", "_numbers")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, ScheduledEvent]] = []
        self._numbers = count()
        self._dead = 0

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def add(
        self,
        when: float,
        callback: Callable[..., Any],
        args: tuple[Any, ...],
        context: Context | None,
    ) -> ScheduledEvent:
        """Remember to call `callback(*args)` at `when` (monotonic seconds)."""
        event = ScheduledEvent(self, when, callback, args, context)
        heappush(self._heap, (when, next(self._numbers), event))
        return event

    def next_due(self) -> float | None:
        """When the earliest event is due (monotonic seconds), None without one."""
        heap = self._heap
        while heap:
            when, _, event = heap[0]
            if event.callback is not None:
                return when
            self._pop()
        return None

    def pop_due(self, now: float) -> ScheduledEvent | None:
        """Take out the earliest event, if it is due at `now`."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            event = self._pop()
            if event is not None:
                return event
        return None

    def _pop(self) -> ScheduledEvent | None:
        """Take out the first entry; None if its event was deleted."""
        event = heappop(self._heap)[2]
        event._timers = None
        if event.callback is not None:
            return event
        self._dead -= 1
        return None

    def put_back(self, event: ScheduledEvent) -> None:
        """Put in again what `pop_due` took out."""
        if event.callback is not None:
            event._timers = self
            heappush(self._heap, (event.when, next(self._numbers), event))

    def pending(self) -> list[ScheduledEvent]:
        """The events that will fire, in no particular order."""
        return [entry[2] for entry in self._heap if entry[2].callback is not None]

    def forget_one(self) -> None:
        """Note that an event in the heap was marked as deleted."""
        self._dead += 1
        if self._dead > MIN_COMPACT_ENTRIES and self._dead * 2 > len(self._heap):
            self._compact()

    def _compact(self) -> None:
        """Drop the dead entries."""
        heap = self._heap
        found = heap.copy()
        living = [entry for entry in found if entry[2].callback is not None]
        heapify(living)
        if heap == found:  # else a signal handler was here: the next delete tries again
            heap[:] = living
            self._dead -= len(found) - len(living)

    def clear(self) -> None:
        """Forget all of them; deleting one later does nothing."""
        for _, _, event in self._heap:
            event.callback = event._timers = None
            event.args = ()
        self._heap.clear()
        self._dead = 0
