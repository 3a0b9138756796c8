"""Dead-lines of many connections, at the cost of an attribute write each time one moves.

Owns: which connections have a dead-line. Must not know what a dead-line is for.

Theory of operation: a connection's dead-line moves on with each request or byte, and hardly ever
passes. So the connection holds it as a number, `_deadline_at`, and has at most one valid entry
here, at a time not later than that number. When the entry comes up and the dead-line has moved on
meanwhile, the entry is put in again where the dead-line is now. Moving it later costs nothing;
moving it earlier than the entry needs a new entry, and leaves a stale one, told by its time.
One timer of the loop, at the earliest entry, serves all of them.

Most are far away and will have moved on when they come up. Those share one entry a second, which
comes up when that second begins and costs an idle connection a pointer; what is really due within
the second then gets an entry of its own, so that it passes on time.

An entry keeps its connection from being freed. So when the entries have doubled, those that are
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


#: Below so many entries they are left as they are.
COMPACT_FROM = 512
#: From so many seconds ahead on, a dead-line shares its entry.
FAR_S = 2.0


class HasDeadline(Protocol):
    """What has a dead-line."""

    #: When it is (monotonic seconds), `inf` for never.
    _deadline_at: float
    #: The time of its entry; `inf` without one. Written by `Deadlines` alone.
    _deadline_entry: float

    def _deadline_due(self, now: float) -> None:
        """The dead-line has passed; `_deadline_at` is `inf` now."""


class Deadlines:
    """The dead-lines of one loop."""

    def __init__(self, loop: LoopBase) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, list[HasDeadline]]] = []
        #: The entries that are shared, by the second; they are in the heap as well.
        self._shared: dict[float, tuple[float, int, list[HasDeadline]]] = {}
        self._entries = 0
        self._compact_at = COMPACT_FROM
        self._numbers = count()
        self._timer: ScheduledEvent | None = None

    def arm(self, holder: HasDeadline, when: float) -> None:
        """Set the dead-line of `holder` to `when` (monotonic seconds; `inf`: none)."""
        holder._deadline_at = when
        if when < holder._deadline_entry:
            self._enter(holder, when)
            if self._entries > self._compact_at:
                self._compact()
            timer = self._timer
            if timer is None or holder._deadline_entry < timer.when:
                self._set_timer()

    def _enter(self, holder: HasDeadline, when: float) -> None:
        """Make an entry for `holder`, whose dead-line is `when`, or let it have part in one."""
        self._entries += 1
        if when < self._loop._now + FAR_S:
            holder._deadline_entry = when
            heappush(self._heap, (when, next(self._numbers), [holder]))
        elif (entry := self._shared.get(second := when // 1.0)) is not None:
            holder._deadline_entry = entry[0]  # the number itself is shared, too
            entry[2].append(holder)
        else:
            holder._deadline_entry = second
            entry = self._shared[second] = (second, next(self._numbers), [holder])
            heappush(self._heap, entry)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.delete()
            self._timer = None
        if self._heap:
            self._timer = self._loop._schedule_at(self._heap[0][0], self._sweep)

    def _compact(self) -> None:
        """Drop the entries that nobody needs."""
        kept = []
        self._entries = 0
        for entry in self._heap:
            when, _, holders = entry
            living = []
            for holder in holders:
                if when == holder._deadline_entry:
                    if holder._deadline_at == inf:
                        holder._deadline_entry = inf
                    else:
                        living.append(holder)
            holders[:] = living
            self._entries += len(living)
            if living:
                kept.append(entry)
            elif self._shared.get(when) is entry:
                del self._shared[when]
        heapify(kept)
        self._heap = kept
        self._compact_at = 2 * self._entries + COMPACT_FROM

    def _sweep(self) -> None:
        """Look at what may be due, and at nothing else."""
        self._timer = None
        now = self._loop._now
        # What a dead-line sets for now is looked at in the next turn, or it would starve the fds.
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
                if when == holder._deadline_entry:  # else stale: it was moved before this one
                    holder._deadline_entry = inf
                    if holder._deadline_at > now:
                        self.arm(holder, holder._deadline_at)
                    else:
                        holder._deadline_at = inf
                        self._loop._call(holder._deadline_due, (now,), None)
        finally:
            for when, holder in due:  # where an exception leaves `run()`
                heappush(self._heap, (when, next(self._numbers), [holder]))
            self._entries += len(due)
            self._set_timer()

    def clear(self) -> None:
        """Forget all dead-lines."""
        for _, _, holders in self._heap:
            for holder in holders:
                holder._deadline_at = holder._deadline_entry = inf
        self._heap.clear()
        self._shared.clear()
        self._entries = 0
        self._compact_at = COMPACT_FROM
        self._timer = None
