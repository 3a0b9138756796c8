"""Checks of a server's exchanges: each is answered, and within `UNANSWERED_S`.

Owns: the exchanges that the program has not answered. Must not know when the checks are on.

Each `track_...` takes a method of Thor and returns the method that replaces it.
"""

from __future__ import annotations

import logging
import sys
from functools import wraps
from inspect import unwrap
from typing import Any
from weakref import WeakKeyDictionary, ref

from thor.development.reports import Method, is_thor_module
from thor.http import HttpServer, HttpServerExchange
from thor.http.wire.state import ServerWriting
from thor.loop import LoopBase, ScheduledEvent

log = logging.getLogger("thor.debug")

#: Seconds without a response after which an exchange is reported.
UNANSWERED_S = 30.0


class _PendingExchange:
    """An exchange that the program is to answer.

    Once the program has dropped the exchange, only its connection refers to it. The listeners for
    the request refer to it too, but are removed when the request is complete.
    """

    def __init__(self, exchange: HttpServerExchange, listener: str) -> None:
        """Wait for a response. listener: what the exchange was passed to, for the report"""
        self._exchange = ref(exchange)
        self._listener = listener
        self.loop = exchange.loop
        self._complete = False
        self._timer: ScheduledEvent | None = self.loop.schedule(UNANSWERED_S, self._check_answered)

    def cancel_timer(self) -> None:
        """Stop waiting for the response: it was started, or there will be none."""
        if self._timer is not None:
            self._timer.delete()
            self._timer = None

    def request_done(self) -> None:
        """Note that the request is complete, and was emitted."""
        self._complete = True

    def report_if_dropped(self) -> None:
        """Report the exchange if the program has dropped it."""
        exchange = self._exchange()
        if exchange is None:
            return
        if exchange.response_state not in (ServerWriting.IDLE, ServerWriting.BODY):
            _discard(exchange)
        elif self._complete and sys.getrefcount(exchange) == _DROPPED_REFCOUNT:
            state = (
                "unanswered" if exchange.response_state is ServerWriting.IDLE else "half answered"
            )
            self._report(exchange, f"was dropped {state}: nothing refers to it any more")

    def _check_answered(self) -> None:
        self._timer = None
        exchange = self._exchange()
        if exchange is None or exchange.response_state is not ServerWriting.IDLE:
            return
        if not self._complete:  # the client is slow; the server's timeouts limit it
            self._timer = self.loop.schedule(UNANSWERED_S, self._check_answered)
        else:
            self._report(exchange, f"was not answered within {UNANSWERED_S:g} s")

    def _report(self, exchange: HttpServerExchange, problem: str) -> None:
        log.warning("%r %s; it was given to %s", exchange, problem, self._listener)
        _discard(exchange)


_pending: WeakKeyDictionary[HttpServerExchange, _PendingExchange] = WeakKeyDictionary()


def _discard(exchange: HttpServerExchange) -> None:
    pending = _pending.pop(exchange, None)
    if pending is not None:
        pending.cancel_timer()


def _dropped_refcount() -> int:
    """Return what `sys.getrefcount` returns in `_PendingExchange.report_if_dropped` for an object
    that only one attribute refers to."""

    class Probe:
        pass

    holder = [Probe()]
    reference = ref(holder[0])
    probe = reference()
    return sys.getrefcount(probe)


_DROPPED_REFCOUNT = _dropped_refcount()


# -- the methods that are replaced --------------------------------------------------------------


def track_emitted_exchange(original: Method) -> Method:
    """Wrap `HttpServer.emit`: track the exchanges that the program is passed."""

    @wraps(original)
    def emit(self: HttpServer, event: str, *args: Any) -> bool:
        if event == "exchange":
            functions = [_program_function(each) for each in self.listeners(event)]
            described = [_describe(each) for each in functions if each is not None]
            if described:
                _pending[args[0]] = _PendingExchange(args[0], ", ".join(described))
        heard: bool = original(self, event, *args)
        return heard

    return emit


def track_request(original: Method) -> Method:
    """Wrap `HttpServerExchange.emit`: note when the request is complete, and when it is over."""

    @wraps(original)
    def emit(self: HttpServerExchange, event: str, *args: Any) -> bool:
        heard: bool = original(self, event, *args)
        pending = _pending.get(self)
        if pending is not None and event == "request_done":
            self.remove_listeners("request_start", "request_body", "request_done")
            pending.request_done()
        elif pending is not None and event == "done":
            _discard(self)
        return heard

    return emit


def track_response(original: Method) -> Method:
    """Wrap `response_start` and `upgrade`: the exchange no longer lacks a response."""

    @wraps(original)
    def respond(self: HttpServerExchange, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        pending = _pending.get(self)
        if pending is not None:
            pending.cancel_timer()
        return result

    return respond


def report_dropped_after(original: Method) -> Method:
    """Wrap `LoopBase.run_turn`: after each turn, report the exchanges that were dropped in it."""

    @wraps(original)
    def run_turn(self: LoopBase, timeout_s: float | None) -> None:
        original(self, timeout_s)
        for pending in [each for each in _pending.values() if each.loop is self]:
            pending.report_if_dropped()

    return run_turn


def _program_function(listener: Any) -> Any:
    """Return the program's function that a listener calls; None if it is Thor's own."""
    while hasattr(listener, "func"):  # of functools.partial
        listener = listener.func
    listener = unwrap(getattr(listener, "__func__", listener))
    module = getattr(listener, "__module__", None) or ""
    return None if is_thor_module(module) else listener


def _describe(function: Any) -> str:
    """Return the name of a function and where it is defined."""
    name = getattr(function, "__qualname__", None) or repr(function)
    code = getattr(function, "__code__", None)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else name
