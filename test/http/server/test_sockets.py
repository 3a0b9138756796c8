"""The server over real sockets, on every poller: what a kernel does that memory does not."""

from __future__ import annotations

import gc
import socket
from typing import Any

import pytest
from server_support import HELLO, HELLO_CLOSE, answer, answering, answering_done, request
from tcp_support import PEER_LIMIT_S, read_all, reset

import thor
from thor.events import on
from thor.http.server import HttpServer, HttpServerExchange
from thor.loop import LoopBase
from thor_support import open_fds, run_loop, with_deadlines

PART = b"GET / HTTP/1.1\r\nHost: ori"


class Served:
    """A server on a loop with real sockets, and raw clients of it."""

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

    def connect(self) -> socket.socket:
        sock = socket.create_connection(self.server.address, timeout=PEER_LIMIT_S)
        run_loop(self.loop, lambda: self.server.connections)
        return sock

    def until(self, condition: Any) -> None:
        run_loop(self.loop, condition)

    def end(self) -> None:
        self.server.shutdown()
        run_loop(self.loop, lambda: self.stopped and not self.server.connections)
        self.loop.run_once()


@pytest.fixture
def serve(loop: LoopBase) -> Any:
    served: list[Served] = []

    def make(handler: Any, **settings: Any) -> Served:
        served.append(Served(loop, handler, **settings))
        return served[-1]

    yield make
    for each in served:
        each.end()


def test_pipelined_requests_over_sockets(serve: Any) -> None:
    served = serve(answering_done)
    with served.connect() as sock:
        sock.sendall(request() * 99 + request("/", "Connection: close"))
        served.until(lambda: len(served.done) == 100)
        assert read_all(sock) == HELLO * 99 + HELLO_CLOSE
    assert served.done == [None] * 100
    served.until(lambda: not served.server.connections)


def test_a_large_body_both_ways_over_sockets(serve: Any) -> None:
    """An echo that heeds `pause` in both directions."""

    def echo(exchange: HttpServerExchange) -> None:
        exchange.response_start(200, "OK", [("Connection", "close")])
        exchange.on("request_body", exchange.response_body)
        exchange.on("pause", exchange.pause)
        exchange.on("request_done", lambda _: exchange.response_done([], close=True))

    served = serve(echo)
    body = bytes(range(256)) * 8192
    data = memoryview(request("/", f"Content-Length: {len(body)}", method="PUT") + body)
    got = bytearray()
    with served.connect() as sock:
        sock.setblocking(False)

        def pass_on() -> bool:
            nonlocal data
            try:
                data = data[sock.send(data[:65536]) :] if data else data
            except BlockingIOError:
                pass
            try:
                piece = sock.recv(65536)
            except BlockingIOError:
                return False
            got.extend(piece)
            return not piece

        while not pass_on():
            served.loop.run_once(0.01)
    head, _, rest = bytes(got).partition(b"\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked" in head
    assert _unchunked(rest) == body
    assert served.done == [None]


def _unchunked(data: bytes) -> bytes:
    pieces = []
    while True:
        size, _, data = data.partition(b"\r\n")
        count = int(size, 16)
        if not count:
            return b"".join(pieces)
        pieces.append(data[:count])
        data = data[count + 2 :]


def test_a_refusal_survives_a_client_that_goes_on_sending(serve: Any) -> None:
    served = serve(answering)
    with served.connect() as sock:
        sock.sendall(b"X\n")
        served.until(lambda: served.server.connections[0]._lingering)
        sock.sendall(b"y" * 30_000)
        served.loop.run_once()
        sock.shutdown(socket.SHUT_WR)
        served.until(lambda: not served.server.connections)
        assert read_all(sock).startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize("moment", ["reading", "after a fin", "while paused"])
def test_a_reset_over_sockets_is_told(serve: Any, moment: str) -> None:
    def handler(exchange: HttpServerExchange) -> None:
        exchange.response_start(200, "OK", [])
        exchange.pause(moment == "while paused")

    served = serve(handler)
    sock = served.connect()
    if moment == "while paused":
        sock.sendall(request("/", "Content-Length: 1000000", method="PUT"))
        sock.setblocking(False)
        sent = 0
        while not (served.exchanges and served.exchanges[0].http_conn.tcp_conn.read_paused):
            try:
                sent += sock.send(b"x" * min(65536, 1_000_000 - sent))
            except BlockingIOError:
                pass
            served.loop.run_once(0.01)
    else:
        sock.sendall(request())
        if moment == "after a fin":
            sock.shutdown(socket.SHUT_WR)
        served.until(lambda: served.exchanges)
        served.loop.run_once(0.01)
    reset(sock)
    served.until(lambda: served.done)
    assert type(served.done[0]).__name__ == "ConnectError"
    assert served.exchanges[0].http_conn.tcp_conn is None


def test_a_half_close_over_sockets_is_answered(serve: Any) -> None:
    served = serve(lambda exchange: None)
    with served.connect() as sock:
        sock.sendall(request() + request())
        sock.shutdown(socket.SHUT_WR)
        for count in (1, 2):
            served.until(lambda count=count: len(served.exchanges) == count)
            answer(served.exchanges[-1])
        served.until(lambda: not served.server.connections)
        assert read_all(sock) == HELLO + HELLO_CLOSE


def test_the_time_out_of_a_head_over_sockets(serve: Any) -> None:
    served = serve(answering, head_timeout=0.05)
    with served.connect() as sock:
        sock.sendall(PART)
        served.until(lambda: served.server.connections and served.server.connections[0]._lingering)
        sock.shutdown(socket.SHUT_WR)
        served.until(lambda: not served.server.connections)
        assert read_all(sock).startswith(b"HTTP/1.1 408 ")


def test_an_upgrade_over_sockets(serve: Any) -> None:
    taken: list[Any] = []

    def take(exchange: HttpServerExchange) -> None:
        conn = exchange.upgrade("echo")
        conn.on("data", conn.write)
        conn.on("disconnect", lambda: taken.append("disconnect"))
        conn.pause(False)
        taken.append(conn)

    served = serve(take)
    with socket.create_connection(served.server.address, timeout=PEER_LIMIT_S) as sock:
        sock.sendall(request("/", "Connection: upgrade", "Upgrade: echo") + b"early")
        served.until(lambda: taken)
        sock.sendall(b" and late")
        sock.shutdown(socket.SHUT_WR)
        served.until(lambda: len(taken) == 2)
        assert read_all(sock).endswith(b"\r\n\r\nearly and late")


def test_a_graceful_shutdown_over_sockets(serve: Any) -> None:
    served = serve(lambda exchange: None)
    with served.connect() as sock:
        sock.sendall(request())
        served.until(lambda: served.exchanges)
        served.server.graceful_shutdown()
        served.loop.run_once()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(served.server.address, timeout=PEER_LIMIT_S)
        answer(served.exchanges[0])
        served.until(lambda: served.done)
        assert read_all(sock) == HELLO_CLOSE
        assert not served.stopped
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


def test_the_documented_example(default_loop: LoopBase) -> None:
    def test_handler(exch: Any) -> None:
        @on(exch)
        def request_start(*args: Any) -> None:
            exch.response_start(200, "OK", [("Content-Type", "text/plain")])
            exch.response_body("Hello, world!")
            exch.response_done([])

    demo_server = thor.HttpServer("127.0.0.1", 0)
    demo_server.on("exchange", test_handler)
    demo_server.on("stop", thor.stop)
    with socket.create_connection(demo_server.address, timeout=PEER_LIMIT_S) as sock:
        sock.sendall(request("/", "Connection: close"))
        run_loop(default_loop, lambda: demo_server.connections)
        run_loop(default_loop, lambda: not demo_server.connections)
        assert read_all(sock).endswith(b"\r\n\r\nd\r\nHello, world!\r\n0\r\n\r\n")
    default_loop.schedule(0, demo_server.shutdown)
    thor.run()


def test_hundreds_of_connections_that_come_and_go_leave_nothing(serve: Any, loop: LoopBase) -> None:
    served = serve(answering)

    def rounds(count: int) -> tuple[int, dict[int, str], int]:
        """What there is after so many clients of all kinds."""
        for number in range(count):
            with served.connect() as sock:
                if number % 4:
                    sock.sendall(request() + PART * (number % 3))
                    served.until(lambda: served.done)
                if number % 5 == 0:
                    reset(sock)
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
