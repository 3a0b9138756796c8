"""The HTTP client, with a server beside it, when any of their calls goes wrong."""

from __future__ import annotations

from typing import Any

import pytest
from faults_programs import answer, echo, http_server, request, switch, talking, tcp_server
from faults_sweep import Scenario, noticing, sweep
from faults_world import World

from thor.http import HttpClient
from thor.http.server import HttpServerExchange
from thor.tcp import TcpConnection


def client(world: World, **settings: Any) -> HttpClient:
    made = HttpClient(world.loop)
    for name, value in {"connect_timeout": 30, **settings}.items():
        setattr(made, name, value)
    world.kernel.names[b"origin"] = ["::1", "127.0.0.1"]
    return made


def answering(world: World, body: bytes = b"hello") -> Any:
    return lambda e: world.watch("exchange", e, request_done=lambda _: answer(e, body))


def reuse(world: World) -> None:
    """Three requests on one connection, one of them with a body."""
    http_server(world, answering(world))
    http = client(world)
    for method, body in (("GET", b""), ("PUT", b"content"), ("HEAD", b"")):
        request(world, http, method, body=body)
        world.advance(3)


def retry(world: World) -> None:
    """The server has closed the idle connection by the time that it is used again."""
    http_server(world, answering(world), idle_timeout=2)
    http = client(world)
    request(world, http)
    world.advance(1.9)
    request(world, http)
    request(world, http, "POST", body=b"once")
    world.advance(10)


@noticing("recv", "send")  # the server goes by what comes first
def lost_answers(world: World) -> None:
    """A server that closes before it answers, and in the middle of an answer."""
    count = 0

    def take(conn: TcpConnection) -> None:
        nonlocal count
        count += 1
        words = [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"][count > 1]

        def heard(_: bytes) -> None:
            if words and conn.tcp_connected:
                conn.write(words)
            conn.close()

        world.watch("server's", conn, data=heard)
        conn.pause(False)

    tcp_server(world, take)
    request(world, client(world))
    world.advance(10)


def queue(world: World) -> None:
    """More requests than there may be connections."""
    http_server(world, answering(world))
    http = client(world, max_server_conn=1)
    for _ in range(3):
        request(world, http)
    unwanted = http.exchange()
    unwanted.on("error", lambda error: world.wrong.append(f"cancelled, and {error!r}"))
    unwanted.request_start("GET", "http://origin/", [])
    unwanted.cancel()
    world.advance(10)


def both_ways(world: World) -> None:
    """Bodies in both directions, through buffers that are too small for them."""
    world.kernel.buffer_bytes = 700

    def met(exchange: HttpServerExchange) -> None:
        tcp_conn = exchange.http_conn.tcp_conn
        assert tcp_conn is not None
        tcp_conn.high_water, tcp_conn.low_water = 600, 100
        echo(world, exchange)

    http_server(world, met)
    request(world, client(world), "PUT", body=b"x" * 1500, trailers=[("X-Sum", "1")])
    world.advance(10)


def held_back(world: World) -> None:
    """More than is held until there is a connection: the program waits to be told."""
    http_server(world, answering(world))
    http = client(world, exchange_timeout=50)  # a program that fails may not go on
    exchange = http.exchange()
    left = [b"z" * 150_000] * 3

    def send(paused: bool = False) -> None:
        while left and not paused:
            paused = not exchange.request_body(left.pop())
        if not left and not paused:
            exchange.request_done([])

    world.watch("request", exchange, pause=send)
    exchange.request_start("PUT", "http://origin/", [])
    world.later(0.0, send)
    world.advance(10)


def reading_slowly(world: World) -> None:
    """A program that pauses after each piece."""
    world.kernel.buffer_bytes = 700
    http_server(world, answering(world, b"y" * 1500))
    http = client(world)
    exchange = http.exchange()

    def piece(_: bytes) -> None:
        exchange.pause(True)
        world.later(0.5, exchange.pause, False)

    world.watch("request", exchange, response_body=piece)
    exchange.request_start("GET", "http://origin/", [])
    exchange.request_done([])
    world.advance(10)


def expecting(world: World) -> None:
    """A body that waits for a 100, which comes, or does not."""

    def met(exchange: HttpServerExchange) -> None:
        if exchange.uri == b"/mute":
            exchange.on("expect_continue", lambda: None)
        world.watch("exchange", exchange, request_done=lambda _: answer(exchange))

    http_server(world, met)
    http = client(world)
    for path in ("", "mute"):
        request(
            world,
            http,
            "PUT",
            f"http://origin/{path}",
            body=b"content",
            headers=[("Expect", "100-continue")],
        )
        world.advance(3)


def time_outs(world: World) -> None:
    """A server that does not answer, and one that does not accept."""
    http_server(world, lambda e: world.watch(f"exchange {e.method!r}", e))
    world.kernel.names[b"silent"] = ["127.0.0.8"]
    world.kernel.silent.add(("127.0.0.8", 80))
    http = client(world, connect_timeout=4, read_timeout=5, exchange_timeout=12, retry_limit=1)
    request(world, http)
    request(world, http, "POST", body=b"x")
    request(world, http, uri="http://silent/")
    world.advance(50)


def nowhere(world: World) -> None:
    """Names that are none, ports that nobody has, URIs that are wrong."""
    world.kernel.names[b"gone"] = ["127.0.0.9"]
    world.kernel.names[b"many"] = ["::1", "127.0.0.9"]
    http = client(world)
    for uri in ("http://gone/", "http://many/", "nonsense", "http://[::1]/"):
        request(world, http, uri=uri)
    world.advance(20)


def switching(world: World) -> None:
    """An upgrade, and an echo on what was HTTP."""

    http_server(world, lambda exchange: switch(world, exchange))
    exchange = client(world).exchange()
    world.watch("request", exchange, upgrade=talking(world, b"hello"))
    exchange.request_start("GET", "http://origin/", [], upgrade="echo")
    exchange.request_done([])
    world.advance(5)


def tunnelling(world: World) -> None:
    """A CONNECT that opens a tunnel, and one that is refused."""

    def met(exchange: HttpServerExchange) -> None:
        if exchange.uri == b"origin:81":
            world.watch("exchange", exchange, request_done=lambda _: answer(exchange))
        else:
            switch(world, exchange)

    for port in (80, 81):
        http_server(world, met, port)
    http = client(world)
    for port in (80, 81):
        exchange = http.exchange()
        world.watch("request", exchange, upgrade=talking(world, b"hello"))
        exchange.request_start("CONNECT", f"origin:{port}", [])
        exchange.request_done([])
        world.advance(5)


SCENARIOS = [
    reuse,
    retry,
    lost_answers,
    queue,
    both_ways,
    held_back,
    reading_slowly,
    expecting,
    time_outs,
    nowhere,
    switching,
    tunnelling,
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_fault_at_any_call_ends_everything_once(scenario: Scenario) -> None:
    sweep(scenario)
