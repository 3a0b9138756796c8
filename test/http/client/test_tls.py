"""https over real sockets: certificates, how a body ends, sessions, tunnels, Unix sockets."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from client_support import EVENTS, HELLO, HELLO_EVENTS
from tls_support import NAME, issued, serving, stranger, trusting

from thor.http import HttpServer
from thor.http.client import HttpClient, HttpClientExchange
from thor.http.client.pool import pool_of
from thor.http.error import (
    CertificateError,
    ConnectError,
    ConnectTimeoutError,
    HttpError,
    IncompleteMessageError,
    ProxyError,
    TlsError,
)
from thor.loop import LoopBase
from thor.tcp import TcpClient, TcpConnection, TcpServer
from thor.tcp.tunnel import Tunnel, join
from thor.testing import Recorder
from thor.tls import TlsConnection, TlsServer, client_context

RunLoop = Callable[..., None]
TERMINAL = {"response_done", "error", "upgrade"}


class World:
    """Servers and clients on one loop; what is left of them goes with the test."""

    def __init__(self, loop: LoopBase, run_loop: RunLoop) -> None:
        self.loop = loop
        self.run_loop = run_loop
        self.servers: list[Any] = []
        self.conns: list[Any] = []

    def origin(self, answer: Any, context: ssl.SSLContext | None = None, **settings: Any) -> int:
        """A TLS server that answers each request with these bytes, or by `answer(conn)`.

        Returns: its port
        """
        server = TlsServer("127.0.0.1", 0, self.loop, context=context or serving(), **settings)
        server.on("connect", lambda conn: self._serve(conn, answer))
        self.servers.append(server)
        return int(server.address[1])

    def _serve(self, conn: TlsConnection, answer: Any) -> None:
        self.conns.append(conn)
        got = b""

        def data(chunk: bytes) -> None:
            nonlocal got
            got += chunk
            if got.endswith(b"\r\n\r\n"):
                got = b""
                if callable(answer):
                    answer(conn)
                else:
                    conn.write(answer)

        conn.on("data", data)
        conn.pause(False)

    def client(self, **settings: Any) -> HttpClient:
        """A client that trusts the tests' authority, and tries once."""
        client = HttpClient(self.loop)
        client.tls_context = trusting()
        client.retry_limit = 0
        for name, value in settings.items():
            setattr(client, name, value)
        return client

    def request(
        self, client: HttpClient, uri: str
    ) -> tuple[HttpClientExchange, list[tuple[Any, ...]]]:
        """Make a request. Returns: the exchange, and what it emitted to its end"""
        exchange = client.exchange()
        heard = Recorder(exchange, *EVENTS)
        exchange.request_start("GET", uri, [])
        exchange.request_done([])
        self.run_loop(self.loop, lambda: TERMINAL & {event[0] for event in heard.events})
        return exchange, heard.events

    def get(self, client: HttpClient, uri: str) -> list[tuple[Any, ...]]:
        """The events of a request."""
        return self.request(client, uri)[1]

    def error(self, client: HttpClient, uri: str) -> HttpError:
        """The error of a request that fails before there is anything of a response."""
        ((event, error),) = self.get(client, uri)
        assert event == "error"
        assert isinstance(error, HttpError)
        return error

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
    """Servers and clients."""
    world = World(loop, run_loop)
    yield world
    world.end()


def test_requests_share_a_connection(world: World) -> None:
    port = world.origin(HELLO, serving(alpn=["h2", "http/1.1"]))
    client = world.client(tls_context=trusting(alpn=["http/1.1"]))
    for _ in range(3):
        assert world.get(client, f"https://{NAME}:{port}/") == HELLO_EVENTS
    (conn,) = world.conns
    assert (conn.server_name, conn.alpn) == (NAME, "http/1.1")


def test_the_program_sees_the_connection(world: World) -> None:
    port = world.origin(HELLO)
    exchange = world.client().exchange()
    seen: list[Any] = []

    def start(*_: Any) -> None:
        assert exchange.conn is not None
        conn: Any = exchange.conn.tcp_conn
        seen.extend((conn.tls_version, conn.peer_certificate is not None))

    exchange.on("response_start", start)
    heard = Recorder(exchange, *EVENTS)
    exchange.request_start("GET", f"https://127.0.0.1:{port}/", [])
    exchange.request_done([])
    world.run_loop(world.loop, lambda: TERMINAL & {event[0] for event in heard.events})
    assert seen == ["TLSv1.3", True]


def test_later_connections_resume_the_session(world: World) -> None:
    def answer(conn: TlsConnection) -> None:
        conn.write(HELLO)
        conn.close()

    port = world.origin(answer)
    context = trusting()
    for _ in range(2):
        client = world.client(tls_context=context)
        assert world.get(client, f"https://{NAME}:{port}/") == HELLO_EVENTS
    assert [conn.session_reused for conn in world.conns] == [False, True]


def test_a_large_body_both_ways(world: World) -> None:
    size = 2_000_000
    received = bytearray()

    def answer(exchange: Any) -> None:
        def done(_: Any) -> None:
            exchange.response_start(200, "OK", [("Content-Length", str(len(received)))])
            exchange.response_body(bytes(received))
            exchange.response_done([])

        exchange.on("request_body", received.extend)
        exchange.on("request_done", done)

    server = HttpServer("127.0.0.1", 0, world.loop, tls=serving())
    server.on("exchange", answer)
    world.servers.append(server)
    exchange = world.client().exchange()
    heard = Recorder(exchange, *EVENTS)
    exchange.request_start("POST", f"https://{NAME}:{server.address[1]}/", [])
    exchange.request_body(b"x" * size)
    exchange.request_done([])
    world.run_loop(world.loop, lambda: TERMINAL & {event[0] for event in heard.events})
    assert heard.events[-1][0] == "response_done"
    body = b"".join(event[1] for event in heard.events if event[0] == "response_body")
    assert body == b"x" * size


# -- certificates and handshakes -----------------------------------------------------------------


@pytest.fixture(scope="module")
def expired() -> tuple[trustme.CA, ssl.SSLContext]:
    """An authority, and a server's context with a certificate of its that has expired."""
    ca = trustme.CA()
    past = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
    leaf = ca.issue_cert(NAME, not_before=past[0], not_after=past[1])
    return ca, serving_of(leaf)


def serving_of(leaf: trustme.LeafCert) -> ssl.SSLContext:
    """A server's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


def fails(world: World, port: int, client: HttpClient, host: str = NAME) -> HttpError:
    """The error of a request whose handshake fails; it has to be tried once only."""
    tried: list[Any] = []
    world.servers[-1].on("tls_error", lambda *args: tried.append(args))
    client.retry_limit = 2
    client.retry_delay = 0
    error = world.error(client, f"https://{host}:{port}/")
    assert f"{host} port {port}: " in str(error)
    world.run_loop(world.loop, lambda: tried)
    assert len(tried) == 1
    assert world.conns == []
    return error


def test_an_issuer_that_is_not_known(world: World) -> None:
    port = world.origin(HELLO)
    client = world.client(tls_context=client_context(ca_file=stranger().certificate))
    error = fails(world, port, client)
    assert error.__class__ is CertificateError
    assert "unknown issuer" in str(error)


def test_the_system_s_roots_are_the_default(world: World) -> None:
    error = fails(world, world.origin(HELLO), world.client(tls_context=None))
    assert error.__class__ is CertificateError
    assert "unknown issuer" in str(error)


def test_a_certificate_for_another_name(world: World) -> None:
    port = world.origin(HELLO, serving("other.example"))
    error = fails(world, port, world.client())
    assert error.__class__ is CertificateError
    assert "another name" in str(error)
    assert NAME in str(error)


def test_a_certificate_that_has_expired(
    world: World, expired: tuple[trustme.CA, ssl.SSLContext]
) -> None:
    ca, context = expired
    trusts = client_context(ca_file=ca.cert_pem.bytes())
    error = fails(world, world.origin(HELLO, context), world.client(tls_context=trusts))
    assert error.__class__ is CertificateError
    assert "expired" in str(error)


def test_anything_goes_when_nothing_is_verified(world: World) -> None:
    port = world.origin(HELLO, serving("other.example"))
    client = world.client(tls_context=None, verify=False)
    assert world.get(client, f"https://{NAME}:{port}/") == HELLO_EVENTS
    client.verify = True  # and then that connection is not for it
    assert isinstance(world.error(client, f"https://{NAME}:{port}/"), CertificateError)


def test_no_version_in_common(world: World) -> None:
    port = world.origin(HELLO, serving(maximum_version=ssl.TLSVersion.TLSv1_2))
    client = world.client(tls_context=trusting(minimum_version=ssl.TLSVersion.TLSv1_3))
    error = fails(world, port, client)
    assert error.__class__ is TlsError
    assert "no TLS version" in str(error)


def test_a_server_without_tls(world: World) -> None:
    server = TcpServer("127.0.0.1", 0, world.loop)
    server.on("connect", lambda conn: conn.write(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    world.servers.append(server)
    error = world.error(world.client(), f"https://{NAME}:{server.address[1]}/")
    assert error.__class__ is TlsError
    assert "does not speak TLS" in str(error)


def test_a_server_that_is_silent(world: World) -> None:
    server = TcpServer("127.0.0.1", 0, world.loop)
    server.on("connect", world.conns.append)
    world.servers.append(server)
    client = world.client(connect_timeout=0.05)
    error = world.error(client, f"https://{NAME}:{server.address[1]}/")
    assert error.__class__ is ConnectTimeoutError


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_that_wants_a_certificate(world: World, version: ssl.TLSVersion) -> None:
    """With TLS 1.3 it says so after the client has ended its handshake."""
    authority = trusting().get_ca_certs(binary_form=True)[0]
    context = serving(
        client_ca=ssl.DER_cert_to_PEM_cert(authority).encode(), maximum_version=version
    )
    port = world.origin(HELLO, context)
    refused: list[Any] = []
    world.servers[-1].on("tls_error", lambda *told: refused.append(told))
    error = world.error(world.client(retry_limit=2), f"https://{NAME}:{port}/")
    assert isinstance(error, TlsError)
    assert "requires a certificate" in str(error) or "wants a certificate" in str(error)
    world.run_loop(world.loop, lambda: refused)
    assert len(refused) == 1
    shown = issued("a client", client=True)
    client = world.client(
        tls_context=trusting(certificate=shown.certificate, key=shown.key, maximum_version=version)
    )
    assert world.get(client, f"https://{NAME}:{port}/") == HELLO_EVENTS
    assert world.conns[-1].peer_certificate is not None


@pytest.mark.parametrize("host", [".a", "a..b", "a" * 64, "x." + "y" * 64])
def test_a_name_that_no_server_has_is_an_error_event(world: World, host: str) -> None:
    ((event, error),) = world.get(world.client(), f"https://{host}/")
    assert (event, type(error).__name__) == ("error", "UrlError")


# -- the end of a body ----------------------------------------------------------------------------


def cut_off(conn: TlsConnection) -> None:
    """Close without close_notify, as anybody in between can."""
    conn.when_sent(lambda: conn.socket.shutdown(socket.SHUT_RDWR))


UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"
UNTIL_CLOSE_EVENTS: list[tuple[Any, ...]] = [
    ("response_start", b"200", b"OK", []),
    ("response_body", b"hello"),
]


def answers(data: bytes, ends: Callable[[TlsConnection], None]) -> Any:
    """An origin that sends this, and then ends the connection so."""

    def answer(conn: TlsConnection) -> None:
        conn.write(data)
        ends(conn)

    return answer


@pytest.mark.parametrize("careful", [True, False])
def test_a_body_that_ends_properly(world: World, careful: bool) -> None:
    port = world.origin(answers(UNTIL_CLOSE, TlsConnection.close))
    events = world.get(world.client(careful=careful), f"https://{NAME}:{port}/")
    assert events == [*UNTIL_CLOSE_EVENTS, ("response_done", [])]


def test_a_body_that_is_cut_off_is_an_error(world: World) -> None:
    port = world.origin(answers(UNTIL_CLOSE, cut_off))
    *events, (event, error) = world.get(world.client(), f"https://{NAME}:{port}/")
    assert events == UNTIL_CLOSE_EVENTS
    assert event == "error"
    assert isinstance(error, IncompleteMessageError)
    assert "without close_notify" in str(error)


def test_a_body_that_is_cut_off_may_be_taken_for_whole(world: World) -> None:
    port = world.origin(answers(UNTIL_CLOSE, cut_off))
    events = world.get(world.client(careful=False), f"https://{NAME}:{port}/")
    assert events == [*UNTIL_CLOSE_EVENTS, ("response_done", [])]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
    ids=["length", "chunked"],
)
@pytest.mark.parametrize(
    ("careful", "ends", "kind"),
    [
        (True, cut_off, IncompleteMessageError),
        (False, cut_off, IncompleteMessageError),
        (True, TlsConnection.close, IncompleteMessageError),
        (False, TlsConnection.close, IncompleteMessageError),
    ],
    ids=["careful-cut", "careless-cut", "careful-closed", "careless-closed"],
)
def test_a_body_that_is_not_all_there_is_always_an_error(
    world: World, data: bytes, careful: bool, ends: Any, kind: type[HttpError]
) -> None:
    port = world.origin(answers(data, ends))
    events = world.get(world.client(careful=careful), f"https://{NAME}:{port}/")
    assert [event[0] for event in events] == ["response_start", "response_body", "error"]
    assert isinstance(events[-1][1], kind)


@pytest.mark.parametrize("careful", [True, False])
def test_a_whole_body_is_whole_however_the_connection_ends(world: World, careful: bool) -> None:
    closing = HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    port = world.origin(answers(closing, cut_off))
    events = world.get(world.client(careful=careful), f"https://{NAME}:{port}/")
    assert [event[0] for event in events] == ["response_start", "response_body", "response_done"]


@pytest.mark.parametrize("careful", [True, False])
def test_a_cut_without_a_response_is_an_error(world: World, careful: bool) -> None:
    port = world.origin(cut_off)
    error = world.error(world.client(careful=careful), f"https://{NAME}:{port}/")
    assert isinstance(error, ConnectError)


def test_a_reset_is_an_error_however_careless(world: World) -> None:
    def answer(conn: TlsConnection) -> None:
        conn.write(UNTIL_CLOSE)
        conn.when_sent(conn.abort)

    port = world.origin(answer)
    events = world.get(world.client(careful=False), f"https://{NAME}:{port}/")
    assert events[-1][0] == "error"


@pytest.mark.parametrize("ends", [TlsConnection.close, cut_off])
def test_a_kept_connection_that_ended_is_replaced(world: World, ends: Any) -> None:
    port = world.origin(HELLO)
    client = world.client()
    assert world.get(client, f"https://{NAME}:{port}/") == HELLO_EVENTS
    ends(world.conns[0])
    assert world.get(client, f"https://{NAME}:{port}/") == HELLO_EVENTS
    assert len(world.conns) == 2


# -- tunnels and sockets --------------------------------------------------------------------------


class Proxy:
    """A proxy that opens tunnels to ports of this machine, and counts them."""

    def __init__(self, world: World, **settings: Any) -> None:
        self.world = world
        self.asked: list[bytes] = []
        self.server = HttpServer("127.0.0.1", 0, world.loop, **settings)
        self.server.on("exchange", self._exchange)
        self.tunnels: list[Tunnel] = []
        self.port = self.server.address[1]
        world.servers += [self.server, self]

    def shutdown(self) -> None:
        for tunnel in self.tunnels:
            tunnel.abort()

    def _exchange(self, exchange: Any) -> None:
        self.asked.append(exchange.uri)
        far = TcpClient(self.world.loop)

        def connected(conn: TcpConnection) -> None:
            near = exchange.upgrade(b"")
            self.tunnels.append(join(near, conn))

        def failed(*_: Any) -> None:
            exchange.response_start(502, "Nobody there", [])
            exchange.response_done([])

        far.on("connect", connected)
        far.on("connect_error", failed)
        far.connect("127.0.0.1", exchange.uri.rpartition(b":")[2].decode())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_through_a_tunnel(world: World, scheme: str) -> None:
    """With a proxy that speaks TLS itself, it is TLS inside TLS."""
    port = world.origin(HELLO)
    proxy = Proxy(world, **({"tls": serving()} if scheme == "https" else {}))
    client = world.client(proxy=f"{scheme}://u:p@{NAME}:{proxy.port}")
    for _ in range(2):
        assert world.get(client, f"https://{NAME}:{port}/") == HELLO_EVENTS
    assert proxy.asked == [f"{NAME}:{port}".encode()]
    assert len(world.conns) == 1


def test_the_certificate_behind_a_tunnel_is_the_server_s(world: World) -> None:
    port = world.origin(HELLO, serving("other.example"))
    proxy = Proxy(world)
    client = world.client(proxy=f"http://127.0.0.1:{proxy.port}", retry_limit=2)
    error = world.error(client, f"https://{NAME}:{port}/")
    assert error.__class__ is CertificateError
    assert f"{NAME}:{port} through proxy 127.0.0.1 port {proxy.port}: " in str(error)
    assert len(proxy.asked) == 1


def test_a_tunnel_that_is_refused(world: World) -> None:
    port = world.origin(HELLO)
    world.servers[-1].close()
    proxy = Proxy(world)
    client = world.client(proxy=f"http://127.0.0.1:{proxy.port}", retry_limit=2)
    error = world.error(client, f"https://{NAME}:{port}/")
    assert error.__class__ is ProxyError
    assert "it answered 502 'Nobody there'" in str(error)
    assert len(proxy.asked) == 1


def test_over_a_unix_socket(world: World, tmp_path: Path) -> None:
    path = tmp_path / "a b"
    server = TlsServer(f"unix:{path}", 0, world.loop, context=serving())
    server.on("connect", lambda conn: world._serve(conn, HELLO))
    world.servers.append(server)
    encoded = str(path).replace("/", "%2F").replace(" ", "%20")
    assert world.get(world.client(), f"https+unix://{encoded}/x") == HELLO_EVENTS
    client = world.client(unix_path=str(path))
    assert world.get(client, "https://localhost/x") == HELLO_EVENTS
    assert isinstance(world.error(client, "https://other.example/"), CertificateError)


@pytest.mark.parametrize("place", ["{}", "@{}"], ids=["path", "abstract"])
def test_plain_over_a_unix_socket(world: World, tmp_path: Path, place: str) -> None:
    where = place.format(tmp_path / "socket")
    server = HttpServer(f"unix:{where}", 0, world.loop)
    asked: list[Any] = []

    def answer(exchange: Any) -> None:
        asked.append((exchange.uri, exchange.host))
        exchange.response_start(204, "", [])
        exchange.response_done([])

    server.on("exchange", answer)
    world.servers.append(server)
    encoded = where.replace("/", "%2F").replace("@", "%40")
    client = world.client()
    for _ in range(2):
        events = world.get(client, f"http+unix://{encoded}/a?b")
        assert events[-1] == ("response_done", [])
    assert asked == [(b"/a?b", b"localhost")] * 2
    assert len(server.connections) == 1
