"""The client over real sockets, against a server that says what it is told to."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from client_support import EVENTS, HELLO, HELLO_EVENTS

from thor.http.client import HttpClient, HttpClientExchange
from thor.http.client.pool import pool_of
from thor.http.error import AccessError, ConnectError, DnsError
from thor.loop import LoopBase
from thor.tcp import TcpClient, TcpConnection, TcpServer
from thor.testing import Recorder

RunLoop = Callable[..., None]
TERMINAL = {"response_done", "error", "upgrade"}


class Origin:
    """A server that answers each request it has received with the next of its answers.

    answers: bytes to send; None to close without a word; "reset" to reset
    """

    def __init__(self, loop: LoopBase, *answers: Any, host: str = "127.0.0.1") -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections: list[TcpConnection] = []
        self.server = TcpServer(host, 0, loop)
        self.server.on("connect", self._connected)
        if not host.startswith("unix:"):
            address: Any = self.server.address
            self.uri = f"http://127.0.0.1:{address[1]}"

    def _connected(self, conn: TcpConnection) -> None:
        self.connections.append(conn)
        got = b""

        def data(chunk: bytes) -> None:
            nonlocal got
            got += chunk
            while b"\r\n\r\n" in got:
                head, _, got = got.partition(b"\r\n\r\n")
                self.requests.append(head)
                self._answer(conn)

        conn.on("data", data)
        conn.pause(False)

    def _answer(self, conn: TcpConnection) -> None:
        answer = self.answers.pop(0)
        if answer is None:
            conn.close()
        elif answer == "reset":
            conn.abort()
        else:
            conn.write(answer)

    def close(self) -> None:
        """Stop, and reset what is open."""
        self.server.shutdown()


def finish(loop: LoopBase, run_loop: RunLoop, *heard: Recorder) -> list[list[tuple[Any, ...]]]:
    """Run until each exchange has had its terminal event. Returns: their events"""
    run_loop(loop, lambda: all(TERMINAL & {e[0] for e in one.events} for one in heard))
    return [one.events for one in heard]


def request(
    client: HttpClient, uri: str, method: str = "GET"
) -> tuple[HttpClientExchange, Recorder]:
    exchange = client.exchange()
    heard = Recorder(exchange, *EVENTS)
    exchange.request_start(method, uri, [])
    exchange.request_done([])
    return exchange, heard


def close_idle(loop: LoopBase, run_loop: RunLoop) -> None:
    """Close what the pool keeps, so that the guard for leftovers has nothing to find."""
    groups = pool_of(loop).origin_pools.values()
    for group in groups:
        for connection in list(group.idle):
            connection.close_idle()
    run_loop(loop, lambda: loop.fd_count() == 0)
    assert not any(group.open for group in groups)


@pytest.fixture
def origin(loop: LoopBase, run_loop: RunLoop) -> Any:
    """A maker of origins, which are closed at the end with what the pool keeps."""
    made: list[Origin] = []

    def make(*answers: Any, **options: Any) -> Origin:
        made.append(Origin(loop, *answers, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    close_idle(loop, run_loop)


def test_requests_over_sockets(loop: LoopBase, run_loop: RunLoop, origin: Any) -> None:
    server = origin(HELLO, HELLO)
    client = HttpClient(loop)
    for path in ("/a", "/b"):
        _, heard = request(client, server.uri + path)
        assert finish(loop, run_loop, heard) == [HELLO_EVENTS]
    assert [one.partition(b" HTTP")[0] for one in server.requests] == [b"GET /a", b"GET /b"]
    assert len(server.connections) == 1


def test_a_name_is_resolved(loop: LoopBase, run_loop: RunLoop, origin: Any) -> None:
    server = origin(HELLO)
    client = HttpClient(loop)
    _, heard = request(client, server.uri.replace("127.0.0.1", "localhost"))
    assert finish(loop, run_loop, heard) == [HELLO_EVENTS]


def test_a_name_that_does_not_exist(loop: LoopBase, run_loop: RunLoop) -> None:
    _, heard = request(HttpClient(loop), "http://no-such-host.invalid/")
    assert isinstance(finish(loop, run_loop, heard)[0][0][1], DnsError)


def test_nothing_listens(loop: LoopBase, run_loop: RunLoop, origin: Any) -> None:
    server = origin()
    server.close()
    run_loop(loop, lambda: loop.fd_count() == 0)
    client = HttpClient(loop)
    client.retry_limit = 0
    _, heard = request(client, server.uri)
    error = finish(loop, run_loop, heard)[0][0][1]
    assert isinstance(error, ConnectError)
    assert "refused" in str(error)


def test_the_error_says_what_became_of_each_address(
    loop: LoopBase, run_loop: RunLoop, origin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = origin()
    server.close()
    run_loop(loop, lambda: loop.fd_count() == 0)
    real = socket.getaddrinfo

    def two(name: Any, port: Any, *args: Any) -> Any:
        hosts = ("::1", "127.0.0.1") if name == b"two.test" else (name,)
        return [row for host in hosts for row in real(host, port, 0, socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    client = HttpClient(loop)
    client.retry_limit = 0
    client.check_ip = lambda address: ":" not in address
    _, heard = request(client, server.uri.replace("127.0.0.1", "two.test"))
    error = finish(loop, run_loop, heard)[0][0][1]
    assert str(error).endswith("refused (::1: refused by check_ip; 127.0.0.1: Connection refused)")


def test_an_address_that_is_refused(loop: LoopBase, run_loop: RunLoop, origin: Any) -> None:
    server = origin()
    client = HttpClient(loop)
    asked: list[str] = []

    def refuse(address: str) -> bool:
        asked.append(address)
        return False

    client.check_ip = refuse
    _, heard = request(client, server.uri)
    assert isinstance(finish(loop, run_loop, heard)[0][0][1], AccessError)
    assert asked == ["127.0.0.1"]


@pytest.mark.parametrize("answer", [None, "reset"], ids=["closed", "reset"])
def test_an_idempotent_request_survives_a_server_that_hangs_up(
    loop: LoopBase, run_loop: RunLoop, origin: Any, answer: Any
) -> None:
    server = origin(HELLO, answer, answer, HELLO)
    client = HttpClient(loop)
    client.retry_delay = 0
    for _ in range(2):
        _, heard = request(client, server.uri)
        assert finish(loop, run_loop, heard) == [HELLO_EVENTS]
    assert len(server.connections) == 3


def test_a_pooled_connection_that_the_server_closed(
    loop: LoopBase, run_loop: RunLoop, origin: Any
) -> None:
    server = origin(HELLO, HELLO)
    client = HttpClient(loop)
    client.retry_limit = 0
    _, heard = request(client, server.uri)
    finish(loop, run_loop, heard)
    server.connections[0].close()
    server.connections[0].flush()  # the FIN is there before the request is made
    _, heard = request(client, server.uri, "POST")
    assert finish(loop, run_loop, heard) == [HELLO_EVENTS]
    assert len(server.connections) == 2


def test_a_large_response_with_pauses(loop: LoopBase, run_loop: RunLoop, origin: Any) -> None:
    size = 3_000_000
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode()
    server = origin(head + b"x" * size)
    exchange, heard = request(HttpClient(loop), server.uri)

    def pause(_: bytes) -> None:
        exchange.pause(True)
        loop.schedule(0, exchange.pause, False)

    exchange.on("response_body", pause)
    (events,) = finish(loop, run_loop, heard)
    assert sum(len(event[1]) for event in events if event[0] == "response_body") == size


def test_a_large_request_to_a_server_that_reads(
    loop: LoopBase, run_loop: RunLoop, origin: Any
) -> None:
    server = origin()
    body = b"x" * 3_000_000
    client = HttpClient(loop)
    exchange = client.exchange()
    heard = Recorder(exchange, *EVENTS)
    exchange.request_start("POST", server.uri, [("Content-Length", str(len(body)))])
    left = memoryview(body)

    def send(paused: bool) -> None:
        nonlocal left
        while left and not paused:
            paused = not exchange.request_body(left[:100_000])
            left = left[100_000:]
        if not left and not paused:
            exchange.request_done([])

    exchange.on("pause", send)
    received = 0

    def count(data: bytes) -> None:
        nonlocal received
        received += len(data)

    def connected(conn: TcpConnection) -> None:
        conn.remove_listeners("data")
        conn.on("data", count)

    server.server.on("connect", connected)
    send(False)
    run_loop(loop, lambda: received > len(body))
    server.connections[0].write(HELLO)
    (events,) = finish(loop, run_loop, heard)
    assert [event for event in events if event[0] != "pause"] == HELLO_EVENTS


def test_a_unix_socket(loop: LoopBase, run_loop: RunLoop, origin: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    server = origin(HELLO, host=f"unix:{path}")
    client = HttpClient(loop)
    client.unix_path = path
    client.check_ip = lambda address: False  # which is for what others choose
    _, heard = request(client, "http://app.example/x")
    assert finish(loop, run_loop, heard) == [HELLO_EVENTS]
    assert b"\r\nHost: app.example" in server.requests[0]


def test_requests_before_the_loop_runs(loop: LoopBase, run_loop: RunLoop, origin: Any) -> None:
    server = origin(*[HELLO] * 20)
    client = HttpClient(loop, idle_timeout=5)
    heard = [request(client, server.uri)[1] for _ in range(20)]
    assert finish(loop, run_loop, *heard) == [HELLO_EVENTS] * 20


def test_requests_from_the_default_loop(run_loop: RunLoop, default_loop: LoopBase) -> None:
    server = Origin(default_loop, HELLO)
    client = HttpClient()
    assert client.loop is default_loop
    _, heard = request(client, server.uri)
    assert finish(default_loop, run_loop, heard) == [HELLO_EVENTS]
    server.close()
    close_idle(default_loop, run_loop)


def test_stopping_the_loop_in_a_listener(
    make_loop: Callable[..., LoopBase], run_loop: RunLoop
) -> None:
    loop = make_loop()
    server = Origin(loop, HELLO)
    client = HttpClient(loop)
    exchange, heard = request(client, server.uri)
    exchange.on("response_done", lambda _: loop.stop())
    run_loop(loop)
    assert heard.events == HELLO_EVENTS
    assert pool_of(loop).origin_pools == {}
    again = Origin(loop, HELLO)  # and the same client goes on when the loop runs again
    exchange, heard = request(client, again.uri)
    exchange.on("response_done", lambda _: loop.stop())
    run_loop(loop)
    assert heard.events == HELLO_EVENTS


# -- settings -------------------------------------------------------------------------------------


def test_documented_settings_have_the_documented_defaults() -> None:
    client = HttpClient()
    assert client.connect_timeout is None
    assert client.read_timeout is None
    assert client.idle_timeout == 60
    assert (client.retry_limit, client.retry_delay) == (2, 0.5)
    assert client.retry_body_limit == 1024 * 1024
    assert (client.max_server_conn, client.max_waiting, client.pool_timeout) == (None, 1000, None)
    assert client.careful is True
    assert client.check_ip is None
    assert client.tcp_client_class is TcpClient


@pytest.mark.parametrize("idle_timeout", [None, 0, 5])
def test_the_idle_timeout_can_be_given(idle_timeout: Any) -> None:
    assert HttpClient(None, idle_timeout).idle_timeout == idle_timeout
    assert HttpClient(idle_timeout=idle_timeout).idle_timeout == idle_timeout
    assert HttpClient.idle_timeout == 60


def test_a_subclass_may_set_them(loop: LoopBase, run_loop: RunLoop) -> None:
    class Refusing(HttpClient):
        retry_limit = 0

        def check_ip(self, address: str) -> bool:
            return False

    _, heard = request(Refusing(loop), "http://127.0.0.1:1/")
    assert isinstance(finish(loop, run_loop, heard)[0][0][1], AccessError)


def test_an_older_client_class_works(loop: LoopBase, run_loop: RunLoop) -> None:
    """One whose `connect_error` has a third argument, the error's text."""

    class Old(TcpClient):
        def connect(self, *args: Any) -> None:
            self.loop.call_soon(self.emit, "connect_error", OSError, errno.ECONNREFUSED, "refused")

    client = HttpClient(loop)
    client.tcp_client_class = Old
    client.retry_limit = 0
    _, heard = request(client, "http://127.0.0.1:1/")
    assert isinstance(finish(loop, run_loop, heard)[0][0][1], ConnectError)
