"""A proxy and its endpoints over TLS and Unix sockets; and where this process is what fails."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from proxy_support import ProxyHarness, get, own
from tls_support import ADDRESS, NAME, serving, trusting

from thor.http import HttpServer
from thor.http.client import HttpClient
from thor.http.client.pool import pool_of
from thor.loop import LoopBase
from thor.proxy import ReverseProxy, Upstream
from thor.tcp import ProxyHeader, ProxySsl, TcpClient
from thor.tcp.proxy_tlvs import SSL
from thor.testing import Recorder

RunLoop = Callable[..., None]


class World:
    """An origin that says what it was asked, a proxy in front of it, and a client."""

    def __init__(self, loop: LoopBase, run_loop: RunLoop) -> None:
        self.loop = loop
        self.run_loop = run_loop
        self.servers: list[Any] = []

    def origin(self, host: str = ADDRESS, **settings: Any) -> HttpServer:
        """Where requests end."""
        server = HttpServer(host, 0, self.loop, **settings)

        def answer(exchange: Any) -> None:
            body = b"".join(b"%b: %b\n" % field for field in exchange.req_hdrs)
            exchange.response_start(200, "OK", [("Content-Length", str(len(body)))])
            exchange.response_body(body)
            exchange.response_done([])

        server.on("exchange", answer)
        self.servers.append(server)
        return server

    def proxy(self, to: str, host: str = ADDRESS, **settings: Any) -> ReverseProxy:
        """A proxy, which trusts the tests' authority."""
        proxy = ReverseProxy(host, 0, Upstream([to]), self.loop, **settings)
        proxy.client.tls_context = trusting()
        self.servers.append(proxy)
        return proxy

    def get(self, uri: str, **settings: Any) -> tuple[bytes, str]:
        """Make a request. Returns: its status, and the body"""
        client = HttpClient(self.loop)
        client.tls_context = trusting()
        for name, value in settings.items():
            setattr(client, name, value)
        exchange = client.exchange()
        heard = Recorder(exchange, "response_start", "response_body", "response_done", "error")
        exchange.request_start("GET", uri, [])
        exchange.request_done([])
        self.run_loop(
            self.loop, lambda: heard.events and heard.events[-1][0] in ("response_done", "error")
        )
        assert heard.events[-1][0] == "response_done", heard.events
        return heard.events[0][1], heard.events[1][1].decode("latin-1")

    def end(self) -> None:
        """Close all that is open."""
        for server in self.servers:
            server.shutdown()
        for group in pool_of(self.loop).origin_pools.values():
            for connection in list(group.idle):
                connection.close_idle()
        self.run_loop(self.loop, lambda: self.loop.fd_count() == 0)


@pytest.fixture
def world(loop: LoopBase, run_loop: RunLoop) -> Iterator[World]:
    """An origin, a proxy, a client."""
    world = World(loop, run_loop)
    yield world
    world.end()


def port_of(server: Any) -> int:
    return int(server.address[1])


def test_tls_on_both_sides(world: World) -> None:
    origin = world.origin(tls=serving())
    proxy = world.proxy(f"https://{NAME}:{port_of(origin)}", tls=serving())
    status, said = world.get(f"https://{NAME}:{port_of(proxy)}/")
    assert status == b"200"
    assert "X-Forwarded-Proto: https\n" in said
    assert f"Host: {NAME}:{port_of(proxy)}\n" in said


def test_tls_upstream_only_does_not_make_the_client_secure(world: World) -> None:
    origin = world.origin(tls=serving())
    proxy = world.proxy(f"https://{NAME}:{port_of(origin)}")
    assert "X-Forwarded-Proto: http\n" in world.get(f"http://{NAME}:{port_of(proxy)}/")[1]


def test_certificate_for_another_name_is_a_502(world: World) -> None:
    origin = world.origin(tls=serving("other.example"))
    proxy = world.proxy(f"https://{NAME}:{port_of(origin)}")
    done: list[Any] = []
    proxy.on("done", done.append)
    assert world.get(f"http://{NAME}:{port_of(proxy)}/")[0] == b"502"
    world.run_loop(world.loop, lambda: done)
    assert "another name" in str(done[0].error)


def test_upgrade_works_with_tls_on_both_sides(world: World) -> None:
    origin = world.origin(tls=serving())
    origin.remove_listeners("exchange")
    far: list[Any] = []

    def switch(exchange: Any) -> None:
        conn = exchange.upgrade("echo")
        far.append(conn)
        conn.on("data", conn.write)
        conn.pause(False)

    origin.on("exchange", lambda e: e.on("request_start", lambda *_: switch(e)))
    proxy = world.proxy(f"https://{NAME}:{port_of(origin)}", tls=serving())
    client = HttpClient(world.loop)
    client.tls_context = trusting()
    exchange = client.exchange()
    near: list[Any] = []
    exchange.on("upgrade", near.append)
    exchange.request_start("GET", f"https://{NAME}:{port_of(proxy)}/", [], upgrade="echo")
    exchange.request_done([])
    world.run_loop(world.loop, lambda: near)
    (conn,) = near
    sent = bytes(range(256)) * 4000
    heard = Recorder(conn, "data", "end")
    conn.pause(False)
    conn.write(sent)
    world.run_loop(world.loop, lambda: heard.events and len(heard.events[0][1]) >= len(sent))
    assert heard.take() == [("data", sent)]
    conn.end_writing()  # a close_notify is an end that is passed on
    world.run_loop(world.loop, lambda: heard.events)
    assert heard.take() == [("end",)]
    assert far[0].tls_version == conn.tls_version == "TLSv1.3"


def test_unix_sockets_on_both_sides(world: World, tmp_path: Path) -> None:
    near, far = str(tmp_path / "near"), str(tmp_path / "far")
    world.origin(f"unix:{far}")
    proxy = world.proxy(f"unix:{far}", f"unix:{near}", trusted=["unix:"], mode=0o600)
    said: list[Any] = []
    proxy.on("done", said.append)
    status, body = world.get("http://site.example/", unix_path=near)
    assert status == b"200"
    assert "Host: site.example\n" in body
    assert "X-Forwarded-For: unknown\n" in body
    world.run_loop(world.loop, lambda: said)
    assert said[0].endpoint.name == f"unix:{far}".encode()


def test_proxy_header_tells_the_address_of_the_client(world: World) -> None:
    class Sending(TcpClient):
        proxy_header = ProxyHeader(("192.0.2.7", 1234), ("192.0.2.1", 80))

    origin = world.origin()
    proxy = world.proxy(f"http://{ADDRESS}:{port_of(origin)}", proxy_protocol=["127.0.0.1"])
    _, said = world.get(f"http://{ADDRESS}:{port_of(proxy)}/", tcp_client_class=Sending)
    assert "X-Forwarded-For: 192.0.2.7\n" in said
    assert "X-Forwarded-Proto: http\n" in said


@pytest.mark.parametrize(
    ("header", "proto"),
    [
        (ProxyHeader(tlvs=[(SSL, ProxySsl().to_bytes())]), "https"),
        (ProxyHeader(tlvs=[(SSL, ProxySsl(client=0).to_bytes())]), "http"),
        (ProxyHeader(version=1), "http"),
        (ProxyHeader(command="LOCAL", tlvs=[(SSL, ProxySsl().to_bytes())]), "http"),
    ],
    ids=["by TLS", "not by TLS", "not told", "nobody's"],
)
def test_proxy_header_tells_whether_the_client_used_tls(
    world: World, header: ProxyHeader, proto: str
) -> None:
    class Sending(TcpClient):
        proxy_header = header

    origin = world.origin()
    proxy = world.proxy(f"http://{ADDRESS}:{port_of(origin)}", proxy_protocol=["127.0.0.1"])
    _, said = world.get(f"http://{ADDRESS}:{port_of(proxy)}/", tcp_client_class=Sending)
    assert f"X-Forwarded-Proto: {proto}\n" in said


# -- what this process lacks ----------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_lack_of_descriptors_is_a_503_and_avoids_no_endpoint(code: int) -> None:
    harness = ProxyHarness("a", "b")
    for name in ("a", "b"):
        harness.network.errors[name, 80] = (OSError, code)
    for _ in range(2):
        harness.send("browser", get())
        harness.expect(("browser", "data", own(503, "Service Unavailable", "proxy_internal_error")))
    assert [endpoint.avoid_until for endpoint in harness.upstream.endpoints] == [0.0, 0.0]


def test_endpoint_that_refuses_connections_is_avoided() -> None:
    harness = ProxyHarness("a", "b").refuse("a").refuse("b")
    harness.send("browser", get())
    harness.expect(("browser", "data", own(502, "Bad Gateway", "connection_refused")))
    assert all(endpoint.avoid_until for endpoint in harness.upstream.endpoints)
