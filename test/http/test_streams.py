"""Exchanges over a protocol of several streams on a connection: the seam that HTTP/2 will use."""

from __future__ import annotations

from typing import Any

import pytest
from multiplexed_support import CAPACITY, ClientSide, ServerSide

from thor.http import HttpClient, HttpServer
from thor.http.client import HttpClientExchange
from thor.http.server import HttpServerExchange
from thor.http.streams import ServerConnection
from thor.proxy import ReverseProxy, Upstream
from thor.testing import MemoryNetwork, Recorder, settle

EVENTS = ("response_start", "response_body", "response_done", "error")


class Streams:
    """A server and a client of the protocol, which keep what they have."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.loop = self.network.loop
        sides: dict[str, Any] = {
            "tcp_server_class": self.network.tcp_server_class,
            "tcp_client_class": self.network.tcp_client_class,
        }
        self.server_class = type("_Server", (HttpServer,), {**sides, "protocols": {"": ServerSide}})
        self.client_class = type("_Client", (HttpClient,), {**sides, "protocols": {"": ClientSide}})
        self.client: HttpClient = self.client_class(self.loop)
        self.exchanges: list[HttpServerExchange] = []
        self.server = self.serve("origin")

    def serve(self, host: str) -> HttpServer:
        server: HttpServer = self.server_class(host, 80, self.loop)
        server.on("exchange", self.exchanges.append)
        return server

    def ask(self, uri: str, body: bytes = b"") -> tuple[HttpClientExchange, Recorder]:
        exchange = self.client.exchange()
        heard = Recorder(exchange, *EVENTS)
        exchange.request_start("POST" if body else "GET", uri, [("A", "b")])
        if body:
            exchange.request_body(body)
        exchange.request_done([])
        settle(self.loop)
        return exchange, heard


@pytest.fixture
def streams() -> Streams:
    return Streams()


def answer(exchange: HttpServerExchange, body: str) -> None:
    exchange.response_start(200, "OK", [("C", "d")])
    exchange.response_body(body)
    exchange.response_done([])


def got(body: bytes) -> list[tuple[Any, ...]]:
    return [
        ("response_start", b"200", b"", [(b"C", b"d")]),
        ("response_body", body),
        ("response_done", []),
    ]


def test_streams_of_one_connection_are_answered_in_any_order(streams: Streams) -> None:
    asked = [streams.ask(f"http://origin/{number}", b"body")[1] for number in range(3)]
    assert len(streams.network.pairs) == 1
    assert [(e.method, e.uri, e.host) for e in streams.exchanges] == [
        (b"POST", b"/%d" % number, b"origin") for number in range(3)
    ]
    for number in (2, 0, 1):
        answer(streams.exchanges[number], str(number))
        settle(streams.loop)
    assert [heard.take() for heard in asked] == [got(b"%d" % number) for number in range(3)]


def test_connection_without_capacity_is_followed_by_another(streams: Streams) -> None:
    for number in range(CAPACITY + 1):
        streams.ask(f"http://origin/{number}")
    assert len(streams.network.pairs) == 2
    answer(streams.exchanges[0], "x")
    settle(streams.loop)
    streams.ask("http://origin/again")
    assert len(streams.network.pairs) == 2


def test_request_that_waits_shares_a_connection_that_has_room(streams: Streams) -> None:
    streams.client.max_server_conn = 1
    asked = [streams.ask(f"http://origin/{number}")[1] for number in range(CAPACITY + 1)]
    assert len(streams.exchanges) == CAPACITY
    answer(streams.exchanges[1], "x")
    settle(streams.loop)
    answer(streams.exchanges[CAPACITY], "last")
    settle(streams.loop)
    assert asked[CAPACITY].take() == got(b"last")
    assert len(streams.network.pairs) == 1


def test_retired_connection_finishes_its_streams_and_gets_no_other(streams: Streams) -> None:
    _, first = streams.ask("http://origin/1")
    connection = streams.server.connections[0]
    assert isinstance(connection, ServerConnection)
    connection.drain()
    settle(streams.loop)
    _, second = streams.ask("http://origin/2")
    assert len(streams.network.pairs) == 2
    for number in (1, 0):
        answer(streams.exchanges[number], "x")
        settle(streams.loop)
    assert (first.take(), second.take()) == (got(b"x"), got(b"x"))
    assert len(streams.server.connections) == 1  # the retired one has closed after its last stream


def test_exchange_that_is_aborted_ends_alone(streams: Streams) -> None:
    exchange, cancelled = streams.ask("http://origin/1")
    _, heard = streams.ask("http://origin/2")
    lost = Recorder(streams.exchanges[0], "error", "close", "done")
    exchange.abort()
    settle(streams.loop)
    assert [name for name, *_ in lost.take()] == ["error", "close", "done"]
    answer(streams.exchanges[1], "x")
    settle(streams.loop)
    assert (cancelled.take(), heard.take()) == ([], got(b"x"))


def test_server_exchange_that_is_aborted_ends_alone(streams: Streams) -> None:
    _, reset = streams.ask("http://origin/1")
    _, heard = streams.ask("http://origin/2")
    assert (streams.exchanges[0].is_open, streams.exchanges[0].secure) == (True, False)
    streams.exchanges[0].abort()
    answer(streams.exchanges[1], "x")
    settle(streams.loop)
    assert [name for name, *_ in reset.take()] == ["error"]
    assert heard.take() == got(b"x")


def test_proxy_joins_streams_of_both_its_sides(streams: Streams) -> None:
    sides = {"server_class": streams.server_class, "client_class": streams.client_class}
    proxy: ReverseProxy = type("_Proxy", (ReverseProxy,), sides)(
        "proxy", 80, Upstream(["http://origin"]), streams.loop, pseudonym="fred"
    )
    asked = [streams.ask(f"http://proxy/{number}", b"body")[1] for number in range(2)]
    assert len(streams.network.pairs) == 2  # one to the proxy, one from there
    for number in (1, 0):
        exchange = streams.exchanges[number]
        assert (exchange.uri, exchange.host) == (b"/%d" % number, b"proxy")
        answer(exchange, str(number))
        settle(streams.loop)
    for number, heard in enumerate(asked):
        (_, status, _, _), body, done = heard.take()
        assert (status, body, done) == (
            b"200",
            ("response_body", b"%d" % number),
            ("response_done", []),
        )
    proxy.shutdown()
