"""Bodies and tunnels that stay in the kernel, when any of the calls that move them goes wrong."""

from __future__ import annotations

from typing import Any

import pytest
from faults_peer import Peer
from faults_programs import GET, answer, http_server, switch, tcp_server
from faults_sweep import Scenario, noticing, only, sweep
from faults_world import World

from thor.http import HttpServer
from thor.proxy import ReverseProxy, Upstream
from thor.tcp import TcpConnection

PORT = 8080
#: More than comes the usual way at both ends of a body.
LARGE = bytes(range(256)) * 1100
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE)

moving = only("splice", "recv", "send", "listeners that end")
moving_and_waiting = only("splice", "recv", "send", "poller", "listeners that end")


def proxy(world: World, **settings: Any) -> Peer:
    """A proxy in front of port 80, and a client of it."""
    server_class = type("Front", (HttpServer,), {"send_date": False, **settings})
    proxy_class = type("Proxy", (ReverseProxy,), {"server_class": server_class})
    upstream = Upstream(["http://127.0.0.1:80"])
    world.servers.append(
        proxy_class("127.0.0.1", PORT, upstream, world.loop, pseudonym="p"),
    )
    peer = world.peer(PORT, speaks="http")
    world.advance(1)
    return peer


def answering(world: World, body: bytes) -> None:
    http_server(world, lambda e: world.watch("exchange", e, request_done=lambda _: answer(e, body)))


@moving
def download(world: World) -> None:
    """A large response, and another request behind it."""
    answering(world, LARGE)
    peer = proxy(world)
    peer.send(GET)
    world.advance(1)
    peer.send(GET.replace(b"GET", b"HEAD"))
    world.advance(1)
    peer.close()


@moving
def upload(world: World) -> None:
    """A large request."""
    answering(world, b"thanks")
    peer = proxy(world)
    head = b"POST / HTTP/1.1\r\nHost: origin\r\nContent-Length: %d\r\n\r\n" % len(LARGE)
    peer.send(head + LARGE[:9], LARGE[9:])  # what comes first waits for the origin's connection
    world.advance(1)
    peer.close()


@moving_and_waiting
def slow_client(world: World) -> None:
    """A client that takes a large response in small pieces, and then leaves in the middle."""
    answering(world, LARGE)
    peer = proxy(world)
    if peer.conn is not None:
        peer.conn.socket.buffer_bytes = 20_000  # type: ignore[attr-defined]
        peer.send(GET)
        world.advance(1)
        peer.conn.pause(True)
        peer.send(GET)
        world.advance(1)
        peer.vanish()
    world.advance(1)


@moving
@noticing("recv", "send")  # the origin goes by what comes first
def broken_answer(world: World) -> None:
    """An origin that closes in the middle of a large response."""

    def take(conn: TcpConnection) -> None:
        def heard(_: bytes) -> None:
            if conn.tcp_connected:
                conn.write(HEAD + LARGE[:-1])
            conn.close()

        world.watch("closer", conn, data=heard)
        conn.pause(False)

    tcp_server(world, take)
    proxy(world).send(GET)
    world.advance(3)


@moving_and_waiting
def tunnel(world: World) -> None:
    """Much of both ways through a tunnel."""
    world.kernel.buffer_bytes = 100_000
    http_server(world, lambda exchange: switch(world, exchange))
    peer = proxy(world)
    peer.send(GET[:-2] + b"Connection: upgrade\r\nUpgrade: echo\r\n\r\n")
    peer.send(LARGE).finish()
    world.advance(3)


SCENARIOS = [download, upload, slow_client, broken_answer, tunnel]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_fault_at_any_call_ends_everything_once(scenario: Scenario) -> None:
    sweep(scenario)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_bytes_go_through_pipes(scenario: Scenario) -> None:
    world = World()
    assert world.run(scenario) == []
    assert world.kernel.calls["splice in"]
    assert world.kernel.calls["splice out"]
