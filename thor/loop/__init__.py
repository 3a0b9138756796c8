"""Event loops, and the default one.

`thor.loop` is the namespace of the default loop: `run`, `stop`, `schedule`, `time`, `running`,
`debug` and all else that a loop has are forwarded to it, on assignment too.
"""

from __future__ import annotations

import os
import select
import sys
import time as _system_time
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from thor.loop.base import LoopBase
from thor.loop.calls import Clock
from thor.loop.poller import Poller
from thor.loop.source import EventSource
from thor.loop.timers import ScheduledEvent

__all__ = [
    "EventSource",
    "LoopBase",
    "ScheduledEvent",
    "make",
    "run",
    "schedule",
    "stop",
    "time",
]


def _epoll() -> Poller:
    from thor.loop.epoll import EpollPoller

    return EpollPoller()


def _kqueue() -> Poller:
    from thor.loop.kqueue import KqueuePoller

    return KqueuePoller()


def _poll() -> Poller:
    from thor.loop.poll import PollPoller

    return PollPoller()


#: The backends, best first: name, what `select` must have for it, how one is made.
_BACKENDS: tuple[tuple[str, str, Callable[[], Poller]], ...] = (
    ("epoll", "epoll", _epoll),
    ("kqueue", "kqueue", _kqueue),
    ("poll", "poll", _poll),
)


def backends() -> list[str]:
    """The names of the backends that this machine has, best first."""
    return [name for name, needs, _ in _BACKENDS if hasattr(select, needs)]


def _choose(name: str | None) -> Callable[[], Poller]:
    present = backends()
    if name is None:
        name = present[0]
    if name not in present:
        raise ValueError(f"no loop backend {name!r} on this machine; it has {', '.join(present)}")
    return next(make_it for known, _, make_it in _BACKENDS if known == name)


def make(
    precision: float | None = None,
    backend: str | Poller | None = None,
    clock: Clock | None = None,
) -> LoopBase:
    """Make a loop. It opens no fd until it is first used.

    precision: timers that are due within so many seconds of each other run together
    backend: "epoll", "kqueue", "poll", or a `Poller` that can be used again after its `close()`;
        None is what the environment variable THOR_LOOP names (read when the loop is first used),
        else the best that is present
    clock: where time is read, the `time` module if None
    Raises: ValueError if the backend is not present; it names those that are
    """
    make_poller: Callable[[], Poller]
    if backend is None:

        def make_poller() -> Poller:
            return _choose(os.environ.get("THOR_LOOP") or None)()

    elif isinstance(backend, str):
        make_poller = _choose(backend)
    else:
        ready = backend

        def make_poller() -> Poller:
            return ready

    return LoopBase(precision, make_poller, clock or _system_time)


_loop: LoopBase = make()

if TYPE_CHECKING:  # what a type checker cannot see: the namespace forwards it
    debug: bool
    precision: float
    on_exception: str
    running: bool
    slow_callback_s: float
    debug_out = _loop.debug_out
    emit, on, once, off = _loop.emit, _loop.on, _loop.once, _loop.off
    run_in_loop, run_in_thread, run_once = _loop.run_in_loop, _loop.run_in_thread, _loop.run_once
    fd_count, registered_fd_handlers = _loop.fd_count, _loop.registered_fd_handlers
    scheduled_events = _loop.scheduled_events


def run() -> None:
    """Run the default loop until `stop()`."""
    _loop.run()


def stop() -> None:
    """Stop the default loop, and forget its timers and fds."""
    _loop.stop()


def schedule(delta: float, callback: Callable[..., Any], *args: Any) -> ScheduledEvent:
    """Have the default loop call `callback(*args)` in `delta` seconds; see `LoopBase.schedule`."""
    return _loop.schedule(delta, callback, *args)


def time() -> float:
    """The Unix time as of this turn of the default loop, in seconds."""
    return _loop.time()


class _LoopNamespace(ModuleType):
    """This module, with what the default loop has."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return getattr(self.__dict__["_loop"], name)
        except AttributeError:
            raise AttributeError(f"module 'thor.loop' has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "running":
            raise AttributeError("thor.loop.running is read-only: run() and stop() set it")
        loop = self.__dict__["_loop"]
        if name not in self.__dict__ and hasattr(loop, name):
            setattr(loop, name, value)
        else:
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _LoopNamespace
