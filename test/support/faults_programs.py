"""Programs that the scenarios of the fault tests run, which hold whatever happens to them.

Owns: servers and handlers over a `World`. Must not know any scenario.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faults_world import World

from thor import TcpConnection, TcpServer
from thor.http import HttpClient, HttpServer
from thor.http.client import HttpClientExchange
from thor.http.error import OutputStateError
from thor.http.server import HttpServerExchange
from thor.types import RawHeaders

GET = b"GET / HTTP/1.1\r\nHost: origin\r\n\r\n"


def http_server(
    world: World,
    met: Callable[[HttpServerExchange], Any],
    port: int = 80,
    tls: Any = None,
    **settings: Any,
) -> HttpServer:
    """A server on a port of 127.0.0.1. met: called with each exchange"""
    server_class = type("Server", (HttpServer,), {"send_date": False, **settings})
    server: HttpServer = world.serve(
        "server", server_class("127.0.0.1", port, world.loop, tls=tls), exchange=met
    )
    return server


def answer(exchange: HttpServerExchange, body: bytes = b"hello") -> None:
    """Answer, unless something else was done about the request."""
    if exchange.response_state.name != "IDLE":
        return
    exchange.response_start(200, "OK", [("Content-Length", str(len(body)))])
    exchange.response_body(body)
    exchange.response_done([])


def echo(world: World, exchange: HttpServerExchange) -> None:
    """Answer with what comes, as it comes."""

    def lively() -> bool:
        return exchange.response_state.name == "BODY"

    def request_done(trailers: RawHeaders) -> None:
        if lively():
            exchange.response_done(trailers)

    world.watch(
        "exchange",
        exchange,
        request_start=lambda *_: exchange.response_start(200, "OK", []),
        request_body=lambda chunk: lively() and exchange.response_body(chunk),
        request_done=request_done,
        pause=exchange.pause,
    )


def tcp_server(world: World, take: Callable[[TcpConnection], Any], port: int = 80) -> TcpServer:
    """A server on a port of 127.0.0.1. take: called with each connection"""
    server: TcpServer = world.serve(
        "server", TcpServer("127.0.0.1", port, world.loop), connect=take
    )
    return server


def request(
    world: World,
    client: HttpClient,
    method: str = "GET",
    uri: str = "http://origin/",
    *,
    headers: Any = (),
    body: bytes = b"",
    trailers: Any = (),
) -> HttpClientExchange:
    """Send a request, its body in two pieces."""
    exchange: HttpClientExchange = world.watch("request", client.exchange())
    exchange.request_start(method, uri, headers)
    half = len(body) // 2
    for piece in (body[:half], body[half:]):
        if piece:
            exchange.request_body(piece)
    exchange.request_done(list(trailers))
    return exchange


def say(conn: TcpConnection, data: bytes) -> None:
    if conn.tcp_connected:
        conn.write(data)


def echoing(world: World, **settings: Any) -> Any:
    """What a server does: it echoes, and reads no more than it can send."""

    def take(conn: TcpConnection) -> None:
        conn.high_water, conn.low_water = 800, 200
        for name, value in settings.items():
            setattr(conn, name, value)
        world.watch(
            "echo",
            conn,
            data=lambda data: say(conn, data),
            pause=conn.pause,
            hangup=lambda: conn.pause(False),
        )
        conn.pause(False)

    return take


def talking(world: World, *words: bytes, end: str = "close") -> Any:
    """What a client does: it says its words, reads the echo, and closes."""
    whole = b"".join(words)

    def take(conn: TcpConnection) -> None:
        heard = bytearray()

        def listen(data: bytes) -> None:
            heard.extend(data)
            if heard.endswith(whole):
                getattr(conn, end)()

        world.watch("talker", conn, data=listen)
        conn.pause(False)
        for word in words:
            say(conn, word)

    return take


def switch(world: World, exchange: HttpServerExchange) -> None:
    """Accept an upgrade, and echo from then on."""

    def done(*_: Any) -> None:
        try:
            conn = exchange.upgrade("echo")
        except OutputStateError:  # the connection was closed meanwhile
            return
        say(conn, b"welcome ")
        echoing(world)(conn)

    world.watch("exchange", exchange, request_done=done)
