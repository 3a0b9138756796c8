"""Listeners: who is called, when, in which order, and in which context."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest

import thor.events
from thor.events import EventEmitter, on


@pytest.fixture
def emitter() -> EventEmitter:
    return EventEmitter()


@pytest.fixture
def heard() -> list[Any]:
    return []


def quiet(*args: Any) -> None:
    """A listener that leaves no trace."""


def saying(heard: list[Any], what: Any) -> Callable[..., None]:
    return lambda *args: heard.append((what, *args) if args else what)


# -- emitting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("listeners", [1, 2], ids=["one listener", "two listeners"])
def test_arguments_are_handed_to_each_listener(
    emitter: EventEmitter, heard: list[Any], count: int, listeners: int
) -> None:
    for _ in range(listeners):
        emitter.on("x", lambda *args: heard.append(args))
    emitter.emit("x", *range(count))
    assert heard == [tuple(range(count))] * listeners


def test_none_is_an_argument_like_others(emitter: EventEmitter, heard: list[Any]) -> None:
    emitter.on("x", lambda *args: heard.append(args))
    emitter.emit("x", None, None)
    assert heard == [(None, None)]


def test_listeners_are_called_in_order_of_registration(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    for name in "abc":
        emitter.on("x", saying(heard, name))
    emitter.emit("x")
    assert heard == ["a", "b", "c"]


def test_emit_calls_at_once(emitter: EventEmitter, heard: list[Any]) -> None:
    emitter.on("x", saying(heard, "called"))
    heard.append("before")
    emitter.emit("x")
    heard.append("after")
    assert heard == ["before", "called", "after"]


def test_emit_says_whether_anything_was_called(emitter: EventEmitter) -> None:
    assert emitter.emit("x") is False
    emitter.on("x", lambda: None)
    assert emitter.emit("x") is True
    assert emitter.emit("y") is False


def test_other_events_are_not_heard(emitter: EventEmitter, heard: list[Any]) -> None:
    emitter.on("x", saying(heard, "x"))
    emitter.emit("y")
    assert heard == []


def test_listener_that_was_registered_twice_is_called_twice(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    listener = saying(heard, "a")
    emitter.on("x", listener).on("x", listener)
    emitter.emit("x")
    assert heard == ["a", "a"]


def test_listener_added_during_an_emit_waits_for_the_next(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    emitter.on("x", lambda: emitter.on("x", saying(heard, "late")))
    emitter.emit("x")
    assert heard == []
    emitter.emit("x")
    assert heard == ["late"]


def test_listener_prepended_during_an_emit_waits_for_the_next(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    emitter.once("x", lambda: emitter.prepend_listener("x", saying(heard, "first")))
    emitter.on("x", saying(heard, "second"))
    emitter.emit("x")
    assert heard == ["second"]
    emitter.emit("x")
    assert heard == ["second", "first", "second"]


@pytest.mark.parametrize("remover", ["off", "remove_listener", "removeListener"])
def test_listener_removed_during_an_emit_is_not_called_any_more(
    emitter: EventEmitter, heard: list[Any], remover: str
) -> None:
    victim = saying(heard, "victim")
    emitter.on("x", lambda: getattr(emitter, remover)("x", victim))
    emitter.on("x", victim)
    emitter.on("x", saying(heard, "last"))
    emitter.emit("x")
    assert heard == ["last"]


@pytest.mark.parametrize("events", [("x",), ()], ids=["of the event", "of all events"])
def test_listeners_removed_all_at_once_during_an_emit_are_not_called_any_more(
    emitter: EventEmitter, heard: list[Any], events: tuple[str, ...]
) -> None:
    emitter.on("x", lambda: emitter.remove_listeners(*events))
    emitter.on("x", saying(heard, "victim"))
    emitter.emit("x")
    assert heard == []


def test_one_of_two_equal_registrations_removed_during_an_emit(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    twice = saying(heard, "twice")
    emitter.once("x", lambda: emitter.off("x", twice))
    emitter.on("x", twice).on("x", twice)
    emitter.emit("x")
    assert heard == ["twice"]


def test_emit_inside_an_emit_is_done_first(emitter: EventEmitter, heard: list[Any]) -> None:
    emitter.once("x", lambda: emitter.emit("x"))
    emitter.on("x", saying(heard, "heard"))
    emitter.emit("x")
    assert heard == ["heard", "heard"]


@pytest.mark.parametrize("others", [0, 1])
def test_what_a_listener_raises_reaches_the_caller_and_ends_the_emit(
    emitter: EventEmitter, heard: list[Any], others: int
) -> None:
    emitter.on("x", lambda: 1 / 0)
    for _ in range(others):
        emitter.on("x", saying(heard, "other"))
    with pytest.raises(ZeroDivisionError):
        emitter.emit("x")
    assert heard == []


# -- once, prepend ------------------------------------------------------------------------------


def test_once_is_called_the_next_time_only(emitter: EventEmitter, heard: list[Any]) -> None:
    emitter.once("x", saying(heard, "a"))
    assert emitter.emit("x", 1) is True
    assert emitter.emit("x", 2) is False
    assert heard == [("a", 1)]


def test_once_among_others_is_called_once(emitter: EventEmitter, heard: list[Any]) -> None:
    emitter.on("x", saying(heard, "a")).once("x", saying(heard, "b")).on("x", saying(heard, "c"))
    emitter.emit("x")
    emitter.emit("x")
    assert heard == ["a", "b", "c", "a", "c"]


def test_once_is_removed_before_it_is_called(emitter: EventEmitter, heard: list[Any]) -> None:
    def listener() -> None:
        heard.append(emitter.listener_count("x"))
        emitter.emit("x")

    emitter.once("x", listener)
    emitter.emit("x")
    assert heard == [0]


def test_once_twice_is_called_twice(emitter: EventEmitter, heard: list[Any]) -> None:
    listener = saying(heard, "a")
    emitter.once("x", listener).once("x", listener)
    emitter.emit("x")
    assert heard == ["a", "a"]
    assert emitter.events() == []


def test_prepended_listeners_come_first(emitter: EventEmitter, heard: list[Any]) -> None:
    emitter.on("x", saying(heard, "c"))
    emitter.prepend_once_listener("x", saying(heard, "b"))
    emitter.prepend_listener("x", saying(heard, "a"))
    emitter.emit("x")
    emitter.emit("x")
    assert heard == ["a", "b", "c", "a", "c"]


@pytest.mark.parametrize("method", ["on", "once", "prepend_listener", "prepend_once_listener"])
def test_registering_returns_the_emitter(emitter: EventEmitter, method: str) -> None:
    assert getattr(emitter, method)("x", print) is emitter


@pytest.mark.parametrize("method", ["on", "once", "prepend_listener", "prepend_once_listener"])
def test_listener_must_be_callable(emitter: EventEmitter, method: str) -> None:
    with pytest.raises(TypeError, match="int"):
        getattr(emitter, method)("x", 3)


async def coroutine_function(*args: Any) -> None:
    """What an emit would create, and drop."""


async def async_generator_function(*args: Any) -> AsyncIterator[None]:
    yield


class Asynchronous:
    async def method(self, *args: Any) -> None: ...

    async def __call__(self, *args: Any) -> None: ...


ASYNCHRONOUS: dict[str, Any] = {
    "function": coroutine_function,
    "async generator": async_generator_function,
    "method": Asynchronous().method,
    "partial": partial(coroutine_function, 1),
    "partial of a partial of a method": partial(partial(Asynchronous().method, 1), key=2),
    "object": Asynchronous(),
    "partial of an object": partial(Asynchronous()),
}
REGISTER: dict[str, Callable[[EventEmitter, Any], object]] = {
    "on": lambda emitter, given: emitter.on("x", given),
    "on, beside another": lambda emitter, given: emitter.on("y", quiet).on("x", given),
    "once": lambda emitter, given: emitter.once("x", given),
    "prepend_listener": lambda emitter, given: emitter.prepend_listener("x", given),
    "prepend_once_listener": lambda emitter, given: emitter.prepend_once_listener("x", given),
    "listening": lambda emitter, given: emitter.listening("x", given).__enter__(),
    "decorator": lambda emitter, given: on(emitter, "x")(given),
}


@pytest.mark.parametrize(
    ("how", "kind"),
    [*((how, "function") for how in REGISTER), *(("on", kind) for kind in ASYNCHRONOUS)],
)
def test_coroutine_function_is_no_listener(emitter: EventEmitter, how: str, kind: str) -> None:
    with pytest.raises(TypeError, match=r"listener .* needs asyncio hosting"):
        REGISTER[how](emitter, ASYNCHRONOUS[kind])
    assert emitter.listeners("x") == []


@pytest.mark.skipif(not hasattr(inspect, "markcoroutinefunction"), reason="new in Python 3.12")
@pytest.mark.parametrize("kind", ["function", "method"])
def test_function_marked_as_coroutine_function_is_no_listener(
    emitter: EventEmitter, kind: str
) -> None:
    class Marked:
        def method(self) -> None: ...

    inspect.markcoroutinefunction(Marked.method)  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="needs asyncio hosting"):
        emitter.on("x", Marked().method if kind == "method" else Marked.method)


def test_callables_of_every_other_kind_are_listeners(emitter: EventEmitter) -> None:
    class Callable:
        def __init__(self, *args: Any) -> None: ...

        def __call__(self, *args: Any) -> None: ...

    kinds: list[Any] = [quiet, [].append, Callable, Callable(), partial(quiet), Mock()]
    kinds += ["".join, dict]
    for kind in kinds:
        emitter.on("x", kind)
    assert emitter.listeners("x") == kinds


# -- removing -----------------------------------------------------------------------------------


def test_removing_takes_the_most_recent_match(emitter: EventEmitter, heard: list[Any]) -> None:
    twice, between = saying(heard, "twice"), saying(heard, "between")
    emitter.on("x", twice).on("x", between).on("x", twice)
    assert emitter.off("x", twice) is emitter
    assert emitter.listeners("x") == [twice, between]


def test_off_removes_what_once_registered(emitter: EventEmitter) -> None:
    emitter.once("x", print).off("x", print)
    assert emitter.emit("x") is False


def test_bound_methods_are_removed_by_what_is_equal(emitter: EventEmitter) -> None:
    heard: list[int] = []
    emitter.on("x", heard.append)
    emitter.off("x", heard.append)
    assert emitter.listeners("x") == []


@pytest.mark.parametrize("present", [0, 1, 2])
def test_removing_what_does_not_listen_changes_nothing(emitter: EventEmitter, present: int) -> None:
    for _ in range(present):
        emitter.on("x", print)
    emitter.off("x", repr).off("y", print)
    assert emitter.listener_count("x") == present


@pytest.mark.parametrize("remover", ["remove_listeners", "removeListeners"])
def test_all_listeners_of_some_events_are_removed(emitter: EventEmitter, remover: str) -> None:
    for event in "xyz":
        emitter.on(event, print).once(event, repr)
    getattr(emitter, remover)("x", "z", "unheard of")
    assert emitter.events() == ["y"]


def test_all_listeners_of_all_events_are_removed(emitter: EventEmitter) -> None:
    emitter.on("x", print).on("y", print)
    assert emitter.remove_listeners() is emitter
    assert emitter.events() == []
    assert emitter.remove_listeners("x").events() == []


def test_removing_from_an_emitter_that_was_never_used() -> None:
    assert EventEmitter().off("x", print).remove_listeners().events() == []


# -- looking ------------------------------------------------------------------------------------


def test_listeners_are_listed_as_they_were_given(emitter: EventEmitter) -> None:
    emitter.on("x", print).once("x", repr).prepend_listener("x", len)
    assert emitter.listeners("x") == [len, print, repr]
    assert emitter.listener_count("x") == 3
    assert emitter.listeners("y") == []
    assert emitter.listener_count("y") == 0


def test_list_of_listeners_is_a_copy(emitter: EventEmitter) -> None:
    emitter.on("x", print)
    emitter.listeners("x").clear()
    assert emitter.listeners("x") == [print]


def test_events_are_those_that_have_listeners(emitter: EventEmitter) -> None:
    assert emitter.events() == []
    emitter.on("x", print).on("y", print).off("x", print)
    assert emitter.events() == ["y"]


# -- newListener, removeListener ----------------------------------------------------------------


def test_new_listener_is_emitted_before_the_listener_is_added(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    def new(event: str, listener: Any) -> None:
        heard.append((event, listener, emitter.listener_count("x")))

    emitter.on("newListener", new)
    emitter.on("x", print)
    emitter.once("x", repr)
    assert heard == [("x", print, 0), ("x", repr, 1)]


def test_new_listener_is_not_emitted_for_itself_but_for_the_next_one(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    emitter.on("newListener", lambda *args: heard.append(args))
    emitter.on("newListener", print)
    assert heard == [("newListener", print)]


def test_listener_added_by_new_listener_comes_first(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    emitter.once("newListener", lambda *_: emitter.on("x", saying(heard, "first")))
    emitter.on("x", saying(heard, "second"))
    emitter.emit("x")
    assert heard == ["first", "second"]


def test_new_listener_listener_may_remove_all(emitter: EventEmitter) -> None:
    emitter.on("newListener", lambda *_: emitter.remove_listeners())
    emitter.on("x", print)
    assert emitter.events() == ["x"]


def test_remove_listener_is_emitted_after_the_listener_was_removed(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    def removed(event: str, listener: Any) -> None:
        heard.append((event, listener, emitter.listener_count("x")))

    emitter.on("removeListener", removed).on("x", print).on("x", repr)
    emitter.off("x", print).off("x", len)
    assert heard == [("x", print, 1)]


def test_remove_listener_is_emitted_before_a_once_listener_is_called(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    listener = saying(heard, "called")
    emitter.on("removeListener", lambda *args: heard.append(args)).once("x", listener)
    emitter.emit("x")
    assert heard == [("x", listener), "called"]


def test_remove_listener_hears_of_each_one_when_all_go(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    emitter.on("x", print).on("x", repr).on("y", len)
    emitter.on("removeListener", lambda *args: heard.append(args))
    emitter.on("removeListener", quiet)
    emitter.remove_listeners()
    # Last in, first out, as in Node; those for removeListener itself last.
    assert heard == [("x", repr), ("x", print), ("y", len), ("removeListener", quiet)]
    assert emitter.events() == []


# -- sinks --------------------------------------------------------------------------------------


class Sink:
    def __init__(self, heard: list[Any]) -> None:
        self.heard = heard

    def data(self, *args: Any) -> None:
        self.heard.append(("sink", *args))

    def newListener(self, *args: Any) -> None:
        self.heard.append("newListener")

    removeListener = newListener


@pytest.mark.parametrize("count", range(5))
def test_sink_gets_what_nobody_listens_for(
    emitter: EventEmitter, heard: list[Any], count: int
) -> None:
    emitter.sink(Sink(heard))
    assert emitter.emit("data", *range(count)) is True
    assert heard == [("sink", *range(count))]


def test_sink_gets_nothing_where_there_is_a_listener(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    emitter.sink(Sink(heard))
    emitter.on("data", saying(heard, "listener"))
    emitter.emit("data")
    assert heard == ["listener"]
    emitter.remove_listeners("data")
    emitter.emit("data", 1)
    assert heard == ["listener", ("sink", 1)]


def test_events_that_the_sink_has_no_method_for_go_nowhere(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    emitter.sink(Sink(heard))
    assert emitter.emit("unheard_of") is False


def test_sink_can_be_taken_back(emitter: EventEmitter, heard: list[Any]) -> None:
    emitter.sink(Sink(heard))
    emitter.sink(None)
    assert emitter.emit("data") is False


def test_new_listener_and_remove_listener_never_reach_a_sink(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    emitter.sink(Sink(heard))
    emitter.on("x", print).off("x", print)
    emitter.once("y", lambda: None).emit("y")
    emitter.remove_listeners()
    assert heard == []


# -- listening, on ------------------------------------------------------------------------------


def test_listening_ends_with_its_block(emitter: EventEmitter, heard: list[Any]) -> None:
    with emitter.listening("x", saying(heard, "a")):
        emitter.emit("x")
    emitter.emit("x")
    assert heard == ["a"]


def test_listening_ends_when_its_block_raises(emitter: EventEmitter) -> None:
    with pytest.raises(KeyError), emitter.listening("x", print):
        raise KeyError
    assert emitter.events() == []


def test_decorator_takes_the_event(emitter: EventEmitter, heard: list[Any]) -> None:
    @on(emitter, "blow_up")
    def push_red_button(thing: str) -> None:
        heard.append(thing)

    emitter.emit("blow_up", "bomb")
    push_red_button("by hand")
    assert heard == ["bomb", "by hand"]


def test_decorator_takes_the_name_of_the_function(emitter: EventEmitter, heard: list[Any]) -> None:
    @thor.events.on(emitter)
    def blow_up(thing: str) -> None:
        heard.append(thing)

    emitter.emit("blow_up", "bomb")
    assert heard == ["bomb"]


class AsyncSink:
    async def rung(self) -> None:
        """Never runs."""


def test_sink_with_a_coroutine_function_for_an_event_is_refused() -> None:
    class Bell(EventEmitter):
        emits = frozenset(("rung",))

    class Other(EventEmitter):
        emits = frozenset(("other",))

    for bell in (Bell(), EventEmitter()):
        with pytest.raises(TypeError, match="asyncio hosting"):
            bell.sink(AsyncSink())
    Other().sink(AsyncSink())
