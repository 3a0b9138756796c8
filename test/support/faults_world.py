"""What is promised whatever goes wrong, and the sweep over all that can.

Owns: the record of what a scenario's emitters say, the actions of listeners that misbehave, the
checks when all is over. Must not know any scenario.

Theory of operation: a scenario is a function that is given a `World`, makes servers, clients and
peers in it, and has them do something; it holds in every world, so it asks whether a peer is still
there before it lets it speak. `sweep` runs it once as it should be, which counts its calls, and
then once for each fault at each call. After each run the same is asked: has everybody been told
their end, once; is anything left. After a harmless fault all was as without one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from math import inf
from typing import Any, NamedTuple

from faults_kernel import Boom, Fault, Interrupted, Kernel

from thor import TcpClient, TcpConnection, TcpServer, UdpEndpoint
from thor.events import EventEmitter
from thor.http import HttpServer
from thor.http.client import HttpClientExchange
from thor.http.client.pool import pool_of
from thor.http.server import HttpServerExchange
from thor.http.wire.head import ResponseHead
from thor.http.wire.limits import Limits
from thor.http.wire.reader import ResponseReader
from thor.proxy import ReverseProxy
from thor.testing import advance, settle
from thor.tls.server import TlsAcceptance

#: Longer than all time-outs together, in seconds.
LONG_S = 400.0


class Kind(NamedTuple):
    """What an emitter can say, and with which of it it says no more."""

    of: type[EventEmitter]
    events: Sequence[str]
    last: Sequence[str]


KINDS = [
    Kind(
        TcpConnection, ("data", "end", "pause", "hangup", "close", "disconnect"), ("disconnect",)
    ),
    Kind(
        HttpServerExchange,
        ("request_start", "request_body", "request_done", "pause", "error", "close", "done"),
        ("done",),
    ),
    Kind(
        HttpClientExchange,
        (
            "response_nonfinal",
            "response_start",
            "response_body",
            "response_done",
            "pause",
            "upgrade",
            "error",
        ),
        ("response_done", "upgrade", "error"),
    ),
    Kind(HttpServer, ("start", "exchange", "refused", "accept_paused", "accept_resumed"), ()),
    Kind(TcpServer, ("start", "connect", "accept_paused", "accept_resumed", "proxy_refused"), ()),
    Kind(ReverseProxy, ("start", "request", "response", "done"), ()),
    Kind(TcpClient, ("connect", "connect_error"), ("connect", "connect_error")),
    Kind(TlsAcceptance, ("connect", "connect_error"), ("connect", "connect_error")),
    Kind(UdpEndpoint, ("start", "datagram", "socket_error"), ()),
]
#: Events that come at most once.
ONCE = frozenset(
    """start end hangup close disconnect request_start request_done error done response_start
    response_done upgrade connect_error""".split()
)
#: Events that say how, not what: they come with more or fewer pieces.
MANNER = frozenset(("pause", "hangup", "accept_paused", "accept_resumed"))
#: What ends an exchange of a client's without a word.
SILENCING = frozenset(("end", "abort", "abort all", "stop", "interrupt"))


class Stopped(Exception):
    """The loop was stopped: the scenario is over."""


class World:
    """One run of a scenario.

    log: what each watched emitter has said, by name; faulty: whether there is a fault
    """

    def __init__(self, fault: Fault | None = None, nth: int = 0) -> None:
        self.kernel = Kernel(fault, nth)
        self.loop = self.kernel.loop
        self._epoch = self.loop._epoch
        self.faulty = fault is not None
        self.log: dict[str, list[tuple[Any, ...]]] = {}
        self.peers: list[Peer] = []
        self.servers: list[Any] = []
        self.wrong: list[str] = []
        self._watched: dict[str, tuple[Any, Kind]] = {}
        self._done: list[Callable[[], Any]] = []
        self._action = fault.does if fault is not None and fault.call == "callback" else ""
        self._stopped = False
        self._complaints = _Complaints()

    # -- for scenarios -------------------------------------------------------------------------

    def watch(self, name: str, emitter: Any, **reactions: Callable[..., Any]) -> Any:
        """Record what `emitter` says, under `name` and a number; a reaction comes after that."""
        kind = next(kind for kind in KINDS if isinstance(emitter, kind.of))
        name = self._unique(name)
        self._watched[name] = emitter, kind
        self.log[name] = []
        assert set(reactions) <= {*kind.events, "stop"}, reactions
        for event in kind.events:
            emitter.on(event, partial(self._heard, name, event, reactions.get(event)))
        return emitter

    def serve(self, name: str, server: Any, **reactions: Callable[..., Any]) -> Any:
        """`watch` for a server, which has to stop in the end."""
        self.servers.append(server)
        self.watch(name, server, **reactions)
        own = next(reversed(self._watched))
        server.on("stop", partial(self._heard, own, "stop", None))
        return server

    def peer(self, port: int = 80, speaks: str = "", **details: Any) -> Peer:
        """A peer that connects to a server."""
        peer = Peer(self, self.kernel.connect(("127.0.0.1", port), **details), speaks)
        self.peers.append(peer)
        return peer

    def settle(self) -> None:
        """Let happen what can happen now. Raises: Stopped"""
        self._run(settle, self.loop)

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises: Stopped"""
        self._run(advance, self.loop, seconds)

    def _run(self, run: Callable[..., Any], *args: Any) -> None:
        for _ in range(3):
            if self._stopped:
                raise Stopped
            try:
                run(*args)
            except Interrupted:
                continue
            except AssertionError as why:
                self.wrong.append(str(why))
                raise Stopped from why
            break
        if self._stopped:
            raise Stopped

    # -- what is heard -------------------------------------------------------------------------

    def _unique(self, name: str) -> str:
        number = 1
        while f"{name} {number}" in self.log:
            number += 1
        return f"{name} {number}"

    def _heard(self, name: str, event: str, react: Callable[..., Any] | None, *args: Any) -> None:
        if self._stopped and self.loop._epoch != self._epoch:
            self.wrong.append(f"{name} said {event} after the loop was stopped")
        self._note(name, event, *args)
        action = self.kernel.enter("callback")
        if action is None:
            if react is not None:
                react(*args)
            return
        when, _, what = action.partition(" ")
        if when == "after" and react is not None:
            react(*args)
        self._act(what, name)
        if when == "before" and react is not None and what != "raise":
            react(*args)

    def _note(self, name: str, event: str, *args: Any) -> None:
        self.log[name].append((event, *map(_plain, args)))

    def _act(self, what: str, name: str) -> None:
        """A listener misbehaves."""
        emitter, _ = self._watched[name]
        if what == "raise":
            raise Boom
        if what == "interrupt":
            raise Interrupted
        if what == "stop":
            self._stopped = True
            self.loop.stop()
        elif what in ("shutdown", "graceful_shutdown", "close"):
            for server in self.servers:
                (getattr(server, what, None) or server.shutdown)()
        elif what == "pause":
            self._pause(emitter)
        elif what == "end":
            _end(emitter, "close")
        elif what == "abort":
            _end(emitter, "abort")
        else:
            for each, _ in list(self._watched.values()):
                _end(each, "abort")

    def _pause(self, emitter: Any) -> None:
        pause = getattr(emitter, "pause", None)
        if pause is not None:
            pause(True)
            self.loop._schedule(1.0, pause, False)

    # -- the end -------------------------------------------------------------------------------

    def run(self, scenario: Callable[[World], Any]) -> list[str]:
        """Run `scenario`, and have it end. Returns: what is wrong"""
        with self._complaints, self.kernel.installed():
            try:
                try:
                    scenario(self)
                except OSError as why:  # of a server that could not be made, for example
                    if "injected" not in str(why):
                        raise
                self._wind_up()
            except Stopped:
                pass
            if self._stopped:
                self._look_at_stopped()
            self._look_at_events()
            self._look_for_leaks()
        for peer in self.peers:
            peer.forget()
            peer.story  # which is right as far as it goes
        self.wrong += self._complaints.unexpected(self.kernel)
        self.wrong += self.kernel.misuse
        return self.wrong

    def _wind_up(self) -> None:
        """All goes well from now on, and comes to its end."""
        self.kernel.heal()
        self.advance(LONG_S)
        for server in self.servers:
            getattr(server, "graceful_shutdown", server.shutdown)()
        self.advance(LONG_S)
        for peer in self.peers:
            peer.vanish()
        self.settle()
        for server in self.servers:
            server.shutdown()
        self.advance(LONG_S)

    def _look_at_stopped(self) -> None:
        settle(self.loop)
        self._stopped = False  # from now on what is told is the answer to a call
        for each, _ in self._watched.values():
            _end(each, "abort")  # a program that winds up after `run()` is not to fail
        advance(self.loop, LONG_S)
        self._stopped = True
        for peer in self.peers:
            peer.forget()

    def _look_at_events(self) -> None:
        stopped = self._stopped
        silenced = self._action.partition(" ")[2] in SILENCING
        for name, (emitter, kind) in self._watched.items():
            events = [event for event, *_ in self.log[name]]
            for event in ONCE.intersection(events):
                if events.count(event) > 1:
                    self.wrong.append(f"{name} said {event} {events.count(event)} times: {events}")
            ends = [event for event in events if event in kind.last]
            if len(ends) > 1 or (ends and events[-1] != ends[0]):
                self.wrong.append(f"{name} said something after its end: {events}")
            may_be_silent = stopped or (silenced and kind.of in (HttpClientExchange, TcpClient))
            if kind.last and not ends and not (may_be_silent or not events and _unused(emitter)):
                self.wrong.append(f"{name} did not end: {emitter!r} {events}")
            if ends and emitter.events() and kind.of not in (TcpClient, TlsAcceptance):
                self.wrong.append(f"{name} has ended and keeps its listeners")
        for server in self.servers:
            name = next(n for n, (each, _) in self._watched.items() if each is server)
            stops = [event for event, *_ in self.log[name]].count("stop")
            if stops != 1 and not stopped:
                self.wrong.append(f"{name} said stop {stops} times")

    def _look_for_leaks(self) -> None:
        loop = self.loop
        timer = loop._deadlines._timer
        armed = [holder for *_, holder in loop._deadlines._heap if holder._deadline_at < inf]
        left: list[Any] = [
            *loop.registered_fd_handlers(),
            *(event for _, event in loop.scheduled_events() if event is not timer),
            *armed,
            *loop._soon_calls,
            *loop._to_flush,
            *loop._to_close,
            *(group for group in pool_of(loop).groups.values() if not group.is_empty()),
            *self.kernel.open.values(),
        ]
        for server in self.servers if not self._stopped else ():
            left += getattr(server, "connections", ())
            left += getattr(server, "_connections", ())
            left += getattr(server, "tunnels", ())
        self.wrong += [f"left: {what!r}" for what in left]

    def outcome(self) -> dict[str, Any]:
        """What everybody has heard, in what pieces does not matter."""
        found: dict[str, Any] = {name: _joined(events) for name, events in self.log.items()}
        for number, peer in enumerate(self.peers):
            found[f"peer {number}"] = peer.story
        return found


def _joined(events: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What was said, in one piece, and not how."""
    found: list[tuple[Any, ...]] = []
    for event in events:
        name, *args = event
        if name in MANNER:
            continue
        if found and found[-1][0] == name and args and isinstance(args[0], bytes):
            event = (name, found.pop()[1] + args[0])
        found.append(event)
    return found


def _plain(arg: Any) -> Any:
    """An argument of an event, as what can be compared."""
    return type(arg).__name__ if isinstance(arg, (Exception, EventEmitter)) else arg


def _unused(emitter: Any) -> bool:
    """Whether nothing was ever asked of it."""
    return isinstance(emitter, HttpClientExchange) and emitter._route is None


def _end(emitter: Any, how: str) -> None:
    """Have the program end what `emitter` is about."""
    if isinstance(emitter, HttpClientExchange):
        conn = emitter.conn
        if how == "abort" and conn is not None and conn.tcp_conn is not None:
            conn.tcp_conn.abort()
        else:
            emitter.cancel()
    elif isinstance(emitter, HttpServerExchange):
        tcp_conn = emitter.http_conn.tcp_conn
        if tcp_conn is not None:
            getattr(tcp_conn, how)()
    elif isinstance(emitter, TcpConnection):
        getattr(emitter, how)()
    elif isinstance(emitter, (TcpClient, TlsAcceptance)):
        emitter.cancel()
    elif how == "close":
        getattr(emitter, "close", emitter.shutdown)()
    else:
        emitter.shutdown()


class _Complaints(logging.Handler):
    """What the library logs as errors, but for those that were made on purpose."""

    def __init__(self) -> None:
        logging.Handler.__init__(self, logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def __enter__(self) -> None:
        logging.getLogger("thor").addHandler(self)

    def __exit__(self, *_: Any) -> None:
        logging.getLogger("thor").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def unexpected(self, kernel: Kernel) -> Iterable[str]:
        for record in self.records:
            why = record.exc_info[1] if record.exc_info else None
            if not isinstance(why, Boom):
                yield f"logged: {record.getMessage()}"


class Peer:
    """A peer that a scenario plays, as far as the other side lets it.

    received: what has come; story: that, and how it ended
    """

    def __init__(self, world: World, sock: Any, speaks: str) -> None:
        self.speaks = speaks
        self.received = b""
        self.ended = self.lost = False
        self.conn: TcpConnection | None = None
        if sock is not None:
            self.conn = conn = TcpConnection(sock, ("127.0.0.1", 80), world.loop)
            conn.allow_half_open = True
            conn.on("data", self._data)
            conn.on("end", partial(setattr, self, "ended", True))
            conn.on("close", partial(setattr, self, "lost", True))
            conn.pause(False)
        self._world = world

    def _data(self, data: bytes) -> None:
        self.received += data

    @property
    def story(self) -> Any:
        if self.speaks == "http":
            return read_responses(self.received), self.ended
        return self.received, self.ended

    def send(self, *pieces: bytes) -> Peer:
        """Send each piece as one segment, as long as it can."""
        for piece in pieces:
            if self.conn is not None and self.conn.tcp_connected:
                self.conn.write(piece)
            self._world.settle()
        return self

    def finish(self) -> Peer:
        """Finish sending."""
        if self.conn is not None:
            self.conn.end_writing()
        self._world.settle()
        return self

    def close(self) -> Peer:
        """Close."""
        if self.conn is not None:
            self.conn.close()
        self._world.settle()
        return self

    def vanish(self) -> None:
        """Reset."""
        if self.conn is not None:
            self.conn.abort()

    def forget(self) -> None:
        """Leave nothing."""
        if self.conn is not None:
            self.conn.socket.close()


def read_responses(data: bytes) -> list[Any]:
    """Responses, and interim ones, whatever their framing. Raises: HttpError for what is none"""
    found: list[Any] = []
    reader = ResponseReader(Limits())
    while data:
        reader.expect(b"GET", True)
        reader.feed(data)
        while (head := reader.read_head()) is not None:
            found.append(head[2:6])
            if ResponseHead(*head).status_code not in range(102, 200) and head[2] != b"100":
                break
        if head is None:
            return [*found, "no more"]
        if head[2] != b"101":
            body = []
            while chunk := reader.read_body():
                body.append(chunk)
            found.append(b"".join(body))
            if not reader.complete:
                return [*found, "no more"]
            found.append(list(reader.trailers))
        data = reader.take_rest()
        if head[2] == b"101":
            return [*found, data]
    return found


def sweep(
    scenario: Callable[[World], Any], faults: Iterable[Fault], noticed: Collection[str] = ()
) -> int:
    """Run `scenario` with each of the faults at each call. Returns: how often it was run

    noticed: kinds of calls whose harmless faults may be noticed in this scenario
    Raises: AssertionError, which says what was wrong after which of them
    """
    usual = World()
    assert usual.run(scenario) == [], "without a fault"
    runs = 0
    wrong: list[str] = []
    for fault in faults:
        for nth in range(1, usual.kernel.calls[fault.call] + 1):
            runs += 1
            world = World(fault, nth)
            found = world.run(scenario)
            if fault.harmless and fault.call not in noticed and not found and world.outcome() != usual.outcome():
                found = [_difference(usual.outcome(), world.outcome())]
            wrong += [f"{fault.name} at {fault.call} {nth}: {what}" for what in found]
    assert not wrong, f"{len(wrong)} of {runs} runs:\n" + "\n".join(wrong[:40])
    return runs


def _difference(usual: dict[str, Any], found: dict[str, Any]) -> str:
    lines = []
    for name in [*usual, *found]:
        if usual.get(name) != found.get(name):
            lines.append(f"{name}: {found.get(name)!r} instead of {usual.get(name)!r}")
    return "; ".join(lines)
