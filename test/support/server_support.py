"""What the tests of the HTTP server share: a server in memory, and clients that a test plays.

Owns: plain helpers over `thor.testing`. Must not know any test. Nothing here waits: `Stage.advance`
is how time passes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thor.http.server import HttpServer, HttpServerExchange
from thor.testing import MemoryNetwork, Recorder, advance, settle

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


class Client:
    """The other end of a connection to the server: sends bytes, keeps what it gets.

    received: what was not yet taken; ended: the server finished sending (FIN); lost: the
    connection was reset
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.conn = stage.network.connect("origin", 80)
        self.received = b""
        self.ended = False
        self.lost = False
        self.conn.allow_half_open = True
        self.conn.on("data", self._data)
        self.conn.on("end", self._end)
        self.conn.on("close", self._close)
        self.conn.pause(False)
        settle(stage.loop)
        #: The server's end.
        self.server_side = stage.network.pairs[-1].server

    def _data(self, data: bytes) -> None:
        self.received += data

    def _end(self) -> None:
        self.ended = True

    def _close(self) -> None:
        self.lost = True

    @property
    def closed(self) -> bool:
        """Whether the server ended the connection, in either way."""
        return self.ended or self.lost

    def send(self, *pieces: bytes) -> Client:
        """Send each piece as one segment."""
        for piece in pieces:
            self.conn.write(piece)
            settle(self.stage.loop)
        return self

    def send_bytewise(self, data: bytes) -> Client:
        """Send a byte at a time, or what is long in some thousand pieces."""
        step = 1 + len(data) // 2000
        for index in range(0, len(data), step):
            if self.closed:
                break
            self.conn.write(data[index : index + step])
            settle(self.stage.loop)
        return self

    def finish(self) -> Client:
        """Finish sending (FIN), and go on reading."""
        self.conn.end_writing()
        settle(self.stage.loop)
        return self

    def reset(self) -> Client:
        """Vanish (RST)."""
        self.conn.abort()
        settle(self.stage.loop)
        return self

    def close(self) -> Client:
        """Close, as a client that has what it wanted."""
        self.conn.close()
        settle(self.stage.loop)
        return self

    def stop_reading(self) -> Client:
        """Let nothing more arrive."""
        self.conn.socket.buffer_bytes = 0
        return self

    def read_some(self, count: int) -> Client:
        """Let so many bytes arrive, after `stop_reading`."""
        self.conn.pause(True)
        self.conn.socket.buffer_bytes = count
        settle(self.stage.loop)
        self.conn.socket.buffer_bytes = 0
        self.conn.pause(False)
        settle(self.stage.loop)
        return self

    def read_on(self) -> Client:
        """Let everything arrive."""
        self.conn.socket.buffer_bytes = 1 << 30
        settle(self.stage.loop)
        return self

    def take(self) -> bytes:
        """What has arrived since the last time."""
        settle(self.stage.loop)
        data, self.received = self.received, b""
        return data


class Stage:
    """An HTTP server in memory. Its class has `settings`; it sends no Date unless they say so.

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

    def client(self) -> Client:
        """A new connection."""
        return Client(self)

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
