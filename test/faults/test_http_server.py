"""The HTTP server, when any of its calls goes wrong."""

from __future__ import annotations

from typing import Any

import pytest
from faults_peer import Peer
from faults_programs import GET, answer, echo, http_server, switch
from faults_sweep import Scenario, noticing, sweep
from faults_world import World

from thor.http.server import HttpServerExchange

POST = b"POST /%d HTTP/1.1\r\nHost: origin\r\nContent-Length: 5\r\n\r\nabcde"
CHUNKED = b"POST / HTTP/1.1\r\nHost: origin\r\nTransfer-Encoding: chunked\r\n\r\n"


def browser(world: World) -> Peer:
    return world.peer(speaks="http")


def keep_alive(world: World) -> None:
    """Three requests on one connection, one after the other."""
    http_server(world, lambda e: world.watch("exchange", e, request_done=lambda _: answer(e)))
    peer = browser(world)
    world.advance(1)
    for _ in range(3):
        peer.send(GET)
    peer.close()


def pipelining(world: World) -> None:
    """Five requests at once; the answers to some take their time."""

    def met(exchange: HttpServerExchange) -> None:
        slow = exchange.uri == b"/2"

        def done(_: Any) -> None:
            if slow:
                world.later(1.0, answer, exchange)
            else:
                answer(exchange)

        world.watch("exchange", exchange, request_done=done)

    http_server(world, met)
    peer = browser(world)
    world.advance(1)
    peer.send(
        GET + POST % 1 + POST % 2 + GET, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    )
    world.advance(2)
    peer.close()


def chunks_both_ways(world: World) -> None:
    """A body in chunks, echoed as it comes, through buffers that are too small for it."""
    world.kernel.buffer_bytes = 700

    def met(exchange: HttpServerExchange) -> None:
        tcp_conn: Any = exchange.http_conn.tcp_conn
        tcp_conn.high_water, tcp_conn.low_water = 800, 200
        echo(world, exchange)

    http_server(world, met)
    peer = browser(world)
    world.advance(1)
    peer.send(CHUNKED, *[b"%x\r\n" % 1500 + bytes([65 + n]) * 1500 + b"\r\n" for n in range(2)])
    peer.send(b"0\r\nX-Sum: 1\r\n\r\n")
    peer.close()


def not_reading(world: World) -> None:
    """A client that stops reading its answer."""
    world.kernel.buffer_bytes = 500
    http_server(
        world,
        lambda e: world.watch("exchange", e, request_done=lambda _: answer(e, b"x" * 2000)),
        send_timeout=9,
    )
    peer = browser(world)
    world.advance(1)
    if peer.conn is not None:
        peer.conn.pause(True)
    peer.send(GET)
    world.advance(20)


@noticing("accept")  # who is not accepted before the end is not served
def draining(world: World) -> None:
    """A graceful shutdown while one request is answered, another is sent, two clients are idle, of
    which one goes on, and one waits to be accepted."""

    def met(exchange: HttpServerExchange) -> None:
        world.watch("exchange", exchange, request_done=lambda _: world.later(3.0, answer, exchange))

    server = http_server(world, met)
    first, second, third, _fourth = (browser(world) for _ in range(4))
    world.advance(1)
    first.send(GET)
    second.send((POST % 1)[:-2])
    late = browser(world)
    server.graceful_shutdown()
    world.advance(2)
    second.send(b"de")
    third.send(GET)
    late.send(GET)
    world.advance(10)


def refusing(world: World) -> None:
    """A bad request behind a good one; what follows it is read for a while, and dropped."""
    http_server(world, lambda e: world.watch("exchange", e, request_done=lambda _: answer(e)))
    peer = browser(world)
    world.advance(1)
    peer.send(GET + b"nonsense\r\n\r\n", b"more", b"and more")
    world.advance(1)
    peer.send(b"still")
    world.advance(5)


def expecting(world: World) -> None:
    """A client that waits for a 100, and one that gets a 417-like answer instead."""

    def met(exchange: HttpServerExchange) -> None:
        if exchange.uri == b"/no":
            world.watch("exchange", exchange, request_start=lambda *_: answer(exchange))
        else:
            world.watch("exchange", exchange, request_done=lambda _: answer(exchange))

    http_server(world, met)
    yes, no = browser(world), browser(world)
    world.advance(1)
    head = b"PUT /%b HTTP/1.1\r\nHost: o\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    yes.send(head % b"yes", b"hello")
    no.send(head % b"no")
    world.advance(5)


def half_closing(world: World) -> None:
    """Clients that finish sending and wait for their answers; one gets none in time."""

    def met(exchange: HttpServerExchange) -> None:
        delay = 1.0 if exchange.uri == b"/" else 100.0
        world.watch(
            "exchange",
            exchange,
            request_done=lambda _: world.later(delay, answer, exchange),
        )

    http_server(world, met, half_close_timeout=10)
    peers = [browser(world), browser(world)]
    world.advance(1)
    peers[0].send(GET).finish()
    peers[1].send(POST % 2).finish()
    world.advance(200)


def switching(world: World) -> None:
    """An upgrade; the program echoes on the connection from then on."""

    http_server(world, lambda exchange: switch(world, exchange))
    peer = browser(world)
    world.advance(1)
    request = GET[:-2] + b"Connection: upgrade\r\nUpgrade: echo\r\n\r\n"
    peer.send(request + b"early", b"late").finish()


def tunnelling(world: World) -> None:
    """A CONNECT that is accepted, and one that nobody takes."""

    def met(exchange: HttpServerExchange) -> None:
        if exchange.uri == b"no:1":
            world.watch("exchange", exchange, request_done=lambda _: answer(exchange))
        else:
            switch(world, exchange)

    http_server(world, met)
    peers = [browser(world), browser(world)]
    world.advance(1)
    for peer, host in zip(peers, (b"yes", b"no"), strict=True):
        peer.send(b"CONNECT %b:1 HTTP/1.1\r\nHost: %b:1\r\n\r\nearly" % (host, host), b"late")
        peer.finish()
    world.advance(5)


def pausing(world: World) -> None:
    """A program that reads a body little by little, and a client that has gone by then."""

    def met(exchange: HttpServerExchange) -> None:
        def chunk(_: bytes) -> None:
            exchange.pause(True)
            world.later(1.0, exchange.pause, False)

        world.watch(
            "exchange", exchange, request_body=chunk, request_done=lambda _: answer(exchange)
        )

    http_server(world, met, body_timeout=8)
    peer, goner = browser(world), browser(world)
    world.advance(1)
    for one in (peer, goner):
        one.send((POST % 1)[:-4], b"bc")
    goner.vanish()
    world.advance(1)
    peer.send(b"de")
    world.advance(5)


def dropping(world: World) -> None:
    """Answers before the request is there: its rest is read, or not waited for."""

    def met(exchange: HttpServerExchange) -> None:
        world.watch("exchange", exchange, request_start=lambda *_: answer(exchange))

    http_server(world, met, drain_bytes=1000)
    peers = [browser(world), browser(world)]
    world.advance(1)
    peers[0].send((POST % 1)[:-3], b"cde", GET)
    peers[1].send(CHUNKED, b"400\r\n", b"x" * 2000)
    world.advance(5)


def slow(world: World) -> None:
    """Clients that send too little: a head, a body, nothing."""
    http_server(
        world,
        lambda e: world.watch("exchange", e, request_done=lambda _: answer(e)),
        head_timeout=5,
        body_timeout=6,
        idle_timeout=7,
    )
    peers = [browser(world) for _ in range(3)]
    world.advance(1)
    peers[0].send(GET[:10])
    peers[1].send((POST % 1)[:-1])
    world.advance(20)


SCENARIOS = [
    keep_alive,
    pipelining,
    chunks_both_ways,
    not_reading,
    draining,
    refusing,
    expecting,
    half_closing,
    switching,
    tunnelling,
    pausing,
    dropping,
    slow,
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_fault_at_any_call_ends_everything_once(scenario: Scenario) -> None:
    sweep(scenario)
