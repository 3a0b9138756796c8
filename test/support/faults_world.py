"""What is promised whatever goes wrong.

Owns: the record of what a scenario's emitters say, the actions of listeners that misbehave, the
checks when all is over. Must not know any scenario.

Theory of operation: a scenario is a function that is given a `World`, makes servers, clients and
peers in it, and has them do something; it holds in every world, so nothing in it fails because
something is gone. Afterwards the same is asked of every world: has everybody been told their end,
once; is anything left; was anything raised that nobody made.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from faults_kernel import Boom, Interrupted, Kernel, Point
from faults_peer import Peer

from thor import TcpClient, TcpConnection, TcpServer, UdpEndpoint
from thor.events import EventEmitter
from thor.http import HttpServer
from thor.http.client import HttpClientExchange
from thor.http.client.pool import pool_of
from thor.http.server import HttpServerExchange
from thor.proxy import Flow, ReverseProxy
from thor.tcp.splice import pipes_of
from thor.testing import advance, settle
from thor.tls.server import TlsAcceptance
from thor_support import with_deadlines

#: Longer than all timeouts together, in seconds.
LONG_S = 400.0


class Kind(NamedTuple):
    """What an emitter can say, and with which of it it says no more."""

    of: type[EventEmitter]
    events: Sequence[str]
    last: Sequence[str]


KINDS = [
    Kind(TcpConnection, ("data", "end", "pause", "hangup", "close", "disconnect"), ("disconnect",)),
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
    (
        *("start", "end", "hangup", "close", "disconnect"),
        *("request_start", "request_done", "error", "done"),
        *("response_start", "response_done", "upgrade", "connect_error"),
    )
)
#: Events that say how, not what: they come with more or fewer pieces.
MANNER = frozenset(("pause", "hangup", "accept_paused", "accept_resumed"))
#: What the program can end without a word, and how.
SILENT = (HttpClientExchange, TcpClient, TlsAcceptance)
SILENCING = frozenset(("end", "abort", "leave", "stop", "interrupt"))


class Stopped(Exception):
    """The loop was stopped: the scenario is over."""


class World:
    """One run of a scenario.

    log: what each watched emitter has said, by name
    """

    def __init__(self, *points: Point) -> None:
        self.kernel = Kernel(*points)
        self.loop = self.kernel.loop
        self.epoch = self.loop.epoch
        self.log: dict[str, list[tuple[Any, ...]]] = {}
        self.peers: list[Peer] = []
        self.servers: list[Any] = []
        self.wrong: list[str] = []
        self._watched: dict[str, tuple[Any, Kind]] = {}
        self._calls = {fault.call for fault, _ in points}
        self._actions = {f.does.split()[1] for f, _ in points if f.call == "callback"}
        self._stopping: list[str] = []
        self._flows: list[Flow] = []
        self._begun: list[int] = []
        self._over: list[int] = []
        self._stopped = self._left = False
        self._own_timers: set[Any] = set()
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
            emitter.on(event, self._listener(name, event, reactions.get(event)))
        return emitter

    def serve(self, name: str, server: Any, **reactions: Callable[..., Any]) -> Any:
        """`watch` for a server, which has to stop in the end."""
        self.servers.append(server)
        self.watch(name, server, **reactions)
        own = next(reversed(self._watched))
        self._stopping.append(own)
        server.on("stop", self._listener(own, "stop"))
        return server

    def peer(self, port: int = 80, speaks: str = "") -> Peer:
        """A peer that connects to a server. speaks: "http" if it gets responses"""
        peer = Peer(self, self.kernel.connect(("127.0.0.1", port)), speaks)
        self.peers.append(peer)
        return peer

    def settle(self) -> None:
        """Let happen what can happen now. Raises: Stopped"""
        self._run(settle, self.loop)

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises: Stopped"""
        self._run(advance, self.loop, seconds)

    def later(self, seconds: float, call: Callable[..., Any], *args: Any) -> None:
        """The program has something done in so many seconds."""
        self._own_timers.add(self.loop.schedule(seconds, call, *args))

    def _run(self, run: Callable[..., Any], *args: Any) -> None:
        for _ in range(3):
            if self._stopped:
                raise Stopped
            try:
                run(*args)
            except Interrupted:
                continue
            except AssertionError as exc:
                self.wrong.append(str(exc))
                raise Stopped from exc
            break
        if self._stopped or self._left:
            raise Stopped

    # -- what is heard -------------------------------------------------------------------------

    def _unique(self, name: str) -> str:
        number = 1
        while f"{name} {number}" in self.log:
            number += 1
        return f"{name} {number}"

    def _listener(
        self, name: str, event: str, react: Callable[..., Any] | None = None
    ) -> Callable[..., None]:
        """Return a plain function: adding one is much cheaper than adding a partial."""
        return lambda *args: self._heard(name, event, react, *args)

    def _heard(self, name: str, event: str, react: Callable[..., Any] | None, *args: Any) -> None:
        if self._stopped and self.loop.epoch != self.epoch:
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
        if args and isinstance(args[0], Flow) and event in ("request", "done"):
            (self._begun if event == "request" else self._over).append(id(args[0]))
            self._flows.append(args[0])  # so that no other one gets its id

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
        elif what == "leave":
            self._left = True
            self._end_all()
        elif what == "pause":
            self._pause(emitter)
        elif what == "end":
            _end(emitter, "close")
        elif what == "abort":
            _end(emitter, "abort")
        else:
            for each, _ in list(self._watched.values()):
                _end(each, "abort")

    def _end_all(self) -> None:
        for each, _ in list(self._watched.values()):
            _end(each, "abort")
        for server in self.servers:
            server.shutdown()
        for peer in self.peers:
            peer.vanish()

    def _pause(self, emitter: Any) -> None:
        pause = getattr(emitter, "pause", None)
        if pause is not None:
            pause(True)
            self.later(1.0, pause, False)

    # -- the end -------------------------------------------------------------------------------

    def run(self, scenario: Callable[[World], Any]) -> list[str]:
        """Run `scenario`, and have it end. Returns: what is wrong"""
        with self._complaints, self.kernel.installed():
            try:
                try:
                    scenario(self)
                except OSError as exc:  # of a server that could not be made, for example
                    if "injected" not in str(exc):
                        raise
                self._wind_up()
            except Stopped:
                pass
            if self._stopped:
                self._look_at_stopped()
            elif self._left:
                self._end_all()  # of what was made since
                settle(self.loop)  # and no time passes
            self._look_at_events()
            self._look_for_leaks()
        for peer in self.peers:
            peer.forget()
            peer.story  # which is right as far as it goes
        self.wrong += self._complaints.unexpected("modify" in self._calls)
        self.wrong += self.kernel.misuse
        return self.wrong

    def _wind_up(self) -> None:
        """All goes well from now on, and comes to its end."""
        self.kernel.heal()
        self.advance(LONG_S)
        if "interrupt" in self._actions:  # what the program would have done then, it did not
            for emitter, _ in list(self._watched.values()):
                if isinstance(emitter, TcpConnection):
                    emitter.abort()
        for server in self.servers:
            getattr(server, "graceful_shutdown", server.shutdown)()
        self.advance(LONG_S)
        if "interrupt" not in self._actions:
            waiting = [sock for sock in self.kernel.open.values() if not sock.exempt]
            self.wrong += [f"open for ever: {sock!r}" for sock in waiting]
        for peer in self.peers:
            peer.vanish()
        self.settle()
        for server in self.servers:
            server.shutdown()
        self.advance(LONG_S)

    def _look_at_stopped(self) -> None:
        settle(self.loop)
        self._stopped = False  # from now on what is told is the answer to a call
        self._end_all()  # a program that winds up after `run()` is not to fail
        advance(self.loop, LONG_S)
        self._stopped = True

    def _look_at_events(self) -> None:
        stopped = self._stopped
        silenced = not SILENCING.isdisjoint(self._actions)
        for name, (emitter, kind) in self._watched.items():
            events = [event for event, *_ in self.log[name]]
            for event in ONCE.intersection(events) if kind.of is not ReverseProxy else ():
                if events.count(event) > 1:
                    self.wrong.append(f"{name} said {event} {events.count(event)} times: {events}")
            ends = [event for event in events if event in kind.last]
            if len(ends) > 1 or (ends and events[-1] != ends[0]):
                self.wrong.append(f"{name} said something after its end: {events}")
            may_be_silent = stopped or (silenced and kind.of in SILENT)
            if kind.last and not ends and not (may_be_silent or (not events and _unused(emitter))):
                self.wrong.append(f"{name} did not end: {emitter!r} {events}")
            if ends and emitter.events() and kind.of not in (TcpClient, TlsAcceptance):
                self.wrong.append(f"{name} has ended and keeps its listeners")
        if not stopped and sorted(self._begun) != sorted(self._over):
            self.wrong.append(f"flows began {len(self._begun)} times, ended {len(self._over)}")
        for name in self._stopping:
            stops = [event for event, *_ in self.log[name]].count("stop")
            if stops != 1 and not stopped:
                self.wrong.append(f"{name} said stop {stops} times")

    def _look_for_leaks(self) -> None:
        loop = self.loop
        timer = loop.deadlines._timer
        timers = {event for _, event in loop.scheduled_events()} - self._own_timers - {timer}
        armed = with_deadlines(loop)
        left: list[Any] = [
            *loop.registered_fd_handlers(),
            *timers,
            *armed,
            *loop._deferred.calls,
            *loop.to_flush,
            *loop._deferred.to_close,
            *(group for group in pool_of(loop).origin_pools.values() if not group.is_empty()),
            *self.kernel.open.values(),
            *self._pipes_in_use(),
        ]
        for server in self.servers if not self._stopped else ():
            left += getattr(server, "connections", ())
            left += getattr(server, "_connections", ())
            left += getattr(server, "tunnels", ())
        self.wrong += [f"left: {what!r}" for what in left]

    def _pipes_in_use(self) -> list[Any]:
        """Those that do not wait for their next use."""
        idle: list[Any] = list(pipes_of(self.loop)._idle)
        return [pipe for pipe in self.kernel.pipes.values() if pipe not in idle]

    def outcome(self) -> dict[str, Any]:
        """What everybody has heard, in what pieces does not matter."""
        found: dict[str, Any] = {name: _joined(events) for name, events in self.log.items()}
        for number, peer in enumerate(self.peers):
            found[f"peer {number}"] = peer.story
        return found

    def whole_bodies(self) -> set[tuple[str, bytes]]:
        """The bodies that were taken for whole: of requests, and of responses that say 200."""
        found = set()
        for events in self.log.values():
            said = {event[0] for event in events}
            if "response_done" in said and any(event[1] == b"200" for event in events if event[1:]):
                found.add(("response", b"".join(e[1] for e in events if e[0] == "response_body")))
            elif "request_done" in said:
                found.add(("request", b"".join(e[1] for e in events if e[0] == "request_body")))
        for peer in self.peers:
            found.update(("response", body) for body in peer.whole_bodies())
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
    if isinstance(arg, Flow):
        return arg.method, arg.path, arg.status
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
        logger = logging.getLogger("thor")
        self._before = logger.handlers, logger.level, logger.propagate
        logger.handlers, logger.propagate = [self], False
        logger.setLevel(logging.ERROR)

    def __exit__(self, *_: Any) -> None:
        logger = logging.getLogger("thor")
        logger.handlers, level, logger.propagate = self._before
        logger.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def unexpected(self, unwatched: bool) -> Iterable[str]:
        """unwatched: whether the loop could not watch for what it was asked to"""
        for record in self.records:
            exc = record.exc_info[1] if record.exc_info else None
            on_purpose = isinstance(exc, Boom) or "new thread" in str(exc)
            if not on_purpose and not (unwatched and "injected" in str(exc)):
                yield f"logged: {record.getMessage()}"
