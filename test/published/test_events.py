"""What the published documentation says of events."""

from __future__ import annotations

from typing import Any

import pytest
from published_support import documents, example

import thor


@documents("thor.events.EventEmitter ()")
def test_an_event_emitter_is_made_without_arguments() -> None:
    assert thor.events.EventEmitter().emit("nothing") is False


@documents("thor.events.EventEmitter.on ( event, listener )")
def test_on_adds_a_listener_that_is_called_each_time() -> None:
    emitter = thor.events.EventEmitter()
    heard: list[int] = []
    emitter.on("event", heard.append)
    emitter.emit("event", 1)
    emitter.emit("event", 2)
    assert heard == [1, 2]


@documents("thor.events.EventEmitter.once ( event, listener )")
def test_once_calls_the_listener_exactly_once() -> None:
    emitter = thor.events.EventEmitter()
    heard: list[int] = []
    emitter.once("event", heard.append)
    emitter.emit("event", 1)
    emitter.emit("event", 2)
    assert heard == [1]


@documents("thor.events.EventEmitter.removeListener ( event, listener )")
@pytest.mark.parametrize("name", ["removeListener", "remove_listener"])
def test_remove_listener_removes_it(name: str) -> None:
    emitter = thor.events.EventEmitter()
    heard: list[int] = []
    emitter.on("event", heard.append)
    getattr(emitter, name)("event", heard.append)
    emitter.emit("event", 1)
    assert heard == []


@documents("thor.events.EventEmitter.removeListeners ( event, ... )")
@pytest.mark.parametrize("name", ["removeListeners", "remove_listeners"])
def test_remove_listeners_removes_those_of_each_event_named(name: str) -> None:
    emitter = thor.events.EventEmitter()
    heard: list[str] = []
    for event in ("a", "b", "c"):
        emitter.on(event, heard.append).on(event, heard.append)
    getattr(emitter, name)("a", "b")
    for event in ("a", "b", "c"):
        emitter.emit(event, event)
    assert heard == ["c", "c"]


@documents("thor.events.EventEmitter.listeners ( event )")
def test_listeners_are_listed() -> None:
    emitter = thor.events.EventEmitter()
    emitter.on("event", print).once("event", repr)
    assert emitter.listeners("event") == [print, repr]
    assert emitter.listeners("other") == []


@documents("thor.events.EventEmitter.emit ( event, arg, ... )")
def test_emit_passes_all_arguments() -> None:
    emitter = thor.events.EventEmitter()
    heard: list[tuple[Any, ...]] = []
    emitter.on("event", lambda *args: heard.append(args))
    emitter.emit("event")
    emitter.emit("event", 1, "b")
    assert heard == [(), (1, "b")]


@documents("thor.events.EventEmitter.sink ( sink )")
def test_a_sink_gets_what_has_no_listener() -> None:
    class Sink:
        def __init__(self) -> None:
            self.heard: list[str] = []

        def taken(self, what: str) -> None:
            self.heard.append(what)

    emitter = thor.events.EventEmitter()
    sink = Sink()
    heard: list[str] = []
    emitter.sink(sink)
    emitter.emit("taken", "by the sink")
    emitter.emit("unknown", "to the sink")
    emitter.on("taken", heard.append)
    emitter.emit("taken", "by the listener")
    assert (sink.heard, heard) == (["by the sink"], ["by the listener"])


@documents("Decorator thor.events.on ( EventEmitter, event )")
@pytest.mark.parametrize("named", ["@on(my_event_emitter, 'blow_up')", "@on(my_event_emitter)\n"])
def test_the_decorators_examples_run(named: str) -> None:
    class Thing:
        pushed = False

        @property
        def red_button(self) -> Thing:
            return self

        def push(self) -> None:
            self.pushed = True

    emitter, thing = thor.events.EventEmitter(), Thing()
    exec(example(named), {"on": thor.events.on, "my_event_emitter": emitter})
    emitter.emit("blow_up", thing)
    assert thing.pushed
