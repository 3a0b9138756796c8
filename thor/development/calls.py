"""Checks of calls: their thread, the names of events and settings, and queues that grow.

Owns: what is wrong with a call. Must not know when the checks are on.

Each `check_...` takes a method of Thor and returns the method that replaces it.
"""

from __future__ import annotations

import sys
import threading
from functools import wraps
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from thor.development.reports import Method, closest_name, is_thor_module, suggestion, warn
from thor.events import EventEmitter
from thor.http import HttpClientExchange, HttpServerExchange
from thor.loop import LoopBase
from thor.tcp import TcpConnection

#: How many times its high-water mark a connection's queue may hold before it is reported.
MAX_HIGH_WATERS = 8
#: How alike two names must be (`difflib`) for one to be reported as a misspelling of the other.
MIN_SIMILARITY = 0.6
#: The same where a program may have names of its own.
MIN_SIMILARITY_TO_OWN = 0.8


# -- threads ------------------------------------------------------------------------------------

#: The thread that a turn of a loop runs in, during the turn.
_turn_threads: WeakKeyDictionary[LoopBase, int] = WeakKeyDictionary()


def note_thread(original: Method) -> Method:
    """Wrap `LoopBase.run_turn`: note the thread that it runs in."""

    @wraps(original)
    def run_turn(self: LoopBase, timeout_s: float | None) -> None:
        _turn_threads[self] = threading.get_ident()
        try:
            original(self, timeout_s)
        finally:
            _turn_threads.pop(self, None)

    return run_turn


def check_thread(original: Method) -> Method:
    """Raise RuntimeError for a call in another thread than the loop's."""

    @wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        thread = _turn_threads.get(self if isinstance(self, LoopBase) else self.loop)
        if thread is not None and thread != threading.get_ident():
            problem = f"{original.__qualname__} was called from a thread that is not its loop's"
            raise RuntimeError(f"{problem}: only run_in_loop() and stop() may be")
        return original(self, *args, **kwargs)

    return call


# -- names of events and settings ---------------------------------------------------------------


def check_event_name(original: Method) -> Method:
    """Wrap `on` and its variants: warn of an event that the emitter does not have."""

    @wraps(original)
    def register(self: EventEmitter, event: str, listener: Any) -> EventEmitter:
        declared = _declared_events(self)
        if declared is not None and event not in declared:
            closest = closest_name(event, declared, MIN_SIMILARITY)
            warn(f"{type(self).__name__} emits no event {event!r}{suggestion(closest)}")
        emitter: EventEmitter = original(self, event, listener)
        return emitter

    return register


def _declared_events(emitter: EventEmitter) -> set[str] | None:
    """Return the events that the `emits` of an emitter's classes name.

    Returns: None if they are unknown: a class of the program may emit what it does not declare
    """
    classes = [cls for cls in type(emitter).__mro__ if issubclass(cls, EventEmitter)]
    for cls in classes:
        if cls is EventEmitter:
            return None
        if "emits" in cls.__dict__:
            break
        if not is_thor_module(cls.__module__):
            return None
    return {event for cls in classes for event in cls.__dict__.get("emits", ())}


def check_setting_name(original: Method) -> Method:
    """Wrap `__setattr__`: warn of an attribute that is not a setting."""

    @wraps(original)
    def set_attribute(self: Any, name: str, value: Any) -> None:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if not name.startswith("_") and not is_thor_module(caller) and not hasattr(self, name):
            own = not is_thor_module(type(self).__module__)
            similarity = MIN_SIMILARITY_TO_OWN if own else MIN_SIMILARITY
            closest = closest_name(name, _settings(type(self)), similarity)
            if closest is not None or not own:
                warn(f"{name!r} is no setting of {type(self).__name__}{suggestion(closest)}")
        original(self, name, value)

    return set_attribute


#: Classes whose attributes were checked.
_checked_classes: WeakSet[type] = WeakSet()


def check_class_attributes(original: Method) -> Method:
    """Wrap `__init__`: warn, once, of attributes of the program's subclass that resemble
    settings."""

    @wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        cls = type(self)
        if cls not in _checked_classes:
            _checked_classes.add(cls)
            _check_attributes(cls)
        original(self, *args, **kwargs)

    return init


def _check_attributes(cls: type) -> None:
    settings = _settings(cls)
    thor_classes = [base for base in cls.__mro__ if is_thor_module(base.__module__)]
    for base in cls.__mro__:
        if base is object or is_thor_module(base.__module__):
            continue
        for name in vars(base):
            if name.startswith("_") or any(hasattr(other, name) for other in thor_classes):
                continue
            closest = closest_name(name, settings, MIN_SIMILARITY_TO_OWN)
            if closest is not None:
                warn(f"{base.__name__}.{name} is no setting{suggestion(closest)}")


def _settings(cls: type) -> set[str]:
    """Return the settings that Thor's classes among the bases of `cls` have."""
    return {
        name
        for base in cls.__mro__
        if is_thor_module(base.__module__)
        for name, value in vars(base).items()
        if not name.startswith("_")
        and name != "emits"
        and not isinstance(value, (FunctionType, property, classmethod, staticmethod))
    }


# -- queues -------------------------------------------------------------------------------------

#: Connections whose queue was reported.
_reported_queues: WeakSet[TcpConnection] = WeakSet()


def check_queue(original: Method) -> Method:
    """Wrap a method that writes: warn of a queue that grows while nothing listens for `pause`."""

    @wraps(original)
    def write(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        conn = _connection_of(self)
        if conn is not None and conn not in _reported_queues:
            size = conn.write_buffer.size
            if size > MAX_HIGH_WATERS * conn.high_water and not self.has_listener("pause"):
                _reported_queues.add(conn)
                queue = f"{size} bytes wait to be sent to {conn.address!r}, and nobody listens for"
                warn(f"{queue} 'pause' of {type(self).__name__}: write no more until pause(False)")
        return result

    return write


def _connection_of(writer: object) -> TcpConnection | None:
    """Return the connection that is written to.

    Returns: None without one, or if a layer above the connection writes
    """
    conn: TcpConnection | None = None
    if isinstance(writer, HttpServerExchange):
        conn = writer.http_conn.tcp_conn
    elif isinstance(writer, HttpClientExchange):
        conn = writer.conn.tcp_conn if writer.conn is not None else None
    elif isinstance(writer, TcpConnection) and writer.owner is None:
        conn = writer
    return conn
