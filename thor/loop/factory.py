"""Choosing a backend, and making loops.

Owns: which backends there are, and the default loop. Must not know what a loop does.
"""

from __future__ import annotations

import os
import select
import time as system_time
from collections.abc import Callable

from thor.loop.callbacks import Clock
from thor.loop.event_loop import EventLoop
from thor.loop.poller import Poller


def _epoll() -> Poller:
    from thor.loop.epoll import EpollPoller

    return EpollPoller()


def _kqueue() -> Poller:
    from thor.loop.kqueue import KqueuePoller

    return KqueuePoller()


def _poll() -> Poller:
    from thor.loop.poll import PollPoller

    return PollPoller()


#: The backends, best first: the name, which is also that of the function in `select` that it needs,
#: and what makes one.
_BACKENDS: dict[str, Callable[[], Poller]] = {"epoll": _epoll, "kqueue": _kqueue, "poll": _poll}


def backends() -> list[str]:
    """Return the names of the backends that this machine has, best first."""
    return [name for name in _BACKENDS if hasattr(select, name)]


def choose_backend(name: str | None) -> Callable[[], Poller]:
    """Return what makes the poller of a backend (None: of the best one). Raises: ValueError"""
    present = backends()
    if name is None:
        name = present[0]
    if name not in present:
        raise ValueError(f"no loop backend {name!r} on this machine; it has {', '.join(present)}")
    return _BACKENDS[name]


def make(
    precision: float | None = None,
    backend: str | Poller | None = None,
    clock: Clock | None = None,
) -> EventLoop:
    """Make a loop. It opens no fd until it is first used.

    precision: timers that are due within so many seconds of each other run together
    backend: "epoll", "kqueue", "poll", or a `Poller` that can be used again after its `close()`;
        None is what the environment variable THOR_LOOP names (read when the loop is first used),
        else the best that is present
    clock: where the time is read; the `time` module if None
    Raises: ValueError if the backend is not present; it names those that are
    """
    make_poller: Callable[[], Poller]
    if backend is None:

        def make_poller() -> Poller:
            return choose_backend(os.environ.get("THOR_LOOP") or None)()

    elif isinstance(backend, str):
        make_poller = choose_backend(backend)
    else:
        ready = backend

        def make_poller() -> Poller:
            return ready

    return EventLoop(precision, make_poller, clock or system_time)


#: The loop that is used where none is given.
DEFAULT_LOOP: EventLoop = make()
