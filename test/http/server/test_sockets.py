"""The server over real sockets: what a kernel does that memory does not."""

from __future__ import annotations

import gc
import socket
from typing import Any

import pytest
from server_support import (
    HELLO_CLOSE,
    answer,
    answering,
    request,
)
from tcp_support import PEER_LIMIT_S, read_all

from thor.http.server import HttpServer, HttpServerExchange
from thor.loop import LoopBase
from thor.testing import Peer
from thor_support import open_fds, run_loop, with_deadlines

PART = b"GET / HTTP/1.1\r\nHost: ori"


class SocketHarness:
    """A server on the loopback interface, whose clients the test plays."""

    def __init__(self, loop: LoopBase, handler: Any, **settings: Any) -> None:
        self.loop = loop
        self.exchanges: list[HttpServerExchange] = []
        self.done: list[Any] = []
        self.stopped: list[bool] = []
        self.server = type("Server", (HttpServer,), {"send_date": False, **settings})(
            "127.0.0.1", 0, loop
        )
        self.server.on("exchange", self._exchange)
        self.server.on("stop", lambda: self.stopped.append(True))
        self.handler = handler

    def _exchange(self, exchange: HttpServerExchange) -> None:
        self.exchanges.append(exchange)
        exchange.on("done", self.done.append)
        self.handler(exchange)

    def client(self) -> Peer:
        """A new connection."""
        client = Peer(self.loop, socket.create_connection(self.server.address))
        run_loop(self.loop, lambda: self.server.connections)
        return client

    def until(self, condition: Any) -> None:
        run_loop(self.loop, condition)

    def end(self) -> None:
        self.server.shutdown()
        run_loop(self.loop, lambda: self.stopped and not self.server.connections)
        self.loop.run_once()


@pytest.fixture
def serve(loop: LoopBase) -> Any:
    served: list[SocketHarness] = []

    def make(handler: Any, **settings: Any) -> SocketHarness:
        served.append(SocketHarness(loop, handler, **settings))
        return served[-1]

    yield make
    for each in served:
        each.end()


def test_a_large_body_both_ways_over_sockets(serve: Any) -> None:
    """An echo that heeds `pause` in both directions."""

    def echo(exchange: HttpServerExchange) -> None:
        exchange.response_start(200, "OK", [("Connection", "close")])
        exchange.on("request_body", exchange.response_body)
        exchange.on("pause", exchange.pause)
        exchange.on("request_done", lambda _: exchange.response_done([], close=True))

    served = serve(echo)
    body = bytes(range(256)) * 8192
    client = served.client()
    client.send(request("/", f"Content-Length: {len(body)}", method="PUT") + body)
    served.until(lambda: client.is_ended)
    head, _, rest = client.take().partition(b"\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked" in head
    assert _unchunked(rest) == body
    assert served.done == [None]
    client.end()


def _unchunked(data: bytes) -> bytes:
    pieces: list[bytes] = []
    while True:
        size, _, data = data.partition(b"\r\n")
        count = int(size, 16)
        if not count:
            return b"".join(pieces)
        pieces.append(data[:count])
        data = data[count + 2 :]


def test_a_refusal_survives_a_client_that_goes_on_sending(serve: Any) -> None:
    served = serve(answering)
    client = served.client().send(b"X\n")
    served.until(lambda: served.server.connections[0]._lingering)
    client.send(b"y" * 30_000)
    served.loop.run_once()
    client.end()
    served.until(lambda: not served.server.connections)
    served.until(lambda: client.is_ended)
    assert client.take().startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize("moment", ["reading", "after a fin", "while paused"])
def test_a_reset_over_sockets_is_told(serve: Any, moment: str) -> None:
    def handler(exchange: HttpServerExchange) -> None:
        exchange.response_start(200, "OK", [])
        exchange.pause(moment == "while paused")

    served = serve(handler)
    client = served.client()
    if moment == "while paused":
        client.send(request("/", "Content-Length: 1000000", method="PUT") + b"x" * 1_000_000)
        served.until(
            lambda: served.exchanges and served.exchanges[0].http_conn.tcp_conn.read_paused
        )
    else:
        client.send(request())
        if moment == "after a fin":
            client.end()
        served.until(lambda: served.exchanges)
        served.loop.run_once(0.01)
    client.abort()
    served.until(lambda: served.done)
    assert type(served.done[0]).__name__ == "ConnectError"
    assert served.exchanges[0].http_conn.tcp_conn is None


def test_a_graceful_shutdown_over_sockets(serve: Any) -> None:
    served = serve(lambda exchange: None)
    client = served.client().send(request())
    served.until(lambda: served.exchanges)
    served.server.graceful_shutdown()
    served.loop.run_once()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(served.server.address, timeout=PEER_LIMIT_S)
    answer(served.exchanges[0])
    served.until(lambda: served.done)
    client.expect(HELLO_CLOSE).expect_end()
    assert not served.stopped
    client.end()
    served.until(lambda: served.stopped)
    assert served.server.connections == []


def test_it_listens_where_a_tcp_server_can(loop: LoopBase, tmp_path: Any) -> None:
    path = f"{tmp_path}/http"
    server = HttpServer(f"unix:{path}", None, loop)
    server.on("exchange", answer)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PEER_LIMIT_S)
        sock.connect(path)
        sock.sendall(request("/", "Connection: close"))
        run_loop(loop, lambda: server.connections)
        run_loop(loop, lambda: not server.connections)
        assert read_all(sock).endswith(b"hello")
    server.shutdown()
    loop.run_once()
    loop.run_once()


def test_hundreds_of_connections_that_come_and_go_leave_nothing(serve: Any, loop: LoopBase) -> None:
    served = serve(answering)

    def rounds(count: int) -> tuple[int, dict[int, str], int]:
        """What there is after so many clients of all kinds."""
        for number in range(count):
            client = served.client()
            if number % 4:
                client.send(request() + PART * (number % 3))
                served.until(lambda: served.done)
            client.abort() if number % 5 == 0 else client.close()
            served.until(lambda: not served.server.connections)
            served.exchanges.clear()
            served.done.clear()
        loop.deadlines._compact()  # it is time for that, or connections wait for it
        gc.collect()
        return loop.fd_count(), open_fds(), len(gc.get_objects())

    watched, fds, objects = rounds(60)
    now_watched, now_fds, now_objects = rounds(240)
    assert (now_watched, now_fds) == (watched, fds)
    assert now_objects - objects < 100
    assert with_deadlines(loop) == []
