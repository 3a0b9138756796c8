"""Event emitters in the style of Node.js.

Owns: the registration of listeners and their synchronous call. Must not know loops, sockets or
protocols.

Theory of operation: an emitter stores nothing until its first `on`, so that millions are cheap.
`_listeners` maps an event's name to its listeners: the bare function if there is one listener
without state (the usual case, and the fast one), otherwise `_Registrations`. These are never
changed in place: `emit` iterates over a snapshot, and `live` is False for a listener that was
removed meanwhile.

`emit` has up to three positional arguments: packing and unpacking a tuple is a third of its cost.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import lru_cache
from typing import Any, ClassVar, TypeAlias, TypeVar

from thor.types import EventListener

F = TypeVar("F", bound=Callable[..., object])
E = TypeVar("E", bound="EventEmitter")


class _Registration:
    """One call of `on`: a listener and its state."""

    __slots__ = ("context", "func", "live", "once")

    def __init__(self, func: EventListener, once: bool, context: Context | None) -> None:
        self.func = func
        self.once = once
        self.context = context
        self.live = True

    def call(self, args: tuple[object, ...]) -> None:
        context = self.context
        if context is None:
            self.func(*args)
            return
        try:
            context.run(self.func, *args)
        except RuntimeError as exc:
            # A context cannot be entered twice: a listener that is called again during its own
            # call runs in a copy, which has the same values.
            if "is already entered" not in str(exc) or exc.__traceback__.tb_next is not None:  # type: ignore[union-attr]
                raise
            context.copy().run(self.func, *args)


class _Registrations(tuple[_Registration, ...]):
    """The listeners of one event, in order. The class distinguishes it from a bare function."""


#: The listeners of an emitter by event: an `EventListener` or `_Registrations`.
_Listeners: TypeAlias = dict[str, Any]

#: Stands for an argument that was not passed.
_NONE = object()


#: `inspect.CO_COROUTINE` and `CO_ASYNC_GENERATOR`: importing `inspect` takes long.
_ASYNC_FLAGS = 0x80 | 0x200
#: Functions and methods that are written in C, such as `list.append`.
_BUILTIN = type(len)
#: Whether there is `inspect.markcoroutinefunction`.
_MARKS = sys.version_info >= (3, 12)


def require_callback(given: object, kind: str = "callback") -> None:
    """Raise TypeError unless calling `given` runs it.

    A call of a coroutine function or of an async generator function runs nothing: its result must
    be awaited, and nobody would do that.

    kind: the word for it in the message
    """
    function: Any = given
    try:
        unusual = function.__code__.co_flags & _ASYNC_FLAGS or (_MARKS and _is_marked(function))
    except (AttributeError, TypeError):  # not a Python function, nor a method that is one
        unusual = True
    if unusual:
        _require_unusual_callback(given, kind)


def _is_marked(function: object) -> bool:
    # Not looked up in `__dict__`, which would make a dict for each listener.
    return getattr(function, "_is_coroutine_marker", None) is not None


def _require_unusual_callback(given: object, kind: str) -> None:
    """Do what `require_callback` does, for an object that is not a plain function or method."""
    if given.__class__ is _BUILTIN:
        return
    import functools
    import inspect

    if not callable(given):
        name = type(given).__name__
        raise TypeError(f"a {kind} must be callable, not {name} {given!r}; was it called already?")
    function: Any = given
    while isinstance(function, functools.partial):
        function = function.func
    for called in (function, type(function).__call__):
        if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
            text = f"a {kind} that is a coroutine function needs asyncio hosting"
            raise TypeError(f"{text}: {given!r}")


class EventEmitter:
    """An object with listeners for named events.

    Emits:
        newListener(event, listener): before a listener is added; never reaches a sink.
        removeListener(event, listener): after a listener was removed; never reaches a sink.
    """

    #: The names of the events, beside those of the bases; for development mode.
    emits: ClassVar[frozenset[str]] = frozenset(("newListener", "removeListener"))

    _listeners: _Listeners | None = None
    _sink: Any = None

    def __getstate__(self) -> dict[str, object]:
        """Return the state to pickle: a plain dict, without listeners and sink."""
        state = dict(self.__dict__)
        state.pop("_listeners", None)
        state.pop("_sink", None)
        return state

    # -- registration --------------------------------------------------------------------------

    def on(self: E, event: str, listener: EventListener) -> E:
        """Call `listener` each time `event` is emitted; listeners are called in order.

        Raises: TypeError for an object that cannot be called, and for a coroutine function or an
            async generator function, which would not run
        """
        if self._listeners is None and not copy_context():
            # The same as `_add`, inlined with `require_callback` for speed.
            try:
                if listener.__code__.co_flags & _ASYNC_FLAGS or (_MARKS and _is_marked(listener)):
                    _require_unusual_callback(listener, "listener")
            except (AttributeError, TypeError):
                _require_unusual_callback(listener, "listener")
            self._listeners = {event: listener}
        else:
            self._add(event, listener, False, False)
        return self

    def once(self: E, event: str, listener: EventListener) -> E:
        """Call `listener` the next time `event` is emitted, and never again."""
        self._add(event, listener, True, False)
        return self

    def prepend_listener(self: E, event: str, listener: EventListener) -> E:
        """Do what `on` does, but before the existing listeners."""
        self._add(event, listener, False, True)
        return self

    def prepend_once_listener(self: E, event: str, listener: EventListener) -> E:
        """Do what `once` does, but before the existing listeners."""
        self._add(event, listener, True, True)
        return self

    def _add(self, event: str, listener: EventListener, once: bool, first: bool) -> None:
        require_callback(listener, "listener")
        listeners = self._listeners
        if listeners is None:
            listeners = self._listeners = {}
        elif "newListener" in listeners:
            self._emit_own("newListener", event, listener)
            listeners = self._listeners
            if listeners is None:
                listeners = self._listeners = {}
        context: Context | None = copy_context()
        if not context:
            context = None
        present = listeners.get(event)
        if present is None and not once and context is None:
            listeners[event] = listener
            return
        new = (_Registration(listener, once, context),)
        old = _registrations(present)
        listeners[event] = _Registrations(new + old if first else old + new)

    def off(self: E, event: str, listener: EventListener) -> E:
        """Remove the most recent registration of `listener` for `event`, if there is one."""
        listeners = self._listeners
        present = listeners.get(event) if listeners is not None else None
        if listeners is None or present is None:
            return self
        if present.__class__ is not _Registrations:
            if present != listener:
                return self
            del listeners[event]
        else:
            for registration in reversed(present):
                if registration.func == listener:
                    self._drop(listeners, event, registration)
                    break
            else:
                return self
        if "removeListener" in listeners:
            self._emit_own("removeListener", event, listener)
        return self

    remove_listener = off
    removeListener = off

    def remove_listeners(self: E, *events: str) -> E:
        """Remove all listeners of these events; of all events when none is named."""
        listeners = self._listeners
        if listeners is None:
            return self
        # The listeners for removeListener are removed last, so that they are called for the others.
        names = events or (*(n for n in listeners if n != "removeListener"), "removeListener")
        for event in names:
            if "removeListener" in listeners:
                for listener in reversed(self.listeners(event)):
                    self.off(event, listener)
            else:
                for registration in _registrations(listeners.pop(event, None)):
                    registration.live = False
        return self

    removeListeners = remove_listeners

    def _drop(self, listeners: _Listeners, event: str, registration: _Registration) -> None:
        registration.live = False
        present = listeners.get(event)
        if present.__class__ is _Registrations:
            others = _Registrations(entry for entry in present if entry is not registration)
            if others:
                listeners[event] = others
            else:
                del listeners[event]

    def _forget(self) -> None:
        """Drop listeners and sink silently.

        After a terminal event, this breaks the reference cycle of a listener's closure with its
        emitter.
        """
        self._listeners = None
        self._sink = None

    @contextmanager
    def listening(self, event: str, listener: EventListener) -> Iterator[None]:
        """Return a context manager: `listener` listens for `event` inside the `with` block."""
        self.on(event, listener)
        try:
            yield
        finally:
            self.off(event, listener)

    # -- inspection -------------------------------------------------------------------------------

    def listeners(self, event: str) -> list[EventListener]:
        """Return the listeners of `event`, as they were passed; a new list."""
        if self._listeners is None:
            return []
        return [entry.func for entry in _registrations(self._listeners.get(event))]

    def listener_count(self, event: str) -> int:
        """Return how many listeners `event` has."""
        return len(self.listeners(event))

    def has_listener(self, event: str) -> bool:
        """Return whether `emit` would call anything: a listener, or the sink's method."""
        listeners = self._listeners
        return (listeners is not None and event in listeners) or hasattr(self._sink, event)

    def events(self) -> list[str]:
        """Return the names of the events that have listeners."""
        return list(self._listeners) if self._listeners is not None else []

    # -- emitting ------------------------------------------------------------------------------

    def emit(
        self, event: str, a: object = _NONE, b: object = _NONE, c: object = _NONE, /, *more: object
    ) -> bool:
        """Call the listeners of `event` with the other arguments, now, in order of registration.

        A listener that is added meanwhile is called by the next `emit`; one that is removed
        meanwhile is no longer called. Without a listener, the method of the sink with that name is
        called. An exception of a listener ends `emit`, and is raised to the caller.
        Returns: whether anything was called
        """
        if (listeners := self._listeners) is None or (listener := listeners.get(event)) is None:
            if self._sink is None:
                return False
            listener = getattr(self._sink, event, None)
            if listener is None:
                return False
        elif listener.__class__ is _Registrations:
            passed = tuple(arg for arg in (a, b, c) if arg is not _NONE)
            self._emit_registered(event, listener, passed + more)
            return True
        if a is _NONE:
            listener()
        elif b is _NONE:
            listener(a)
        elif c is _NONE:
            listener(a, b)
        elif not more:
            listener(a, b, c)
        else:
            listener(a, b, c, *more)
        return True

    def _emit_registered(
        self, event: str, snapshot: tuple[_Registration, ...], args: tuple[object, ...]
    ) -> None:
        for registration in snapshot:
            if registration.live:
                if registration.once:
                    listeners = self._listeners or {}
                    self._drop(listeners, event, registration)
                    if "removeListener" in listeners:
                        self._emit_own("removeListener", event, registration.func)
                registration.call(args)

    def _emit_own(self, event: str, *args: object) -> None:
        """Emit one of the emitter's own events, which never reach the sink."""
        if self._listeners is not None:
            self._emit_registered(event, _registrations(self._listeners.get(event)), args)

    def sink(self, sink: object) -> None:
        """Send events that have no listener to the method of `sink` with their name, if any.

        Raises: TypeError if such a method is a coroutine function
        """
        _check_sink(type(sink), type(self).emits)  # type: ignore[arg-type]
        self._sink = sink


@lru_cache(maxsize=256)
def _check_sink(cls: type, events: frozenset[str]) -> None:
    """Raise TypeError if a method that would be called for an event is a coroutine function.

    events: of the emitter; where its class declares none of its own, every public method is one
    """
    names = dir(cls) if events == EventEmitter.emits else events
    for name in names:
        method = getattr(cls, name, None)
        if not name.startswith("_") and hasattr(method, "__code__"):
            require_callback(method, "sink's method")


def _registrations(present: Any) -> tuple[_Registration, ...]:
    """Return what is stored for an event (None: nothing) as registrations."""
    if present is None:
        return ()
    if present.__class__ is _Registrations:
        registrations: _Registrations = present
        return registrations
    return (_Registration(present, False, None),)


def on(emitter: EventEmitter, event: str | None = None) -> Callable[[F], F]:
    """Return a decorator that makes a function a listener of `emitter`.

    event: the event's name; left out, it is the function's own name
    Returns: a decorator that returns the function unchanged
    """

    def register(function: F) -> F:
        emitter.on(event or function.__name__, function)
        return function

    return register
