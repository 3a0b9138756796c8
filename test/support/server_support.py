"""What the tests of the HTTP server share: a server in memory, whose clients a test plays.

Owns: plain helpers over `thor.testing`. Must not know any test. Nothing here waits:
`ServerHarness.advance` is how time passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thor.http.server import HttpServer, HttpServerExchange
from thor.tcp import TcpConnection
from thor.testing import MemoryNetwork, Peer, Recorder, advance, settle

#: What is recorded of an exchange: all but `expect_continue`, since to listen is to take over.
EXCHANGE_EVENTS = (
    "request_start",
    "request_body",
    "request_done",
    "pause",
    "error",
    "close",
    "done",
)

Handler = Callable[[HttpServerExchange], Any]


def request(
    target: str = "/", *fields: str, method: str = "GET", version: str = "1.1", body: bytes = b""
) -> bytes:
    """The bytes of a request with a Host; a body gets its Content-Length unless one is given."""
    lines = [f"{method} {target} HTTP/{version}", "Host: origin", *fields]
    if body and not any(field.lower().startswith(("content-l", "transfer-e")) for field in fields):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunks(*pieces: bytes) -> bytes:
    """Each piece as a chunk."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


#: The head of a request whose body follows in chunks.
CHUNKED = request("/", "Transfer-Encoding: chunked", method="POST")


def answer(exchange: HttpServerExchange, body: bytes = b"hello", status: Any = 200) -> None:
    """Answer with a body of known length."""
    exchange.response_start(status, "OK", [("Content-Length", str(len(body)))])
    exchange.response_body(body)
    exchange.response_done([])


#: What `answer` looks like to the client.
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
HELLO_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


def answering(exchange: HttpServerExchange) -> None:
    """A handler that answers as soon as a request has started."""
    exchange.on("request_start", lambda *_: answer(exchange))


def answering_done(exchange: HttpServerExchange) -> None:
    """A handler that answers when a request is complete."""
    exchange.on("request_done", lambda _: answer(exchange))


class ServerHarness:
    """An HTTP server in memory, whose clients the test plays.

    Its class has `settings`; it sends no Date unless they say so.

    exchanges: those that were emitted; heard: for each, what it emitted, as a `Recorder`
    server_events: what the server emitted but `exchange`
    """

    def __init__(self, handler: Handler | None = None, **settings: Any) -> None:
        self.network = MemoryNetwork()
        self.loop = self.network.loop
        settings = {"send_date": False, **settings}
        settings["tcp_server_class"] = self.network.tcp_server_class
        server_class = type("ServerUnderTest", (HttpServer,), settings)
        self.server: HttpServer = server_class("origin", 80, self.loop)
        self.exchanges: list[HttpServerExchange] = []
        self.heard: list[Recorder] = []
        self.server_events = Recorder(self.server, "start", "stop")
        self.refused: list[Any] = []
        self.server.on("refused", lambda _, error: self.refused.append(type(error).__name__))
        self.server.on("exchange", self._exchange)
        self.handler = handler
        settle(self.loop)

    def _exchange(self, exchange: HttpServerExchange) -> None:
        self.exchanges.append(exchange)
        self.heard.append(Recorder(exchange, *EXCHANGE_EVENTS))
        if self.handler is not None:
            self.handler(exchange)

    def client(self) -> Peer:
        """A new connection."""
        client = Peer(self.loop, self.network.connect("origin", 80))
        self.settle()
        return client

    def server_side(self, client: Peer) -> TcpConnection:
        """The server's end of a connection."""
        return next(p.server for p in self.network.pairs if p.client.socket is client.sock)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        advance(self.loop, seconds)

    def settle(self) -> None:
        """Let happen what can happen now."""
        settle(self.loop)

    @property
    def exchange(self) -> HttpServerExchange:
        """The last exchange."""
        return self.exchanges[-1]

    def names(self, index: int = -1) -> list[str]:
        """The names of the events of an exchange, the last one's unless `index` says which."""
        return [event[0] for event in self.heard[index].events]

    def events(self, index: int = -1) -> list[tuple[Any, ...]]:
        """The events of an exchange; an error is there as the name of its class."""
        return [
            tuple(type(a).__name__ if isinstance(a, Exception) else a for a in event)
            for event in self.heard[index].events
        ]
