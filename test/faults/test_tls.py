"""TLS connections, clients and servers, when any of the calls below them goes wrong."""

from __future__ import annotations

import ssl
from functools import cache
from typing import Any
from weakref import WeakSet

import pytest
import tls_support
from faults_programs import answer, echoing, http_server, request, say, talking, tcp_server
from faults_sweep import Scenario, noticing, only, sweep
from faults_world import World

from thor import TcpClient
from thor.http import HttpClient, HttpServer
from thor.tcp import TcpConnection
from thor.tls import TlsClient, TlsConnection, TlsServer, accept_tls, client_context

PORT = 443


@cache
def serving(version: str = "TLSv1.3") -> ssl.SSLContext:
    return tls_support.serving(**tls_support.only(version))


@cache
def _trusting() -> ssl.SSLContext:
    return tls_support.trusting()


def trusting(world: World) -> ssl.SSLContext:
    """A client's context, without the sessions of other worlds."""
    context = _trusting()
    if world not in _known:
        _known.add(world)
        vars(context).pop("_thor_sessions", None)
    return context


_known: WeakSet[World] = WeakSet()


@cache
def doubting() -> ssl.SSLContext:
    """A client's context that trusts others."""
    return client_context(ca_file=tls_support.stranger().certificate)


def serve(world: World, take: Any, version: str = "TLSv1.3", **options: Any) -> TlsServer:
    server = TlsServer("127.0.0.1", PORT, world.loop, context=serving(version), **options)
    server.on("tls_error", lambda *_: None)
    world.serve("server", server, connect=take)
    return server


def tls_client(world: World, take: Any, context: ssl.SSLContext | None = None) -> TlsClient:
    world.kernel.names[b"localhost"] = ["127.0.0.1"]
    client = TlsClient(world.loop)
    client.context = context or trusting(world)
    world.watch("client", client, connect=take)
    return client


def dial(world: World, take: Any, context: ssl.SSLContext | None = None) -> None:
    tls_client(world, take, context).connect("localhost", PORT, 30)


def tls13(world: World) -> None:
    """A handshake, an echo, and close_notify both ways."""
    serve(world, echoing(world))
    dial(world, talking(world, b"hello"))
    world.advance(20)


@only("recv", "send", "listeners that end")
def tls12(world: World) -> None:
    """The same with TLS 1.2."""
    serve(world, echoing(world), "TLSv1.2")
    dial(world, talking(world, b"hello"))
    world.advance(20)


@only("recv", "send", "poller")
def narrow(world: World) -> None:
    """More than fits, both ways, and records that do not fit."""
    world.kernel.buffer_bytes = 2000
    serve(world, echoing(world))
    dial(world, talking(world, b"x" * 1500, b"y" * 1500))
    world.advance(20)


def untrusted(world: World) -> None:
    """A certificate that the client does not trust: an alert, and the wait for it to be read."""
    serve(world, echoing(world))
    dial(world, None, doubting())
    world.advance(20)


def no_tls(world: World) -> None:
    """Peers that speak no TLS, or nothing, or leave in the middle."""
    serve(world, echoing(world), handshake_timeout=5)
    peers = [world.peer(PORT) for _ in range(3)]
    world.advance(1)
    peers[0].send(b"GET / HTTP/1.1\r\n\r\n")
    peers[1].send(b"\x16\x03\x01\x02\x00").finish()
    world.advance(20)


@only("recv", "send", "clock", "listeners that end")
def crowd(world: World) -> None:
    """More handshakes than may be under way."""
    serve(world, echoing(world), max_handshakes=1)
    for _ in range(2):
        dial(world, talking(world, b"hello"))
    world.advance(20)


@only("recv", "send", "listeners that end", "listeners that raise")
def half_open(world: World) -> None:
    """A side that finishes, and the other's last words."""

    def take(conn: TlsConnection) -> None:
        conn.allow_half_open = True

        def end() -> None:
            say(conn, b"bye")
            conn.close()

        world.watch("server's", conn, end=end)
        conn.pause(False)

    def talk(conn: TlsConnection) -> None:
        conn.allow_half_open = True
        world.watch("talker", conn)
        conn.pause(False)
        say(conn, b"hello")
        conn.end_writing()

    serve(world, take)
    dial(world, talk)
    world.advance(20)


@noticing("recv", "send")  # TLS begins at the first byte
def start_tls(world: World) -> None:
    """TLS on a connection that was plain before."""

    def take(conn: TcpConnection) -> None:
        def heard(_: bytes) -> None:
            say(conn, b"go")
            try:
                acceptance = accept_tls(conn, serving())
            except ValueError:  # it was closed meanwhile
                return
            world.watch("acceptance", acceptance, connect=echoing(world))

        conn.on("data", heard)
        conn.pause(False)

    def talk(conn: TcpConnection) -> None:
        def heard(_: bytes) -> None:
            client = tls_client(world, talking(world, b"hello"))
            try:
                client.start_tls(conn, "localhost", 10)
            except ValueError:
                client.emit("connect_error", OSError, 0)

        conn.on("data", heard)
        conn.pause(False)
        say(conn, b"s")

    tcp_server(world, take)
    plain = world.watch("plain client", TcpClient(world.loop), connect=talk)
    plain.connect("127.0.0.1", 80, 10)
    world.advance(20)


@only("recv", "send", "listeners that raise", "listeners that stop")
def https(world: World) -> None:
    """Requests by https, one connection after another; the second resumes the session."""
    http_server(
        world,
        lambda e: world.watch("exchange", e, request_done=lambda _: answer(e)),
        PORT,
        tls=serving(),
        idle_timeout=2,
    )
    world.kernel.names[b"localhost"] = ["127.0.0.1"]
    client = HttpClient(world.loop)
    client.tls_context = trusting(world)
    client.connect_timeout = 30
    for _ in range(2):
        request(world, client, uri="https://localhost/")
        world.advance(4)
    world.advance(20)


def connect_proxy(world: World, origin: HttpServer) -> Any:
    """What a proxy does, with the origin at its end: 200 to CONNECT, TLS, and HTTP on that."""

    def take(conn: TcpConnection) -> None:
        asked = bytearray()

        def heard(data: bytes) -> None:
            asked.extend(data)
            if asked.endswith(b"\r\n\r\n"):
                say(conn, b"HTTP/1.1 200 OK\r\n\r\n")
                try:
                    acceptance = accept_tls(conn, serving())
                except ValueError:  # it was closed meanwhile
                    return
                world.watch("acceptance", acceptance, connect=origin._accepted)

        conn.on("data", heard)
        conn.pause(False)

    return take


def tunnel(world: World, proxy: str) -> None:
    client = HttpClient(world.loop)
    client.tls_context = trusting(world)
    client.proxy = proxy
    client.connect_timeout = 30
    world.kernel.names[b"localhost"] = ["127.0.0.1"]
    request(world, client, uri="https://localhost/")
    world.advance(5)


def origin(world: World) -> HttpServer:
    return http_server(
        world, lambda e: world.watch("exchange", e, request_done=lambda _: answer(e)), 80
    )


@only("recv", "send", "poller", "listeners that end")
def through_a_proxy(world: World) -> None:
    """A request by https through a tunnel."""
    tcp_server(world, connect_proxy(world, origin(world)), 3128)
    tunnel(world, "http://localhost:3128")


@only("recv", "send", "listeners that end")
def tls_in_tls(world: World) -> None:
    """The same, with TLS to the proxy too."""
    serve(world, connect_proxy(world, origin(world)))
    tunnel(world, f"https://localhost:{PORT}")


SCENARIOS = [
    tls13,
    tls12,
    narrow,
    untrusted,
    no_tls,
    crowd,
    half_open,
    start_tls,
    https,
    through_a_proxy,
    tls_in_tls,
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_fault_at_any_call_ends_everything_once(scenario: Scenario) -> None:
    sweep(scenario)
