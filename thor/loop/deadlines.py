"""Deadlines of many connections, at the cost of an attribute write each time one moves.

Owns: which connections have a deadline. Must not know what a deadline is for.

Theory of operation: a connection's deadline moves on with each request or byte, and hardly ever
passes. So the connection holds it as a number, `deadline_at`, and has at most one valid entry
here, at a time not later than that number. If the deadline has moved on when the entry is due, a
new entry is made for it. Moving a deadline later costs nothing; moving it earlier than its entry
needs a new entry, and leaves a stale one, which is recognised by its time. One timer of the loop,
at the earliest entry, serves all of them.

Most deadlines are far away and will have moved on before they are due. Those share one entry a
second, which is due when that second begins and costs an idle connection a pointer; a deadline that
really falls within the second then gets an entry of its own, so that it passes on time.

An entry keeps its connection from being freed. So when the number of entries has doubled, the stale
ones are dropped, and those of connections without a deadline: memory is in proportion to the
connections that have one.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from thor.loop.timers import ScheduledEvent

#: With fewer entries none is dropped.
MIN_COMPACT_ENTRIES = 512
#: A deadline that is farther away than this shares its entry.
COARSE_AFTER_S = 2.0


class DeadlineHost(Protocol):
    """The loop that the deadlines belong to."""

    now: float

    def call_at(self, when: float, callback: Callable[..., object], /) -> ScheduledEvent:
        """Call `callback()` at `when` (monotonic seconds)."""

    def run_callback(self, callback: Callable[..., object], /, *args: object) -> None:
        """Call `callback(*args)`, and report what it raises."""


class HasDeadline(Protocol):
    """Something with a deadline."""

    #: When the deadline is (monotonic seconds), `inf` for never.
    deadline_at: float
    #: The time of its entry; `inf` without one. Written by `Deadlines` alone.
    deadline_entry: float

    def on_deadline(self, now: float) -> None:
        """Handle that the deadline has passed; `deadline_at` is `inf` now."""


class Deadlines:
    """The deadlines of one loop."""

    def __init__(self, loop: DeadlineHost) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, list[HasDeadline]]] = []
        #: The shared entries, by the second; they are in the heap too.
        self._shared: dict[float, tuple[float, int, list[HasDeadline]]] = {}
        self._entries = 0
        self._compact_at = MIN_COMPACT_ENTRIES
        self._numbers = count()
        self._timer: ScheduledEvent | None = None

    def arm(self, holder: HasDeadline, when: float) -> None:
        """Set the deadline of `holder` to `when` (monotonic seconds; `inf`: none)."""
        holder.deadline_at = when
        if when < holder.deadline_entry:
            self._add_entry(holder, when)
            if self._entries > self._compact_at:
                self._compact()
            timer = self._timer
            if timer is None or holder.deadline_entry < timer.when:
                self._set_timer()

    def _add_entry(self, holder: HasDeadline, when: float) -> None:
        """Make an entry for `holder`, whose deadline is `when`, or have it share one."""
        self._entries += 1
        if when < self._loop.now + COARSE_AFTER_S:
            holder.deadline_entry = when
            heappush(self._heap, (when, next(self._numbers), [holder]))
        elif (entry := self._shared.get(second := when // 1.0)) is not None:
            holder.deadline_entry = entry[0]  # the float object is shared too
            entry[2].append(holder)
        else:
            holder.deadline_entry = second
            entry = self._shared[second] = (second, next(self._numbers), [holder])
            heappush(self._heap, entry)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.delete()
            self._timer = None
        if self._heap:
            self._timer = self._loop.call_at(self._heap[0][0], self._run_due)

    def _compact(self) -> None:
        """Drop the entries that are not needed."""
        kept = []
        self._entries = 0
        for entry in self._heap:
            when, _, holders = entry
            needed = []
            for holder in holders:
                if when == holder.deadline_entry:
                    if holder.deadline_at == inf:
                        holder.deadline_entry = inf
                    else:
                        needed.append(holder)
            holders[:] = needed
            self._entries += len(needed)
            if needed:
                kept.append(entry)
            elif self._shared.get(when) is entry:
                del self._shared[when]
        heapify(kept)
        self._heap = kept
        self._compact_at = 2 * self._entries + MIN_COMPACT_ENTRIES

    def _run_due(self) -> None:
        """Handle the entries that are due, and the deadlines among them that have passed."""
        self._timer = None
        now = self._loop.now
        # What a deadline sets for now is handled in the next turn, or it would starve the fds.
        due: list[tuple[float, HasDeadline]] = []
        while self._heap and self._heap[0][0] <= now:
            when, _, holders = heappop(self._heap)
            self._shared.pop(when, None)
            self._entries -= len(holders)
            due += [(when, holder) for holder in holders]
        due.reverse()
        try:
            while due:
                when, holder = due.pop()
                if when == holder.deadline_entry:  # else stale: it was moved before this one
                    holder.deadline_entry = inf
                    if holder.deadline_at > now:
                        self.arm(holder, holder.deadline_at)
                    else:
                        holder.deadline_at = inf
                        self._loop.run_callback(holder.on_deadline, now)
        finally:
            for when, holder in due:  # where an exception leaves `run()`
                heappush(self._heap, (when, next(self._numbers), [holder]))
            self._entries += len(due)
            self._set_timer()

    def clear(self) -> None:
        """Forget all deadlines."""
        for _, _, holders in self._heap:
            for holder in holders:
                holder.deadline_at = holder.deadline_entry = inf
        self._heap.clear()
        self._shared.clear()
        self._entries = 0
        self._compact_at = MIN_COMPACT_ENTRIES
        self._timer = None
