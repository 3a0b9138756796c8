"""Emitters as objects: the contexts of listeners, subclasses, clones, what is freed."""

from __future__ import annotations

import contextvars
import copy
import gc
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from thor.events import EventEmitter

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="nothing")


@pytest.fixture
def emitter() -> EventEmitter:
    return EventEmitter()


@pytest.fixture
def heard() -> list[Any]:
    return []


def saying(heard: list[Any], what: Any) -> Callable[..., None]:
    return lambda *args: heard.append((what, *args) if args else what)


# -- contexts -----------------------------------------------------------------------------------


def in_context(value: str, function: Callable[..., Any], *args: Any) -> None:
    """Call a function where VAR has this value."""

    def call() -> None:
        VAR.set(value)
        function(*args)

    contextvars.Context().run(call)


@pytest.fixture
def empty_context() -> contextvars.Context:
    return contextvars.Context()


@pytest.mark.parametrize("method", ["on", "once", "prepend_listener", "prepend_once_listener"])
@pytest.mark.parametrize("others", [0, 1])
def test_listener_runs_in_the_context_of_its_registration(
    emitter: EventEmitter, heard: list[Any], method: str, others: int
) -> None:
    for _ in range(others):
        emitter.on("x", lambda: None)
    in_context("registered", getattr(emitter, method), "x", lambda: heard.append(VAR.get()))
    in_context("emitting", emitter.emit, "x")
    assert heard == ["registered"]


def test_listener_registered_in_an_empty_context_runs_in_the_current_one(
    emitter: EventEmitter, heard: list[Any], empty_context: contextvars.Context
) -> None:
    empty_context.run(emitter.on, "x", lambda: heard.append(VAR.get()))
    in_context("emitting", emitter.emit, "x")
    assert heard == ["emitting"]


def test_listener_registered_in_an_empty_context_is_kept_bare(
    emitter: EventEmitter, empty_context: contextvars.Context
) -> None:
    """It costs nothing: no object is made for it."""
    empty_context.run(emitter.on, "x", print)
    assert emitter._listeners == {"x": print}


def test_what_a_listener_sets_it_finds_again(emitter: EventEmitter, heard: list[Any]) -> None:
    def listener(value: str) -> None:
        heard.append(VAR.get())
        VAR.set(value)

    in_context("0", emitter.on, "x", listener)
    emitter.emit("x", "1")
    emitter.emit("x", "2")
    assert heard == ["0", "1"]
    assert VAR.get() == "nothing"


def test_context_that_is_entered_again_runs_in_a_copy(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    def listener(depth: int) -> None:
        heard.append((depth, VAR.get()))
        VAR.set(f"set at {depth}")
        if depth < 2:
            emitter.emit("x", depth + 1)
        heard.append((depth, VAR.get()))

    in_context("registered", emitter.on, "x", listener)
    emitter.emit("x", 0)
    assert heard == [
        (0, "registered"),
        (1, "set at 0"),
        (2, "set at 0"),  # the context itself is busy on level 0: each deeper one has a copy of it
        (2, "set at 2"),
        (1, "set at 1"),
        (0, "set at 0"),
    ]


def test_runtime_error_of_a_listener_is_no_sign_of_a_busy_context(
    emitter: EventEmitter, heard: list[Any]
) -> None:
    def listener() -> None:
        heard.append("called")
        raise RuntimeError("the door is already entered")

    in_context("registered", emitter.on, "x", listener)
    with pytest.raises(RuntimeError, match="the door"):
        emitter.emit("x")
    assert heard == ["called"]


def test_new_listener_is_heard_in_its_own_context(emitter: EventEmitter, heard: list[Any]) -> None:
    in_context("registered", emitter.on, "newListener", lambda *_: heard.append(VAR.get()))
    emitter.on("x", print)
    assert heard == ["registered"]


# -- emitters as objects ------------------------------------------------------------------------


class Titled(EventEmitter):
    """A subclass that does not call `EventEmitter.__init__`."""

    def __init__(self, title: str) -> None:
        self.title = title


def test_subclass_need_not_call_the_constructor(heard: list[Any]) -> None:
    titled = Titled("t")
    titled.colour = "red"  # type: ignore[attr-defined]
    titled.on("x", saying(heard, "a")).emit("x")
    assert heard == ["a"]


def test_nothing_is_made_until_somebody_listens() -> None:
    emitter = EventEmitter()
    emitter.emit("x")
    emitter.listeners("x")
    emitter.off("x", print)
    assert vars(emitter) == {}


@pytest.mark.parametrize(
    "clone", [copy.copy, lambda e: pickle.loads(pickle.dumps(e))], ids=["copied", "pickled"]
)
def test_clone_has_no_listeners_and_works(
    heard: list[Any], clone: Callable[[Titled], Titled]
) -> None:
    titled = Titled("t")
    titled.on("x", lambda: heard.append("original"))
    titled.sink(titled)
    twin = clone(titled)
    assert twin.title == "t"
    assert twin.emit("x") is False
    assert twin.emit("title") is False
    twin.on("x", saying(heard, "twin")).emit("x")
    assert heard == ["twin"]
    assert titled.listener_count("x") == 1


class Trimmed(Titled):
    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["title"]
        return state


def test_subclass_may_trim_the_pickled_state() -> None:
    trimmed = Trimmed("t")
    assert vars(pickle.loads(pickle.dumps(trimmed))) == {}
    assert trimmed.title == "t"


def test_emitter_that_was_forgotten_is_no_part_of_a_cycle() -> None:
    def make() -> weakref.ref[EventEmitter]:
        emitter = EventEmitter()
        emitter.on("x", lambda: emitter.emit("y"))
        emitter.sink(emitter)
        emitter._forget()
        return weakref.ref(emitter)

    gc.disable()
    try:
        assert make()() is None
    finally:
        gc.enable()
