"""Event loops, and the default one.

`thor.loop` is the namespace of the default loop: `run`, `stop`, `schedule`, `time`, `running`,
`debug` and all other attributes of a loop are forwarded to it, on assignment too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from thor.loop.event_loop import EventLoop, LoopBase
from thor.loop.factory import backends, make
from thor.loop.source import EventSource, default_loop
from thor.loop.timers import ScheduledEvent

__all__ = [
    "EventLoop",
    "EventSource",
    "LoopBase",
    "ScheduledEvent",
    "backends",
    "make",
    "run",
    "schedule",
    "stop",
    "time",
]


_loop: EventLoop = default_loop()

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
    fileno, next_timeout = _loop.fileno, _loop.next_timeout
    scheduled_events = _loop.scheduled_events


def run() -> None:
    """Run the default loop until `stop()`."""
    _loop.run()


def stop() -> None:
    """Stop the default loop, and forget its timers and fds."""
    _loop.stop()


def schedule(delta: float, callback: Callable[..., object], *args: object) -> ScheduledEvent:
    """Have the default loop call `callback(*args)` in `delta` seconds; see `EventLoop.schedule`."""
    return _loop.schedule(delta, callback, *args)


def time() -> float:
    """Return the Unix time as of this turn of the default loop, in seconds."""
    return _loop.time()


class _LoopNamespace(ModuleType):
    """This module, with the attributes of the default loop."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return getattr(self.__dict__["_loop"], name)
        except AttributeError:
            raise AttributeError(f"module 'thor.loop' has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: object) -> None:
        if name == "running":
            raise AttributeError("thor.loop.running is read-only: run() and stop() set it")
        loop = self.__dict__["_loop"]
        if name not in self.__dict__ and hasattr(loop, name):
            setattr(loop, name, value)
        else:
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _LoopNamespace
