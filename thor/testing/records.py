"""Records of what was emitted, and conversations that are held to them.

Owns: recording events, comparing them with what was expected. Must not know sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import ndiff
from typing import Any, Self

from thor.events import EventEmitter
from thor.loop import EventLoop
from thor.tcp import TcpConnection
from thor.testing.memory import advance, settle


class Recorder:
    """Keeps these events of an emitter, in `events`: tuples `(event, *args)`, in order.

    Bytes that follow each other are joined, since where they are cut is chance.
    """

    def __init__(self, emitter: EventEmitter, *events: str) -> None:
        self.events: list[tuple[Any, ...]] = []
        self._record(emitter, events)

    def _record(self, emitter: EventEmitter, events: Iterable[str], *label: str) -> None:
        for event in events:
            emitter.on(event, lambda *args, _start=(*label, event): self._add((*_start, *args)))

    def _add(self, entry: tuple[Any, ...]) -> None:
        last = self.events[-1] if self.events else (None,)
        if isinstance(entry[-1], bytes) and last[:-1] == entry[:-1]:
            self.events[-1] = (*entry[:-1], last[-1] + entry[-1])
        else:
            self.events.append(entry)

    def take(self) -> list[tuple[Any, ...]]:
        """What was recorded since the last `take`."""
        events, self.events = self.events, []
        return events


class Playbook(Recorder):
    """A conversation, in steps that read one after the other::

        play = Playbook(network.loop).peer("browser", network.connect("localhost", 80))
        play.send("browser", b"GET / HTTP/1.1...").expect(("browser", "data", ANY))

    Each step is done at once, and the loop runs until nothing is left to do.
    """

    def __init__(self, loop: EventLoop) -> None:
        self.events = []
        self._loop = loop
        self._peers: dict[str, TcpConnection] = {}
        self._story: list[str] = []

    def watch(self, name: str, emitter: EventEmitter, *events: str) -> Self:
        """Record these events of `emitter`, as `(name, event, *args)`."""
        self._record(emitter, events, name)
        return self

    def peer(self, name: str, conn: TcpConnection) -> Self:
        """Play the part of `conn`, which may half-close: record its `data`, `end`, `close`."""
        self._peers[name] = conn
        conn.allow_half_open = True
        conn.pause(False)
        return self.watch(name, conn, "data", "end", "close")

    def send(self, name: str, data: bytes) -> Self:
        """The peer sends these bytes."""
        return self._step(f"{name} sends {data!r}", self._peers[name].write, data)

    def finish(self, name: str) -> Self:
        """The peer finishes sending (FIN); it still reads."""
        return self._step(f"{name} finishes", self._peers[name].end_writing)

    def call(self, method: Callable[..., Any], *args: Any) -> Self:
        """The program calls a method."""
        return self._step(f"{method.__qualname__}{args!r}", method, *args)

    def advance(self, seconds: float) -> Self:
        """Time passes."""
        return self._step(f"{seconds:g} s pass", advance, self._loop, seconds)

    def _step(self, told: str, do: Callable[..., Any], *args: Any) -> Self:
        self._story.append(told)
        do(*args)
        settle(self._loop)
        return self

    def expect(self, *events: tuple[Any, ...]) -> Self:
        """Fail, with a diff, unless these events and no others happened since the last `expect`.

        `unittest.mock.ANY` stands for any argument.
        """
        settle(self._loop)
        happened = self.take()
        self._story.extend(f"    {event!r}" for event in happened)
        if happened != list(events):
            # What ANY stands for is no difference.
            wanted = [next((h for h in happened if h == event), event) for event in events]
            diff = "\n".join(ndiff([*map(repr, wanted)], [*map(repr, happened)]))
            raise AssertionError("\n".join([*self._story, "expected (-), happened (+):", diff]))
        return self
