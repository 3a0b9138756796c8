"""Development mode: likely mistakes of a program are reported where they are made.

Owns: the checks, and switching them on and off. No other module may need this one while the mode
is off.

Theory of operation: `enable` replaces methods of Thor's classes by ones that check first; switching
off puts the originals back, so that the mode costs nothing while it is off. The classes are shared
by all loops, so the mode is the process's: it is on while `debug` of some loop is set, and for good
after `enable`.

A mistake in a call is a `DevelopmentWarning` at the line of that call, or a `RuntimeError` if it
comes from the wrong thread. What becomes of an exchange is logged on `thor.debug`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from inspect import unwrap
from pathlib import Path
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, ref

from thor.events import EventEmitter
from thor.http import HttpClient, HttpClientExchange, HttpServer, HttpServerExchange
from thor.http.wire.state import ServerWriting
from thor.loop import EventSource, LoopBase, ScheduledEvent
from thor.loop.callbacks import CallbackRunner
from thor.proxy import ReverseProxy
from thor.tcp import TcpClient, TcpConnection, TcpServer
from thor.udp import UdpEndpoint

log = logging.getLogger("thor.debug")

Method = Callable[..., Any]

#: Seconds without a response after which an exchange is reported.
UNANSWERED_S = 30.0
#: How many times its high-water mark a connection's queue may hold before it is reported.
MAX_HIGH_WATERS = 8
#: How alike two names have to be (`difflib`) for one to be taken for a misspelling of the other
#: where a program may have names of its own.
ALIKE = 0.8

#: Methods that only the thread of the loop may call.
_BOUND_TO_LOOP: dict[type, tuple[str, ...]] = {
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
_REGISTERING = ("on", "once", "prepend_listener", "prepend_once_listener")
_HAVE_SETTINGS = (HttpClient, HttpServer, ReverseProxy, TcpClient, TcpServer, UdpEndpoint)


class DevelopmentWarning(UserWarning):
    """A likely mistake of the program, found in development mode."""


# -- switching ----------------------------------------------------------------------------------


class _Mode:
    """Whether the mode is on, and for whom."""

    def __init__(self) -> None:
        self.always = False
        self._loops: set[ref[LoopBase]] = set()
        #: What was replaced: (class, name, what its `__dict__` had; None if it had nothing).
        self._replaced: list[tuple[type, str, Any]] = []

    def follow(self, loop: LoopBase) -> None:
        """Follow a loop's `debug` that was set."""
        if loop.debug:
            self._loops.add(ref(loop, self._forget))
        else:
            self._loops.discard(ref(loop))
        self.refresh()

    def _forget(self, dead: ref[LoopBase]) -> None:
        self._loops.discard(dead)
        self.refresh()

    def refresh(self) -> None:
        """Switch on or off, as it is wanted."""
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


def _checks() -> Iterable[tuple[Iterable[type], Iterable[str], Callable[[Method], Method]]]:
    """All that is replaced, in order: classes, names of methods, and what makes the replacement."""
    yield (HttpServer,), ("emit",), _emitting_exchanges
    yield (HttpServerExchange,), ("emit",), _emitting_ends
    yield (HttpServerExchange,), ("response_start", "upgrade"), _answering
    yield (TcpConnection,), ("write",), _writing
    yield (HttpServerExchange,), ("response_body",), _writing
    yield (HttpClientExchange,), ("request_body",), _writing
    for cls, names in _BOUND_TO_LOOP.items():
        yield (cls,), names, _bound_to_loop
    yield (LoopBase,), ("_turn",), _turning
    yield (EventEmitter,), _REGISTERING, _registering
    yield _HAVE_SETTINGS, ("__init__",), _with_settings
    yield _HAVE_SETTINGS, ("__setattr__",), _setting


# -- warnings -----------------------------------------------------------------------------------

#: What stands between a check and the line of the program that is to be named.
_INNER_FILES = (str(Path(__file__).parent) + os.sep, contextlib.__file__)


def _warn(message: str) -> None:
    level = 1
    frame = sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INNER_FILES):
        frame = frame.f_back
        level += 1
    warnings.warn(message, DevelopmentWarning, stacklevel=level)


def _is_thors(module: str) -> bool:
    return module.partition(".")[0] == "thor"


def _nearest(name: str, names: Iterable[str], alike: float) -> str | None:
    return next(iter(get_close_matches(name, list(names), 1, alike)), None)


def _meant(nearest: str | None) -> str:
    return f"; did you mean {nearest!r}?" if nearest is not None else ""


# -- threads ------------------------------------------------------------------------------------

#: The thread that a turn of a loop runs in, while it does.
_turns: WeakKeyDictionary[LoopBase, int] = WeakKeyDictionary()


def _turning(original: Method) -> Method:
    """`LoopBase._turn`: note whose thread it is; then look for exchanges that were dropped."""

    @wraps(original)
    def turn(self: LoopBase, timeout_s: float | None) -> None:
        _turns[self] = threading.get_ident()
        try:
            original(self, timeout_s)
        finally:
            _turns.pop(self, None)
        for watched in [each for each in _watched.values() if each.loop is self]:
            watched.look()

    return turn


def _bound_to_loop(original: Method) -> Method:
    """Raise RuntimeError for a method that is called in another thread than its loop's."""

    @wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        thread = _turns.get(_loop_of(self))
        if thread is not None and thread != threading.get_ident():
            told = f"{original.__qualname__} was called from a thread that is not its loop's"
            raise RuntimeError(f"{told}: only run_in_loop() and stop() may be")
        return original(self, *args, **kwargs)

    return call


def _loop_of(thing: Any) -> LoopBase:
    loop: LoopBase
    if isinstance(thing, LoopBase):
        return thing
    loop = thing.loop if hasattr(thing, "loop") else thing._loop
    return loop


# -- names of events and settings ---------------------------------------------------------------


def _declared(emitter: EventEmitter) -> set[str] | None:
    """Return what events there are, by the `emits` of its classes; None where that is unknown: a
    class of the program's may emit what it does not declare."""
    classes = [cls for cls in type(emitter).__mro__ if issubclass(cls, EventEmitter)]
    for cls in classes:
        if cls is EventEmitter:
            return None
        if "emits" in cls.__dict__:
            break
        if not _is_thors(cls.__module__):
            return None
    return {event for cls in classes for event in cls.__dict__.get("emits", ())}


def _registering(original: Method) -> Method:
    """`on` and its variants: warn of an event that there is not."""

    @wraps(original)
    def register(self: EventEmitter, event: str, listener: Any) -> EventEmitter:
        declared = _declared(self)
        if declared is not None and event not in declared:
            nearest = _nearest(event, declared, 0.6)
            _warn(f"{type(self).__name__} emits no event {event!r}{_meant(nearest)}")
        emitter: EventEmitter = original(self, event, listener)
        return emitter

    return register


def _settings(cls: type) -> set[str]:
    """Return the settings that Thor's classes among the bases of `cls` have."""
    return {
        name
        for base in cls.__mro__
        if _is_thors(base.__module__)
        for name, value in vars(base).items()
        if not name.startswith("_")
        and name != "emits"
        and not isinstance(value, (FunctionType, property, classmethod, staticmethod))
    }


def _setting(original: Method) -> Method:
    """`__setattr__`: warn of what is no setting."""

    @wraps(original)
    def set_attribute(self: Any, name: str, value: Any) -> None:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if not name.startswith("_") and not _is_thors(caller) and not hasattr(self, name):
            own = not _is_thors(type(self).__module__)
            nearest = _nearest(name, _settings(type(self)), ALIKE if own else 0.6)
            if nearest is not None or not own:
                _warn(f"{name!r} is no setting of {type(self).__name__}{_meant(nearest)}")
        original(self, name, value)

    return set_attribute


#: Classes whose own attributes were looked at.
_looked_at: WeakSet[type] = WeakSet()


def _with_settings(original: Method) -> Method:
    """`__init__`: warn, once, of attributes of the program's subclass that resemble settings."""

    @wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        cls = type(self)
        if cls not in _looked_at:
            _looked_at.add(cls)
            _look_at_class(cls)
        original(self, *args, **kwargs)

    return init


def _look_at_class(cls: type) -> None:
    settings = _settings(cls)
    theirs = [base for base in cls.__mro__ if _is_thors(base.__module__)]
    for base in cls.__mro__:
        if base is object or _is_thors(base.__module__):
            continue
        for name in vars(base):
            if name.startswith("_") or any(hasattr(other, name) for other in theirs):
                continue
            nearest = _nearest(name, settings, ALIKE)
            if nearest is not None:
                _warn(f"{base.__name__}.{name} is no setting{_meant(nearest)}")


# -- queues -------------------------------------------------------------------------------------

#: Connections whose queue was reported.
_long: WeakSet[TcpConnection] = WeakSet()


def _writing(original: Method) -> Method:
    """Warn if the queue grows and grows, and nobody wants to know."""

    @wraps(original)
    def write(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        conn = _connection_of(self)
        if conn is not None and conn not in _long:
            size = conn.write_buffer.size
            if size > MAX_HIGH_WATERS * conn.high_water and not self.has_listener("pause"):
                _long.add(conn)
                told = f"{size} bytes wait to be sent to {conn.address!r}, and nobody listens for"
                _warn(f"{told} 'pause' of {type(self).__name__}: write no more until pause(False)")
        return result

    return write


def _connection_of(writer: Any) -> TcpConnection | None:
    """Return the connection that is written to; None without one, or if somebody above writes."""
    conn: TcpConnection | None
    if isinstance(writer, HttpServerExchange):
        conn = writer.http_conn.tcp_conn
    elif isinstance(writer, HttpClientExchange):
        conn = writer.conn.tcp_conn if writer.conn is not None else None
    else:
        conn = writer if writer.owner is None else None
    return conn


# -- exchanges ----------------------------------------------------------------------------------


class _Watched:
    """An exchange that the program is to answer.

    Only its connection holds it, once the program has dropped it, and so have its listeners for the
    request, which can hear nothing more when the request is complete.
    """

    def __init__(self, exchange: HttpServerExchange, where: str) -> None:
        self._exchange = ref(exchange)
        self._where = where
        self.loop = exchange.loop
        self._complete = False
        self._timer: ScheduledEvent | None = self.loop.schedule(UNANSWERED_S, self._late)

    def answered(self) -> None:
        """Its response was started."""
        if self._timer is not None:
            self._timer.delete()
            self._timer = None

    def request_done(self) -> None:
        """Take note that the request is complete, and was told."""
        self._complete = True

    def look(self) -> None:
        """Report it if it was dropped."""
        exchange = self._exchange()
        if exchange is None:
            return
        if exchange.response_state not in (ServerWriting.IDLE, ServerWriting.BODY):
            _forget(exchange)
        elif self._complete and sys.getrefcount(exchange) == _DROPPED_REFCOUNT:
            state = (
                "unanswered" if exchange.response_state is ServerWriting.IDLE else "half answered"
            )
            self._report(exchange, f"was dropped {state}: nothing refers to it any more")

    def _late(self) -> None:
        self._timer = None
        exchange = self._exchange()
        if exchange is None or exchange.response_state is not ServerWriting.IDLE:
            return
        if not self._complete:  # the client takes its time, and has until the server's limits
            self._timer = self.loop.schedule(UNANSWERED_S, self._late)
        else:
            self._report(exchange, f"was not answered within {UNANSWERED_S:g} s")

    def _report(self, exchange: HttpServerExchange, what: str) -> None:
        log.warning("%r %s; it was given to %s", exchange, what, self._where)
        _forget(exchange)


_watched: WeakKeyDictionary[HttpServerExchange, _Watched] = WeakKeyDictionary()


def _dropped_refcount() -> int:
    """Return what `sys.getrefcount` says in `_Watched.look` of what one attribute refers to."""

    class Probe:
        pass

    holder = [Probe()]
    reference = ref(holder[0])
    probe = reference()
    return sys.getrefcount(probe)


_DROPPED_REFCOUNT = _dropped_refcount()


def _forget(exchange: HttpServerExchange) -> None:
    watched = _watched.pop(exchange, None)
    if watched is not None:
        watched.answered()


def _emitting_exchanges(original: Method) -> Method:
    """`HttpServer.emit`: watch what is given to the program."""

    @wraps(original)
    def emit(self: HttpServer, event: str, *args: Any) -> bool:
        if event == "exchange":
            theirs = [each for each in map(_unwrapped, self.listeners(event)) if each is not None]
            if theirs:
                where = ", ".join(map(_place, theirs))
                _watched[args[0]] = _Watched(args[0], where)
        heard: bool = original(self, event, *args)
        return heard

    return emit


def _emitting_ends(original: Method) -> Method:
    """`HttpServerExchange.emit`: note how far the request is."""

    @wraps(original)
    def emit(self: HttpServerExchange, event: str, *args: Any) -> bool:
        heard: bool = original(self, event, *args)
        watched = _watched.get(self)
        if watched is not None and event == "request_done":
            for told in ("request_start", "request_body", "request_done"):
                if self._listeners is not None:
                    self._listeners.pop(told, None)
            watched.request_done()
        elif watched is not None and event == "done":
            _forget(self)
        return heard

    return emit


def _answering(original: Method) -> Method:
    """`response_start` and `upgrade`: it is no longer without an answer."""

    @wraps(original)
    def answer(self: HttpServerExchange, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        watched = _watched.get(self)
        if watched is not None:
            watched.answered()
        return result

    return answer


def _unwrapped(listener: Any) -> Any:
    """Return the function of the program's that a listener comes to; None if it is Thor's own."""
    while hasattr(listener, "func"):  # of functools.partial
        listener = listener.func
    listener = unwrap(getattr(listener, "__func__", listener))
    module = getattr(listener, "__module__", None) or ""
    return None if _is_thors(module) else listener


def _place(function: Any) -> str:
    """Where a function is defined, for people."""
    name = getattr(function, "__qualname__", None) or repr(function)
    code = getattr(function, "__code__", None)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code is not None else name
