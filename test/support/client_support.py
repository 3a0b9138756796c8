"""What the tests of the HTTP client share: clients in memory, and origins that a test plays.

Owns: plain helpers over `thor.testing`. Must not know any test. Nothing here waits:
`ClientHarness.advance` is how time passes.
"""

from __future__ import annotations

import ssl
from typing import Any, NamedTuple

from thor.http.client import HttpClient, HttpClientExchange
from thor.http.client.pool import OriginPool, pool_of
from thor.tcp import TcpConnection
from thor.testing import MemoryNetwork, Peer, Recorder, advance, settle

EVENTS = (
    "response_nonfinal",
    "response_start",
    "response_body",
    "response_done",
    "pause",
    "upgrade",
    "error",
)
TERMINAL = ("response_done", "upgrade", "error")

#: A whole response, and what of it is emitted.
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
HELLO_EVENTS = [
    ("response_start", b"200", b"OK", [(b"Content-Length", b"5")]),
    ("response_body", b"hello"),
    ("response_done", []),
]


def ok(*fields: str, body: bytes = b"", start: str = "HTTP/1.1 200 OK") -> bytes:
    """A response's bytes."""
    return "\r\n".join([start, *fields, "", ""]).encode("latin-1") + body


class Watched:
    """An exchange, and all that it has emitted."""

    def __init__(self, stage: ClientHarness, exchange: HttpClientExchange) -> None:
        self.stage = stage
        self.exchange = exchange
        self.heard = Recorder(exchange, *EVENTS)

    @property
    def events(self) -> list[tuple[Any, ...]]:
        """What was emitted until now."""
        self.stage.settle()
        return self.heard.events

    @property
    def names(self) -> list[str]:
        """The names of the events until now."""
        return [event[0] for event in self.events]

    @property
    def error(self) -> Any:
        """The error that ended the exchange, which must be its last event, and its only end."""
        assert self.names[-1:] == ["error"], self.events
        self.ends_once()
        return self.events[-1][1]

    def body(self) -> bytes:
        """The response's body until now."""
        return b"".join(event[1] for event in self.events if event[0] == "response_body")

    def ends_once(self) -> None:
        """There is one terminal event, and nothing follows it."""
        ends = [index for index, name in enumerate(self.names) if name in TERMINAL]
        assert ends == [len(self.names) - 1], self.events

    def is_silent(self) -> None:
        """Nothing terminal was emitted."""
        assert not set(TERMINAL).intersection(self.names), self.events


class TlsMade(NamedTuple):
    """What was asked of a TLS client. conn: that which TLS was begun on, None if it connected"""

    server_name: str | None
    context: Any
    verify: bool
    alpn: tuple[str, ...]
    conn: TcpConnection | None
    timeout: float | None


def memory_tls_client(stage: ClientHarness) -> Any:
    """A TLS client class for a network in memory: it says nothing of its own, and keeps what was
    asked in `stage.tls`."""

    class MemoryTlsClient(stage.network.tcp_client_class):  # type: ignore[misc, name-defined]
        context = None
        verify = True
        alpn: tuple[str, ...] = ()
        server_hostname = None
        handshake: Any = None

        def connect(self, host: Any, port: Any, timeout: float | None = None) -> None:
            self._note(None, timeout)
            super().connect(host, port, timeout)

        def start_tls(
            self, conn: TcpConnection, server_hostname: str, timeout: float | None = None
        ) -> None:
            self.server_hostname = server_hostname
            self._note(conn, timeout)
            if timeout is not None:
                self._timer = self.loop.call_later(timeout, self._on_timeout)
            self.loop.call_soon(self._succeed, conn)

        def _note(self, conn: TcpConnection | None, timeout: float | None) -> None:
            stage.tls.append(
                TlsMade(self.server_hostname, self.context, self.verify, self.alpn, conn, timeout)
            )

        def _succeed(self, conn: TcpConnection) -> None:
            self.handshake = conn
            failure = stage.tls_failure
            if failure is None:
                tls_conn: Any = conn
                tls_conn.alpn = stage.tls_alpn
                super()._succeed(conn)
            elif failure != "hangs":
                self.error, text = failure
                conn.abort()
                self._end()
                self.emit("connect_error", ssl.SSLError, text)

        def cancel(self) -> None:
            super().cancel()
            if self.handshake is not None:
                self.handshake.abort()

        def _on_timeout(self) -> None:
            if self.handshake is not None:
                self.handshake.abort()
            super()._on_timeout()

    return MemoryTlsClient


class ClientHarness:
    """A network in memory with one client on it; origins listen where they are told to.

    tls: what was asked of TLS clients; tls_failure: None, "hangs", or (exception, text) that
    handshakes fail with; tls_alpn: what they agree on
    """

    def __init__(self, **settings: Any) -> None:
        self.network = MemoryNetwork()
        self.loop = self.network.loop
        self.tls: list[TlsMade] = []
        self.tls_failure: Any = None
        self.tls_alpn: str | None = None
        self.tls_client_class = memory_tls_client(self)
        self.peers: list[Peer] = []
        self.client = self.make_client(**settings)
        self.listen("origin")

    def make_client(self, **settings: Any) -> HttpClient:
        """Another client on this loop."""
        client = HttpClient(self.loop)
        client.tcp_client_class = self.network.tcp_client_class
        client.tls_client_class = self.tls_client_class
        for name, value in settings.items():
            assert hasattr(client, name)
            setattr(client, name, value)
        return client

    def listen(self, host: str, port: int = 80) -> Any:
        """Have an origin listen; its connections become `peers`. Returns: the TCP server"""
        server = self.network.tcp_server_class(host, port)
        server.on("connect", lambda conn: self.peers.append(Peer(self.loop, conn)))
        return server

    def settle(self) -> None:
        """Run the loop until nothing is left to do."""
        settle(self.loop)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        advance(self.loop, seconds)

    def exchange(self, client: HttpClient | None = None) -> Watched:
        """An exchange that was not started."""
        return Watched(self, (client or self.client).exchange())

    def start(
        self,
        method: str = "GET",
        uri: str = "http://origin/",
        headers: Any = (),
        client: HttpClient | None = None,
        **options: Any,
    ) -> Watched:
        """An exchange whose request was started, and not done."""
        watched = self.exchange(client)
        watched.exchange.request_start(method, uri, headers, **options)
        return watched

    def request(
        self,
        method: str = "GET",
        uri: str = "http://origin/",
        headers: Any = (),
        body: bytes = b"",
        client: HttpClient | None = None,
        **options: Any,
    ) -> Watched:
        """An exchange whose request is complete; the loop has run."""
        watched = self.start(method, uri, headers, client, **options)
        if body:
            watched.exchange.request_body(body)
        watched.exchange.request_done([])
        self.settle()
        return watched

    @property
    def peer(self) -> Peer:
        """The origin's end of the last connection."""
        self.settle()
        return self.peers[-1]

    def client_side(self, peer: Peer) -> TcpConnection:
        """The client's end of a connection."""
        return next(p.client for p in self.network.pairs if p.server.socket is peer.sock)

    @property
    def groups(self) -> list[OriginPool]:
        """What the pool has."""
        return list(pool_of(self.loop).origin_pools.values())

    @property
    def idle(self) -> int:
        """How many idle connections the pool has."""
        self.settle()
        return sum(len(group.idle) for group in self.groups)

    @property
    def open(self) -> int:
        """How many connections the pool has."""
        self.settle()
        return sum(len(group.open) for group in self.groups)

    def leftovers(self) -> list[str]:
        """What should not be there when no exchange is in progress."""
        self.settle()
        left = [repr(g) for g in self.groups if g.connecting or g.waiting]
        left += [repr(c) for g in self.groups for c in g.open if c not in g.idle]
        timer = self.loop.deadlines._timer
        return left + [repr(t) for _, t in self.loop.scheduled_events() if t is not timer]

    def answer(self, watched: Watched, response: bytes = HELLO) -> Watched:
        """Have the last peer answer."""
        self.peer.send(response)
        return watched
