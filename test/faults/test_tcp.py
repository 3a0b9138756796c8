"""TCP connections, clients and servers, when any of their calls goes wrong."""

from __future__ import annotations

import errno
from typing import Any
from unittest.mock import patch

import pytest
from faults_programs import echoing, say, talking
from faults_sweep import Scenario, noticing, sweep
from faults_world import World

import thor.tcp.acceptor
from thor import TcpClient, TcpConnection, TcpServer
from thor.tcp.proxy_protocol import ProxyHeader

HERE = "127.0.0.1"


def serve(world: World, take: Any, port: int = 80, host: str = HERE, **options: Any) -> TcpServer:
    server = TcpServer(host, port, world.loop, **options)
    world.serve("server", server, connect=take)
    return server


def dial(world: World, take: Any, host: str = HERE, port: int = 80, **options: Any) -> TcpClient:
    client: TcpClient = world.watch("client", TcpClient(world.loop), connect=take)
    for name, value in options.items():
        setattr(client, name, value)
    try:
        client.connect(host, port, 30)
    except RuntimeError:
        pass
    return client


def echo(world: World) -> None:
    """A client that talks to a server, and closes."""
    serve(world, echoing(world))
    dial(world, talking(world, b"hello"))
    world.advance(5)


def narrow(world: World) -> None:
    """More than fits, both ways."""
    world.kernel.buffer_bytes = 900
    serve(world, echoing(world))
    dial(world, talking(world, b"x" * 2000, b"y" * 1500))
    world.advance(5)


def half_open(world: World) -> None:
    """A client that finishes sending, and reads on."""

    def take(conn: TcpConnection) -> None:
        def end() -> None:
            say(conn, b"bye")
            conn.close()

        world.watch("server's", conn, data=lambda data: say(conn, data), end=end)
        conn.allow_half_open = True
        conn.pause(False)

    def talk(conn: TcpConnection) -> None:
        conn.allow_half_open = True
        world.watch("talker", conn)
        conn.pause(False)
        say(conn, b"hello")
        conn.end_writing()

    serve(world, take)
    dial(world, talk)
    world.advance(5)


@noticing("recv")  # what can be read of a broken connection is read at once
def paused_peer_gone(world: World) -> None:
    """Data and an end for a server that does not read yet."""

    def take(conn: TcpConnection) -> None:
        world.watch("slow", conn, hangup=lambda: conn.pause(False))
        world.later(3.0, conn.pause, False)

    def talk(conn: TcpConnection) -> None:
        world.watch("talker", conn)
        say(conn, b"hello")
        world.later(1.0, conn.abort)

    serve(world, take)
    dial(world, talk)
    world.advance(10)


@noticing("recv", "send")  # the first piece is there twice
def giving_back(world: World) -> None:
    """A connection whose data is given back, and whose owner changes."""

    def take(conn: TcpConnection) -> None:
        first: list[bytes] = []

        def heard(data: bytes) -> None:
            if not first:
                first.append(data)
                conn.pause(True)
                conn.unread(data)
                world.later(1.0, conn.pause, False)
            else:
                say(conn, data)

        world.watch("server's", conn, data=heard)
        conn.pause(False)

    serve(world, take)
    dial(world, talking(world, b"hello"))
    world.advance(10)


def many_addresses(world: World) -> None:
    """A name with an address that is silent, one that refuses, one that is not allowed."""
    world.kernel.names[b"origin"] = ["::1", "127.0.0.9", "127.0.0.8", "10.0.0.1", HERE]
    world.kernel.silent.add(("::1", 80))
    serve(world, echoing(world))
    dial(world, talking(world, b"hello"), "origin", check_ip=lambda ip: ip[:2] != "10")
    world.advance(10)


def nobody_there(world: World) -> None:
    """A name whose addresses do not answer in time; one that refuses; one that there is not."""
    world.kernel.names[b"silent"] = ["::1", "127.0.0.8"]
    world.kernel.silent |= {("::1", 80), ("127.0.0.8", 80)}
    world.kernel.names[b"nobody"] = ["127.0.0.9"]
    world.kernel.names[b"unknown"] = []
    for host in ("silent", "nobody"):
        dial(world, None, host)
    unwanted = TcpClient(world.loop)
    unwanted.on("connect_error", lambda *error: world.wrong.append(f"cancelled, and {error}"))
    unwanted.connect("silent", 80)
    unwanted.cancel()
    world.advance(60)


def storm(world: World) -> None:
    """More connections at once than are accepted in a turn."""

    def take(conn: TcpConnection) -> None:
        world.watch("guest", conn)
        say(conn, b"hello")
        conn.close()

    serve(world, take)
    for _ in range(7):
        world.peer()
    with patch.object(thor.tcp.acceptor, "ACCEPT_BATCH", 3):
        world.advance(5)


def out_of_fds(world: World) -> None:
    """Accepting fails for a while."""
    world.kernel.always = {("accept", n): errno.EMFILE for n in (2, 3)}

    def take(conn: TcpConnection) -> None:
        world.watch("guest", conn)
        conn.pause(False)

    serve(world, take)
    peers = [world.peer() for _ in range(3)]
    world.advance(0.1)
    for peer in peers:
        peer.send(b"bye").close()
        world.advance(1)


def closing_server(world: World) -> None:
    """A server that closes while connections come, and others are there."""

    def take(conn: TcpConnection) -> None:
        world.watch("guest", conn, data=lambda data: server.graceful_shutdown())
        conn.pause(False)

    server = serve(world, take)
    peers = [world.peer(), world.peer()]
    world.advance(1)
    peers.append(world.peer())  # it waits to be accepted
    peers[0].send(b"x")
    world.advance(1)
    peers.append(world.peer())  # it is refused
    world.advance(1)
    for peer in peers:
        peer.close()


def proxy_header(world: World) -> None:
    """Connections that begin with a PROXY header, whole or not."""
    serve(world, echoing(world), proxy_protocol=[HERE])
    peers = [world.peer() for _ in range(4)]
    world.advance(1)
    line = b"PROXY TCP4 192.0.2.1 192.0.2.2 1024 80\r\nhello"
    peers[0].send(line[:10], line[10:])
    peers[1].send(b"nonsense\r\n")
    peers[2].send(line[:10]).finish()
    world.advance(10)
    peers[0].close()


@noticing("send")  # a header has to leave at once
def proxy_header_out(world: World) -> None:
    """A client that begins with a PROXY header."""
    serve(world, echoing(world), proxy_protocol=[HERE])
    header = ProxyHeader(("192.0.2.1", 1024), ("192.0.2.2", 80))
    dial(world, talking(world, b"hello"), proxy_header=header)
    world.advance(10)


def unix(world: World) -> None:
    """Unix sockets with names; there is one of the two that clients ask for."""
    serve(world, echoing(world), host="unix:@here")
    for name in ("here", "gone"):
        dial(world, talking(world, b"hello"), f"unix:@{name}")
    world.advance(5)


@noticing("recv")  # who is ready first is reset last
def replacing(world: World) -> None:
    """A listener that resets others that are ready in the same turn, and makes new ones."""
    guests: list[TcpConnection] = []

    def take(conn: TcpConnection) -> None:
        def heard(data: bytes) -> None:
            while len(guests) > 1 and guests[-1] is not conn:
                guests.pop().abort()
                dial(world, talking(world, b"hello"), port=81)
            say(conn, data)

        guests.append(conn)
        world.watch("guest", conn, data=heard)
        conn.pause(False)

    serve(world, take)
    serve(world, echoing(world), 81)
    peers = [world.peer() for _ in range(3)]
    world.advance(1)
    for peer in peers:
        if peer.conn is not None and peer.conn.tcp_connected:
            peer.conn.write(b"x")  # all of them are ready in the same turn
    world.advance(5)
    for peer in peers:
        peer.close()


SCENARIOS = [
    echo,
    narrow,
    half_open,
    paused_peer_gone,
    giving_back,
    many_addresses,
    nobody_there,
    storm,
    out_of_fds,
    closing_server,
    proxy_header,
    proxy_header_out,
    unix,
    replacing,
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_fault_at_any_call_ends_everything_once(scenario: Scenario) -> None:
    sweep(scenario)
