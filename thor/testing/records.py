"""Records of what was emitted, and conversations that are held to them.

Owns: recording events, comparing them with what was expected. Must not know sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

from thor.events import EventEmitter
from thor.loop import EventLoop
from thor.tcp import TcpConnection
from thor.testing.memory import advance
from thor.testing.peer import Peer, difference, run_until


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
        """Return what was recorded since the last `take`."""
        events, self.events = self.events, []
        return events


class Playbook(Recorder):
    """A conversation, in steps that read one after the other::

        play = Playbook(network.loop).peer("browser", network.connect("localhost", 80))
        play.send("browser", b"GET / HTTP/1.1...").expect(("browser", "data", ANY))

    Each step is done at once. A memory loop then runs until nothing is left to do; a real loop runs
    in `expect`, until what is expected has happened.
    """

    def __init__(self, loop: EventLoop) -> None:
        self.events = []
        self._loop = loop
        self._peers: dict[str, Peer | TcpConnection] = {}
        self._story: list[str] = []

    def watch(self, name: str, emitter: EventEmitter, *events: str) -> Self:
        """Record these events of `emitter`, as `(name, event, *args)`."""
        self._record(emitter, events, name)
        return self

    def peer(self, name: str, peer: Peer | TcpConnection) -> Self:
        """Record `data`, `end` and `close` of a peer, or of a connection, which may half-close."""
        self._peers[name] = peer
        if isinstance(peer, TcpConnection):
            peer.allow_half_open = True
            peer.pause(False)
        return self.watch(name, peer, "data", "end", "close")

    def send(self, name: str, *pieces: bytes) -> Self:
        """Have the peer send these bytes, each piece as one segment."""
        peer = self._peers[name]
        send = peer.write if isinstance(peer, TcpConnection) else peer.send
        for data in pieces:
            self._step(f"{name} sends {data!r}", send, data)
        return self

    def finish(self, name: str) -> Self:
        """Have the peer finish sending (FIN); it still reads."""
        peer = self._peers[name]
        end = peer.end_writing if isinstance(peer, TcpConnection) else peer.end
        return self._step(f"{name} finishes", end)

    def abort(self, name: str) -> Self:
        """Have the peer reset its connection (RST)."""
        return self._step(f"{name} aborts", self._peers[name].abort)

    def call(self, method: Callable[..., object], *args: object) -> Self:
        """Have the program call a method."""
        return self._step(f"{method.__qualname__}{args!r}", method, *args)

    def advance(self, seconds: float) -> Self:
        """Time passes, on a memory loop."""
        return self._step(f"{seconds:g} s pass", advance, self._loop, seconds)

    def _step(self, told: str, do: Callable[..., object], *args: object) -> Self:
        self._story.append(told)
        do(*args)
        run_until(self._loop, lambda: True)
        return self

    def expect(self, *events: tuple[Any, ...]) -> Self:
        """Fail, with a diff, unless these events and no others happened since the last `expect`.

        `unittest.mock.ANY` stands for any argument.
        """
        wanted = list(events)
        run_until(self._loop, lambda: self.events == wanted)
        happened = self.take()
        self._story.extend(f"    {event!r}" for event in happened)
        if happened != wanted:
            # What ANY stands for is no difference.
            shown = [next((h for h in happened if h == event), event) for event in wanted]
            diff = difference([*map(repr, shown)], [*map(repr, happened)])
            raise AssertionError("\n".join([*self._story, diff]))
        return self
