"""The proxy, between peers and origins, when any of the calls of all three goes wrong."""

from __future__ import annotations

from typing import Any

import pytest
from faults_peer import Peer
from faults_programs import GET, answer, echo, http_server, switch, tcp_server
from faults_sweep import Scenario, noticing, sweep
from faults_world import World

from thor.http import HttpServer
from thor.http.server import HttpServerExchange
from thor.proxy import ReverseProxy, Upstream
from thor.tcp import TcpConnection

CHUNKED = b"POST / HTTP/1.1\r\nHost: site\r\nTransfer-Encoding: chunked\r\n\r\n"
PORT = 8080


def proxy(world: World, *ports: int, watched: bool = False, **settings: Any) -> ReverseProxy:
    """A proxy in front of origins on these ports. watched: flows are made, and seen"""
    server_class = type("Front", (HttpServer,), {"send_date": False, **settings})
    proxy_class = type("Proxy", (ReverseProxy,), {"server_class": server_class})
    upstream = Upstream([f"http://127.0.0.1:{port}" for port in ports or (80,)])
    made: ReverseProxy = proxy_class("127.0.0.1", PORT, upstream, world.loop, pseudonym="p")
    if watched:
        world.serve("proxy", made)
    else:
        world.servers.append(made)
    return made


def browser(world: World) -> Peer:
    peer = world.peer(PORT, speaks="http")
    world.advance(1)
    return peer


def answering(world: World, body: bytes = b"hello") -> Any:
    return lambda e: world.watch("exchange", e, request_done=lambda _: answer(e, body))


def relay(world: World) -> None:
    """Two requests on one connection, with and without a body."""
    http_server(world, answering(world))
    proxy(world)
    peer = browser(world)
    peer.send(
        GET, GET.replace(b"GET", b"PUT").replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc")
    )
    world.advance(1)
    peer.close()


def flows(world: World) -> None:
    """The same, seen by the program."""
    http_server(world, answering(world))
    proxy(world, watched=True)
    peer = browser(world)
    for _ in range(2):
        peer.send(GET)
        world.advance(1)
    peer.close()


def both_ways(world: World) -> None:
    """Chunks both ways, through buffers that are too small for them."""
    world.kernel.buffer_bytes = 700

    def met(exchange: HttpServerExchange) -> None:
        tcp_conn = exchange.http_conn.tcp_conn
        assert tcp_conn is not None
        tcp_conn.high_water, tcp_conn.low_water = 800, 200
        echo(world, exchange)

    http_server(world, met)
    proxy(world)
    peer = browser(world)
    for letter in b"ab":
        peer.send(CHUNKED, b"400\r\n" + bytes([letter]) * 1024 + b"\r\n0\r\n\r\n")
        world.advance(1)
    peer.close()


@noticing("recv", "send")  # the one that closes goes by what comes first
def next_endpoint(world: World) -> None:
    """One endpoint refuses, one closes, one answers."""

    def take(conn: TcpConnection) -> None:
        world.watch("closer", conn, data=lambda data: conn.close())
        conn.pause(False)

    tcp_server(world, take, 81)
    http_server(world, answering(world))
    proxy(world, 82, 81, 80, watched=True)
    peer = browser(world)
    for _ in range(2):
        peer.send(GET)
        world.advance(3)


@noticing("recv", "send")  # the origin goes by what comes first
def broken_answer(world: World) -> None:
    """An origin that closes in the middle of an answer."""

    def take(conn: TcpConnection) -> None:
        def heard(_: bytes) -> None:
            if conn.tcp_connected:
                conn.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
            conn.close()

        world.watch("closer", conn, data=heard)
        conn.pause(False)

    tcp_server(world, take)
    proxy(world)
    browser(world).send(GET)
    world.advance(3)


def tunnel(world: World) -> None:
    """An upgrade, and what goes through afterwards, until one side finishes."""
    http_server(world, lambda exchange: switch(world, exchange))
    proxy(world)
    peer = browser(world)
    request = GET[:-2] + b"Connection: upgrade\r\nUpgrade: echo\r\n\r\n"
    peer.send(request + b"early", b"late", b"later").finish()
    world.advance(3)


def client_gone(world: World) -> None:
    """Clients that leave before their answer, and in the middle of it."""

    def met(exchange: HttpServerExchange) -> None:
        def done(_: Any) -> None:
            world.later(2.0, answer, exchange, b"x" * 3000)

        world.watch("exchange", exchange, request_done=done)

    world.kernel.buffer_bytes = 900
    http_server(world, met)
    proxy(world)
    first, second = browser(world), browser(world)
    first.send(GET)
    first.vanish()
    world.advance(1)
    if second.conn is not None:
        second.send(GET)
        second.conn.pause(True)
    world.advance(3)
    second.vanish()
    world.advance(3)


def draining(world: World) -> None:
    """A graceful shutdown with a request under way."""

    def met(exchange: HttpServerExchange) -> None:
        world.watch("exchange", exchange, request_done=lambda _: world.later(2.0, answer, exchange))

    http_server(world, met)
    front = proxy(world)
    peer = browser(world)
    browser(world)
    peer.send(GET)
    front.graceful_shutdown()
    world.advance(5)


SCENARIOS = [
    relay,
    flows,
    both_ways,
    next_endpoint,
    broken_answer,
    tunnel,
    client_gone,
    draining,
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_fault_at_any_call_ends_everything_once(scenario: Scenario) -> None:
    sweep(scenario)
