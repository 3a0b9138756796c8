"""Parts of Thor beside what they are made of: an event and a call, a timer and a heap.

    python -m bench.micro emit|call 0|1|3      nanoseconds for an event, or a call, with arguments
    python -m bench.micro thor|heapq|asyncio   microseconds for one timer more and one less

Prints one figure: of several rounds, the lowest.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import sys
import time
from collections.abc import Callable, Sequence
from timeit import Timer
from typing import Any, TypeAlias

from thor.events import EventEmitter
from thor.loop import make

ROUNDS = 7
EVENTS = 400_000
#: Timers that are pending meanwhile, and how many are added and deleted among them.
PENDING = 1_000_000
CHANGES = 200_000
#: Seconds until a timer is due: none is while this runs.
SOONEST, LATEST = 1_000.0, 100_000.0

# -- events -------------------------------------------------------------------------------------

#: By the number of arguments: a listener, and what is written to have it called.
LISTENERS: dict[int, tuple[Callable[..., None], str]] = {
    0: (lambda: None, ""),
    1: (lambda a: None, "x"),
    3: (lambda a, b, c: None, "x, x, x"),
}


def time_event(what: str, arguments: int) -> float:
    """Nanoseconds of an event with one listener, or of a call of it, as a program writes them."""
    listen, passed = LISTENERS[arguments]
    emitter = EventEmitter()
    emitter.on("data", listen)
    statement = f"listen({passed})" if what == "call" else f"emitter.emit('data', {passed})"
    known: dict[str, Any] = {"emitter": emitter, "listen": listen, "x": b""}
    timer = Timer(statement, timer=time.process_time, globals=known)
    return min(timer.repeat(ROUNDS, EVENTS)) / EVENTS * 1e9


# -- timers -------------------------------------------------------------------------------------

#: What deletes the timer at an index and adds another, and what ends it all.
Timers: TypeAlias = tuple[Callable[[int, float], None], Callable[[], None]]


def _nothing() -> None:
    pass


def thor_timers(delays: Sequence[float]) -> Timers:
    """Pending timers of Thor."""
    loop = make()
    events = [loop.schedule(delay, _nothing) for delay in delays]

    def change(index: int, delay: float) -> None:
        events[index].delete()
        events[index] = loop.schedule(delay, _nothing)

    return change, loop.stop


def asyncio_timers(delays: Sequence[float]) -> Timers:
    """Measure the same with asyncio's."""
    loop = asyncio.new_event_loop()
    handles = [loop.call_later(delay, _nothing) for delay in delays]

    def change(index: int, delay: float) -> None:
        handles[index].cancel()
        handles[index] = loop.call_later(delay, _nothing)

    return change, loop.close


def heap(delays: Sequence[float]) -> Timers:
    """Measure a heap of the same entries, from which always the first is taken."""
    entries = [(delay, number, _nothing) for number, delay in enumerate(delays)]
    heapq.heapify(entries)

    def change(index: int, delay: float) -> None:
        heapq.heappush(entries, (delay, index, _nothing))
        heapq.heappop(entries)

    return change, _nothing


TIMERS = {"thor": thor_timers, "asyncio": asyncio_timers, "heapq": heap}


def time_timers(what: str, pending: int, changes: int) -> float:
    """CPU microseconds of one timer more and one less, at random places."""
    chance = random.Random(3)
    change, end = TIMERS[what]([chance.uniform(SOONEST, LATEST) for _ in range(pending)])
    found = []
    for _ in range(ROUNDS):
        indexes = [chance.randrange(pending) for _ in range(changes)]
        delays = [chance.uniform(SOONEST, LATEST) for _ in range(changes)]
        began = time.process_time()
        for index, delay in zip(indexes, delays, strict=True):
            change(index, delay)
        found.append((time.process_time() - began) / changes * 1e6)
    end()
    return min(found)


def main(argv: Sequence[str]) -> None:
    """Print the figure."""
    match argv:
        case ["emit" | "call" as what, "0" | "1" | "3" as arguments]:
            print(time_event(what, int(arguments)))
        case [what] if what in TIMERS:
            print(time_timers(what, PENDING, CHANGES))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
