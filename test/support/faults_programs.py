"""Programs that the scenarios of the fault tests run, which hold whatever happens to them.

Owns: servers and handlers over a `World`. Must not know any scenario.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from faults_world import World

from thor.http import HttpServer
from thor.http.server import HttpServerExchange

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
    if exchange._writing.name != "IDLE":
        return
    exchange.response_start(200, "OK", [("Content-Length", str(len(body)))])
    exchange.response_body(body)
    exchange.response_done([])


def echo(world: World, exchange: HttpServerExchange) -> None:
    """Answer with what comes, as it comes."""
    lively = lambda: exchange._writing.name == "BODY"  # noqa: E731

    world.watch(
        "exchange",
        exchange,
        request_start=lambda *_: exchange.response_start(200, "OK", []),
        request_body=lambda chunk: lively() and exchange.response_body(chunk),
        request_done=lambda trailers: lively() and exchange.response_done(trailers),
        pause=exchange.pause,
    )
