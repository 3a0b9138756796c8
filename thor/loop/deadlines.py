"""Dead-lines of many connections, at the cost of an attribute write each time one moves.

Owns: which connections have a dead-line. Must not know what a dead-line is for.

Theory of operation: a connection's dead-line moves on with each request or byte, and hardly ever
passes. So the connection holds it as a number, `_deadline_at`, and has at most one valid entry in
a heap, at a time not later than that number. When the entry comes up and the dead-line has moved
on meanwhile, the entry is put in again where the dead-line is now. Moving it later costs nothing;
moving it earlier than the entry needs a new entry, and leaves a stale one, told by its time.
One timer of the loop, at the earliest entry, serves all of them.

An entry keeps its connection from being freed. So when the heap has doubled, the entries that are
stale, and those of connections that have no dead-line any more, are dropped: what is kept is in
proportion to what lives.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from thor.loop.base import LoopBase
    from thor.loop.timers import ScheduledEvent


#: Below so many entries the heap is left as it is.
COMPACT_FROM = 512


class HasDeadline(Protocol):
    """What has a dead-line."""

    #: When it is (monotonic seconds), `inf` for never.
    _deadline_at: float
    #: Where its entry in the heap is; `inf` without one. Written by `Deadlines` alone.
    _deadline_entry: float

    def _deadline_due(self, now: float) -> None:
        """The dead-line has passed; `_deadline_at` is `inf` now."""


class Deadlines:
    """The dead-lines of one loop."""

    def __init__(self, loop: LoopBase) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, HasDeadline]] = []
        self._compact_at = COMPACT_FROM
        self._numbers = count()
        self._timer: ScheduledEvent | None = None

    def arm(self, holder: HasDeadline, when: float) -> None:
        """Set the dead-line of `holder` to `when` (monotonic seconds; `inf`: none)."""
        holder._deadline_at = when
        if when < holder._deadline_entry:
            holder._deadline_entry = when
            heappush(self._heap, (when, next(self._numbers), holder))
            if len(self._heap) > self._compact_at:
                self._compact()
            timer = self._timer
            if timer is None or when < timer.when:
                self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.delete()
            self._timer = None
        if self._heap:
            self._timer = self._loop._schedule_at(self._heap[0][0], self._sweep)

    def _compact(self) -> None:
        """Drop the entries that nobody needs."""
        living = []
        for entry in self._heap:
            when, _, holder = entry
            if when == holder._deadline_entry:
                if holder._deadline_at == inf:
                    holder._deadline_entry = inf
                else:
                    living.append(entry)
        heapify(living)
        self._heap = living
        self._compact_at = 2 * len(living) + COMPACT_FROM

    def _sweep(self) -> None:
        """Look at what may be due, and at nothing else."""
        self._timer = None
        now = self._loop._now
        # What a dead-line sets for now is looked at in the next turn, or it would starve the fds.
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heappop(self._heap))
        due.reverse()
        try:
            while due:
                when, _, holder = due.pop()
                if when == holder._deadline_entry:  # else stale: it was moved before this one
                    holder._deadline_entry = inf
                    if holder._deadline_at > now:
                        self.arm(holder, holder._deadline_at)
                    else:
                        holder._deadline_at = inf
                        self._loop._call(holder._deadline_due, (now,), None)
        finally:
            for entry in due:  # where an exception leaves `run()`
                heappush(self._heap, entry)
            self._set_timer()

    def clear(self) -> None:
        """Forget all dead-lines."""
        for _, _, holder in self._heap:
            holder._deadline_at = holder._deadline_entry = inf
        self._heap.clear()
        self._compact_at = COMPACT_FROM
        self._timer = None
