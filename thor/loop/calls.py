"""Making a call: how long it took, and what went wrong.

Owns: the report of what a callback raised, and of how slow it was. Must not know when calls are
made.

Theory of operation: an exception that comes out of a call is logged with its traceback, emitted
as the loop's `error`, and told to the object whose method was called (`failed(exc)`); the loop
goes on. With `debug` each call is timed and profiled, and those that are slow are reported.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol

from thor.events import EventEmitter

log = logging.getLogger("thor.loop")

#: With `debug`, a callback that takes longer than this (seconds) is reported.
SLOW_CALLBACK_S = 0.05


class Clock(Protocol):
    """Where a loop reads the time. The `time` module is one."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC."""


class Caller(EventEmitter):
    """What makes calls for others; the base of a loop.

    debug: whether calls are timed, and those that take `slow_callback_s` seconds reported; True
        switches development mode on (`thor.development`)
    on_exception: "log", or "raise" for tests: then what a call raised comes out of `run()`

    Emits:
        error(exc): a call raised `exc`; it was logged.
    """

    emits = frozenset(("error",))

    clock: Clock
    _debug: bool = False
    slow_callback_s: float = SLOW_CALLBACK_S
    on_exception: str = "log"

    @property
    def debug(self) -> bool:
        return self._debug

    @debug.setter
    def debug(self, debug: bool) -> None:
        if debug != self._debug:
            from thor import development

            self._debug = debug
            development.follow(self)

    def _call(
        self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None
    ) -> None:
        """Make one call; what it raises is reported."""
        try:
            if self._debug:
                self._call_timed(callback, args, context)
            elif context is None:
                callback(*args)
            else:
                context.run(callback, *args)
        except Exception as exc:
            self._report(callback, exc)

    def _call_timed(
        self, callback: Callable[..., Any], args: tuple[Any, ...], context: Context | None
    ) -> None:
        from cProfile import Profile

        profile: Profile | None = Profile()
        try:
            profile.enable()  # type: ignore[union-attr]
        except ValueError:  # the program profiles itself already
            profile = None
        began = self.clock.monotonic()
        try:
            if context is None:
                callback(*args)
            else:
                context.run(callback, *args)
        finally:
            took = self.clock.monotonic() - began
            if profile is not None:
                profile.disable()
        if took >= self.slow_callback_s:
            self.debug_out(f"slow callback: {_describe(callback)} took {took:.3f} s", profile)

    def debug_out(self, message: str, profile: Any = None) -> None:
        """Report what is odd about the running loop, on stderr. May be overridden.

        profile: a `cProfile.Profile` of the slow callback, None where there is none
        """
        sys.stderr.write(f"WARNING: {message}\n")
        if profile is not None:
            import pstats

            pstats.Stats(profile, stream=sys.stderr).sort_stats("cumulative").print_stats(10)

    def _report(self, callback: Callable[..., Any], exc: Exception) -> None:
        """A callback raised: log it, tell who owns the callback, and go on."""
        failed = getattr(getattr(callback, "__self__", None), "failed", None)
        try:
            if self.on_exception == "raise":
                raise exc
            log.error("%s raised %r", _describe(callback), exc, exc_info=exc)
            if self._listeners is not None and "error" in self._listeners:
                self.emit("error", exc)
        except Exception as another:
            if self.on_exception == "raise":
                raise
            log.error("a listener for the loop's error event raised", exc_info=another)
        finally:
            if failed is not None:
                self._tell_failed(failed, exc)

    def _tell_failed(self, failed: Callable[[Exception], None], exc: Exception) -> None:
        try:
            failed(exc)
        except Exception as another:
            log.error("%s raised %r", _describe(failed), another, exc_info=another)


def _describe(callback: Callable[..., Any]) -> str:
    """A callback's name, for people."""
    owner = getattr(callback, "__self__", None)
    name = getattr(callback, "__qualname__", None) or repr(callback)
    return f"{name} of {owner!r}" if owner is not None else str(name)
