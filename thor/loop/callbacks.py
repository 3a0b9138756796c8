"""Running callbacks, and reporting those that raise or are slow.

Owns: the report of what a callback raised, and of how slow it was. Must not know when callbacks
are run.

Theory of operation: an exception that a callback raises is logged with its traceback, emitted as
the loop's `error` event, and passed to the object whose method was called (`failed(exc)`); the loop
goes on. In debug mode each callback is timed and profiled, and the slow ones are reported.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from cProfile import Profile

log = logging.getLogger("thor.loop")

#: In debug mode a callback that takes longer than this is reported.
SLOW_CALLBACK_S = 0.05

#: A queued call: the callback and its arguments.
Call: TypeAlias = tuple[Callable[..., object], tuple[object, ...]]


class Clock(Protocol):
    """Where a loop reads the time. The `time` module is one."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""

    def time(self) -> float:
        """Return seconds since 1970-01-01 UTC."""


class CallbackHost(Protocol):
    """The loop that callbacks run on: its settings, and where their failures are reported."""

    clock: Clock
    slow_callback_s: float
    on_exception: str

    def debug_out(self, message: str, profile: Profile | None = None) -> None:
        """Report a slow callback."""

    def listener_count(self, event: str, /) -> int:
        """Return how many listeners `event` has."""

    def emit(self, event: str, exc: Exception, /) -> bool:
        """Emit `error(exc)`."""


class CallbackRunner:
    """Runs the callbacks of one loop.

    debug: whether callbacks are timed
    """

    debug = False

    def __init__(self, host: CallbackHost) -> None:
        self._host = host

    def run(
        self, callback: Callable[..., object], args: tuple[object, ...], context: Context | None
    ) -> None:
        """Call `callback(*args)`, in `context` if there is one; report what it raises."""
        try:
            if self.debug:
                self._run_timed(callback, args, context)
            elif context is None:
                callback(*args)
            else:
                context.run(callback, *args)
        except Exception as exc:
            self.report(callback, exc)

    def run_queue(self, calls: deque[Call], max_calls: int | None = None) -> None:
        """Make the queued calls, `max_calls` at most; what they add is left in the queue."""
        run = self.run
        for _ in range(len(calls) if max_calls is None else min(len(calls), max_calls)):
            callback, args = calls.popleft()
            run(callback, args, None)

    def _run_timed(
        self, callback: Callable[..., object], args: tuple[object, ...], context: Context | None
    ) -> None:
        from cProfile import Profile

        profile: Profile | None = Profile()
        try:
            profile.enable()  # type: ignore[union-attr]
        except ValueError:  # the program is being profiled already
            profile = None
        clock = self._host.clock
        started = clock.monotonic()
        try:
            if context is None:
                callback(*args)
            else:
                context.run(callback, *args)
        finally:
            took = clock.monotonic() - started
            if profile is not None:
                profile.disable()
        if took >= self._host.slow_callback_s:
            self._host.debug_out(f"slow callback: {_describe(callback)} took {took:.3f} s", profile)

    def report(self, callback: Callable[..., object], exc: Exception) -> None:
        """Log what `callback` raised, emit `error`, and tell the object whose method it is."""
        failed = getattr(getattr(callback, "__self__", None), "failed", None)
        host = self._host
        try:
            if host.on_exception == "raise":
                raise exc
            log.error("%s raised %r", _describe(callback), exc, exc_info=exc)
            if host.listener_count("error"):
                host.emit("error", exc)
        except Exception as another:
            if host.on_exception == "raise":
                raise
            log.error("a listener for the loop's error event raised", exc_info=another)
        finally:
            if failed is not None:
                _call_failed(failed, exc)


def _call_failed(failed: Callable[[Exception], object], exc: Exception) -> None:
    try:
        failed(exc)
    except Exception as another:
        log.error("%s raised %r", _describe(failed), another, exc_info=another)


def _describe(callback: Callable[..., object]) -> str:
    """Return a callback's name, for logs."""
    owner = getattr(callback, "__self__", None)
    name = getattr(callback, "__qualname__", None) or repr(callback)
    return f"{name} of {owner!r}" if owner is not None else str(name)


def print_report(message: str, profile: Profile | None) -> None:
    """Write a report about the running loop to stderr, with the ten most expensive functions."""
    sys.stderr.write(f"WARNING: {message}\n")
    if profile is not None:
        import pstats

        pstats.Stats(profile, stream=sys.stderr).sort_stats("cumulative").print_stats(10)
