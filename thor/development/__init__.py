"""Development mode: likely mistakes of a program are reported where they are made.

Owns: switching the checks on and off. No other package may need this one while the mode is off.

Theory of operation: `enable` replaces methods of Thor's classes by ones that check first; switching
off puts the originals back, so that the mode costs nothing while it is off. The classes are shared
by all loops, so the mode is the process's: it is on while `debug` of some loop is set, and for good
after `enable`.

A mistake in a call is a `DevelopmentWarning` at the line of that call, or a `RuntimeError` if it
comes from the wrong thread (`calls.py`). What becomes of an exchange is logged on `thor.debug`
(`exchanges.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from weakref import ref

from thor.development import calls, exchanges
from thor.development.calls import MAX_HIGH_WATERS
from thor.development.exchanges import UNANSWERED_S
from thor.development.reports import DevelopmentWarning, Method
from thor.events import EventEmitter
from thor.http import HttpClient, HttpClientExchange, HttpServer, HttpServerExchange
from thor.loop import EventSource, LoopBase
from thor.loop.callbacks import CallbackRunner
from thor.proxy import ReverseProxy
from thor.tcp import TcpClient, TcpConnection, TcpServer
from thor.udp import UdpEndpoint

__all__ = [
    "MAX_HIGH_WATERS",
    "UNANSWERED_S",
    "DevelopmentWarning",
    "disable",
    "enable",
    "follow",
]

#: Methods that only the thread of the loop may call.
LOOP_THREAD_METHODS: dict[type, tuple[str, ...]] = {
    LoopBase: ("schedule", "schedule_slice", "run_in_thread"),
    EventSource: ("register_fd", "unregister_fd", "event_add", "event_del"),
    TcpConnection: ("write", "pause", "unread", "close", "end_writing", "abort"),
    TcpClient: ("connect", "cancel"),
    TcpServer: ("close", "shutdown", "graceful_shutdown"),
    UdpEndpoint: ("bind", "pause", "join", "leave", "send", "shutdown"),
    HttpServerExchange: (
        "pause",
        "response_start",
        "response_nonfinal",
        "response_body",
        "response_done",
        "response_file",
        "when_sent",
        "upgrade",
    ),
    HttpClientExchange: ("request_start", "request_body", "request_done", "pause", "cancel"),
    HttpServer: ("shutdown", "graceful_shutdown"),
    ReverseProxy: ("shutdown", "graceful_shutdown"),
}
REGISTRATION_METHODS = ("on", "once", "prepend_listener", "prepend_once_listener")
CLASSES_WITH_SETTINGS = (HttpClient, HttpServer, ReverseProxy, TcpClient, TcpServer, UdpEndpoint)


def _checks() -> Iterable[tuple[Iterable[type], Iterable[str], Callable[[Method], Method]]]:
    """Yield all that is replaced, in order: classes, names of methods, and what makes the
    replacement."""
    yield (HttpServer,), ("emit",), exchanges.track_emitted_exchange
    yield (HttpServerExchange,), ("emit",), exchanges.track_request
    yield (HttpServerExchange,), ("response_start", "upgrade"), exchanges.track_response
    yield (TcpConnection,), ("write",), calls.check_queue
    yield (HttpServerExchange,), ("response_body",), calls.check_queue
    yield (HttpClientExchange,), ("request_body",), calls.check_queue
    for cls, names in LOOP_THREAD_METHODS.items():
        yield (cls,), names, calls.check_thread
    yield (LoopBase,), ("run_turn",), calls.note_thread
    yield (LoopBase,), ("run_turn",), exchanges.report_dropped_after
    yield (EventEmitter,), REGISTRATION_METHODS, calls.check_event_name
    yield CLASSES_WITH_SETTINGS, ("__init__",), calls.check_class_attributes
    yield CLASSES_WITH_SETTINGS, ("__setattr__",), calls.check_setting_name


class _Mode:
    """Whether the mode is on, and for whom."""

    def __init__(self) -> None:
        self.always = False
        self._loops: set[ref[LoopBase]] = set()
        #: What was replaced: (class, name, what its `__dict__` had; None if it had nothing).
        self._replaced: list[tuple[type, str, Any]] = []

    def follow(self, loop: LoopBase) -> None:
        """Switch on or off as `loop.debug`, which was just set, asks for."""
        if loop.debug:
            self._loops.add(ref(loop, self._discard))
        else:
            self._loops.discard(ref(loop))
        self.refresh()

    def _discard(self, dead: ref[LoopBase]) -> None:
        self._loops.discard(dead)
        self.refresh()

    def refresh(self) -> None:
        """Replace the methods, or put the originals back, as the loops and `always` ask for."""
        wanted = self.always or bool(self._loops)
        if wanted and not self._replaced:
            for classes, names, make in _checks():
                for cls in classes:
                    for name in names:
                        self._replace(cls, name, make)
        elif not wanted:
            while self._replaced:
                cls, name, original = self._replaced.pop()
                if original is None:
                    delattr(cls, name)
                else:
                    setattr(cls, name, original)

    def _replace(self, cls: type, name: str, make: Callable[[Method], Method]) -> None:
        self._replaced.append((cls, name, cls.__dict__.get(name)))
        setattr(cls, name, make(getattr(cls, name)))


_mode = _Mode()


def enable() -> None:
    """Switch development mode on for good, and `debug` of each loop that was not told otherwise."""
    CallbackRunner.debug = True
    _mode.always = True
    _mode.refresh()


def disable() -> None:
    """Undo `enable`. The mode stays on while `debug` of some loop is set."""
    CallbackRunner.debug = False
    _mode.always = False
    _mode.refresh()


def follow(loop: LoopBase) -> None:
    """Switch on or off as `loop.debug`, which was just set, asks for."""
    _mode.follow(loop)
