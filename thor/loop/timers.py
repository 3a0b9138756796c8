"""Timers: a heap of scheduled calls, ordered by time.

Owns: the order of scheduled events. Must not know clocks: it is passed the time.

Theory of operation: a binary heap of `(when, number, event)`; the number makes equal times keep
the order of scheduling, and keeps events from being compared. Deleting marks the event, O(1);
the entry is dropped when it is due, or when the deleted entries outnumber the others and the heap
is rebuilt, so that the cost stays O(log n) each and the memory in proportion.

A signal handler may add and delete timers between any two steps of this code. So the heap is
always the same list, each change of it is one call into C, and an entry is examined after it was
taken out.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TypeAlias

#: With fewer deleted entries the heap is not rebuilt.
MIN_COMPACT_ENTRIES = 512

#: Calls a callback with its arguments, in a context if there is one.
Run: TypeAlias = Callable[[Callable[..., object], tuple[object, ...], Context | None], None]


class ScheduledEvent:
    """A call that is scheduled. Made by `schedule`."""

    __slots__ = ("_timers", "args", "callback", "context", "when")

    def __init__(
        self,
        timers: Timers,
        when: float,
        callback: Callable[..., object],
        args: tuple[object, ...],
        context: Context | None,
    ) -> None:
        self._timers: Timers | None = timers
        self.when = when
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = context

    def delete(self) -> None:
        """Cancel the call. Harmless when it was made or deleted already."""
        if self.callback is not None:
            self.callback = None
            self.args = ()
            if self._timers is not None:
                self._timers.on_deleted()

    def __repr__(self) -> str:
        name = getattr(self.callback, "__qualname__", repr(self.callback))
        return f"<ScheduledEvent {name} at {self.when:.3f}>"


class Timers:
    """The heap of scheduled events."""

    __slots__ = ("_deleted_count", "_heap", "_numbers")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, ScheduledEvent]] = []
        self._numbers = count()
        self._deleted_count = 0

    def __len__(self) -> int:
        return len(self._heap) - self._deleted_count

    def add(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[object, ...],
        context: Context | None,
    ) -> ScheduledEvent:
        """Schedule `callback(*args)` at `when` (monotonic seconds)."""
        event = ScheduledEvent(self, when, callback, args, context)
        heappush(self._heap, (when, next(self._numbers), event))
        return event

    def next_due(self) -> float | None:
        """Return when the earliest event is due (monotonic seconds), None without one."""
        heap = self._heap
        while heap:
            when, _, event = heap[0]
            if event.callback is not None:
                return when
            self._pop()
        return None

    def pop_due(self, now: float) -> ScheduledEvent | None:
        """Take out the earliest event and return it, if it is due at `now`."""
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
        self._deleted_count -= 1
        return None

    def put_back(self, event: ScheduledEvent) -> None:
        """Put back what `pop_due` took out."""
        if event.callback is not None:
            event._timers = self
            heappush(self._heap, (event.when, next(self._numbers), event))

    def run_due(self, until: float, run: Run) -> None:
        """Run the events that are due at `until`.

        What they schedule for now is left for the next call, or it would starve the fds. Where
        `run` raises, the others are kept.
        """
        due = []
        while (event := self.pop_due(until)) is not None:
            due.append(event)
        for index, event in enumerate(due):
            callback, args = event.callback, event.args
            if callback is None:  # deleted by one that ran before it
                continue
            event.callback = None
            event.args = ()
            try:
                run(callback, args, event.context)
            except BaseException:
                for remaining in due[index + 1 :]:
                    self.put_back(remaining)
                raise

    def pending(self) -> list[ScheduledEvent]:
        """Return the events that will fire, in no given order."""
        return [entry[2] for entry in self._heap if entry[2].callback is not None]

    def on_deleted(self) -> None:
        """Count an event in the heap that was marked as deleted."""
        self._deleted_count += 1
        if self._deleted_count > MIN_COMPACT_ENTRIES and self._deleted_count * 2 > len(self._heap):
            self._compact()

    def _compact(self) -> None:
        """Drop the deleted entries."""
        heap = self._heap
        snapshot = heap.copy()
        kept = [entry for entry in snapshot if entry[2].callback is not None]
        heapify(kept)
        if heap == snapshot:  # else a signal handler changed it: the next delete tries again
            heap[:] = kept
            self._deleted_count -= len(snapshot) - len(kept)

    def clear(self) -> None:
        """Delete all events; deleting one later does nothing."""
        for _, _, event in self._heap:
            event.callback = event._timers = None
            event.args = ()
        self._heap.clear()
        self._deleted_count = 0
