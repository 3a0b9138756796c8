"""An HTTP server with TLS, on Unix sockets, behind proxies that send PROXY headers, on inherited
sockets: over real ones."""

from __future__ import annotations

import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tls_support import ADDRESS, NAME, Bytes, issued, serving, trusting

from thor.http import HttpServer
from thor.loop import LoopBase
from thor.tcp import TcpServer
from thor.tls import TlsServer
from thor_support import host_and_port

RunLoop = Callable[..., None]
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Site:
    """Servers on one loop, and clients of plain Python that block in a thread."""

    def __init__(self, loop: LoopBase, run_loop: RunLoop) -> None:
        self.loop = loop
        self.run_loop = run_loop
        self.servers: list[HttpServer] = []
        self.heard: list[tuple[Any, ...]] = []
        self.seen: list[Any] = []

    def serve(self, host: str | None, port: int | None, **settings: Any) -> HttpServer:
        """A server that answers with what it knows of its client."""
        server = HttpServer(host, port, self.loop, **settings)
        server.on("exchange", self._answer)
        server.on("tls_error", lambda *told: self.heard.append(("tls_error", *told)))
        server.on("stop", lambda: self.heard.append(("stop",)))
        self.servers.append(server)
        return server

    def _answer(self, exchange: Any) -> None:
        self.seen.append(exchange)
        conn = exchange.http_conn.tcp_conn
        body = f"{getattr(conn, 'tls_version', None)} {exchange.http_conn.address!r}"
        exchange.response_start(200, "OK", [("Content-Length", str(len(body)))])
        exchange.response_body(body)
        exchange.response_done([])

    def call(self, function: Callable[[], Any]) -> Any:
        """Have this called in a thread. Returns: what it returned, or raised"""
        results: list[Any] = []

        def done(result: Any, exc: BaseException | None) -> None:
            results.append(exc if exc is not None else result)

        self.loop.run_in_thread(function, then=done)
        self.run_loop(self.loop, lambda: results)
        return results[0]

    def ask(
        self,
        server: HttpServer,
        context: ssl.SSLContext | None = None,
        first: bytes = b"",
        requests: int = 1,
    ) -> Any:
        """Make requests on one connection. Returns: the responses' bytes, or what was raised"""

        def talk() -> bytes:
            with self.connect(server) as sock:
                sock.sendall(first)
                if context is not None:
                    with context.wrap_socket(sock, server_hostname=NAME) as secure:
                        return converse(secure, requests)
                return converse(sock, requests)

        return self.call(talk)

    @staticmethod
    def connect(server: HttpServer) -> socket.socket:
        """A connection to a server."""
        address = server.address
        family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
        sock = socket.socket(family)
        sock.settimeout(10)
        try:
            sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock

    def end(self) -> None:
        """Stop all."""
        for server in self.servers:
            server.shutdown()
        self.run_loop(self.loop, lambda: self.loop.fd_count() == 0)


def converse(sock: socket.socket, requests: int) -> bytes:
    """Ask, and read an answer, so many times."""
    got = b""
    for number in range(1, requests + 1):
        sock.sendall(REQUEST)
        while got.count(b"HTTP/1.1 200 OK") < number or not complete(got):
            data = sock.recv(65536)
            assert data, got
            got += data
    return got


def complete(got: bytes) -> bool:
    """Whether the last response is all there."""
    head, found, body = got.rpartition(b"\r\n\r\n")
    length = head.rpartition(b"Content-Length: ")[2].partition(b"\r\n")[0]
    return bool(found) and len(body) == int(length)


@pytest.fixture
def site(loop: LoopBase, run_loop: RunLoop) -> Iterator[Site]:
    """Servers."""
    site = Site(loop, run_loop)
    yield site
    site.end()


def test_requests_over_tls(site: Site) -> None:
    server = site.serve(ADDRESS, 0, tls=serving())
    assert isinstance(server.tcp_server, TlsServer)
    got = site.ask(server, trusting(), requests=3)
    assert got.count(b"TLSv1.3 ('127.0.0.1', ") == 3
    assert [exchange.http_conn.tcp_conn for exchange in site.seen] != []
    assert site.heard == []


def test_what_is_known_of_the_client(site: Site) -> None:
    authority = trusting().get_ca_certs(binary_form=True)[0]
    pem = ssl.DER_cert_to_PEM_cert(authority).encode()
    server = site.serve(ADDRESS, 0, tls=serving(client_ca=pem))
    facts: list[Any] = []

    def look(exchange: Any) -> None:
        conn = exchange.http_conn.tcp_conn
        facts.extend((conn.server_name, conn.peer_certificate))

    server.prepend_listener("exchange", look)
    shown = issued("a client", client=True)
    got = site.ask(server, trusting(certificate=shown.certificate, key=shown.key))
    assert b"200 OK" in got
    assert facts[0] == NAME
    assert facts[1] == ssl.PEM_cert_to_DER_cert(
        shown.certificate.decode().partition("-----END")[0] + "-----END CERTIFICATE-----\n"
    )


def test_a_hand_shake_that_fails_is_told(site: Site) -> None:
    server = site.serve(ADDRESS, 0, tls=serving())
    assert isinstance(site.ask(server, ssl.create_default_context()), ssl.SSLError)
    site.run_loop(site.loop, lambda: site.heard)
    ((event, address, exc),) = site.heard
    assert (event, address[0]) == ("tls_error", "127.0.0.1")
    assert isinstance(exc, ssl.SSLError)
    assert site.seen == []
    assert server.connections == []


def test_a_hand_shake_that_fails_is_logged_if_nobody_listens(
    site: Site, expected_logs: Any
) -> None:
    server = site.serve(ADDRESS, 0, tls=serving())
    server.remove_listeners("tls_error")
    site.ask(server, ssl.create_default_context())
    site.run_loop(site.loop, lambda: expected_logs.records)
    (line,) = [record.getMessage() for record in expected_logs.records]
    assert "no TLS with ('127.0.0.1', " in line
    assert "issuer" in line


def test_a_client_without_tls_gets_no_answer(site: Site) -> None:
    server = site.serve(ADDRESS, 0, tls=serving())
    assert isinstance(site.ask(server), (AssertionError, OSError))
    assert site.seen == []
    assert [entry[0] for entry in site.heard] == ["tls_error"]


def test_settings_go_to_the_tls_server(site: Site) -> None:
    server = site.serve(ADDRESS, 0, tls=serving(), handshake_timeout=3, max_handshakes=7)
    tls_server: Any = server.tcp_server
    assert (tls_server.handshake_timeout, tls_server.max_handshakes) == (3, 7)
    with pytest.raises(TypeError, match="SSLContext"):
        site.serve(ADDRESS, 0, tls="certificate.pem")
    with pytest.raises(TypeError, match="handshake_timeout"):
        site.serve(ADDRESS, 0, handshake_timeout=3)


def test_the_class_of_the_server_can_be_set(site: Site) -> None:
    class OwnTlsServer(TlsServer):
        pass

    class OwnServer(HttpServer):
        tls_server_class = OwnTlsServer

    assert isinstance(HttpServer(ADDRESS, 0, site.loop).tcp_server, TcpServer)
    server = OwnServer(ADDRESS, 0, site.loop, tls=serving())
    assert isinstance(server.tcp_server, OwnTlsServer)
    site.loop.stop()


def begin(site: Site, server: HttpServer, data: bytes) -> socket.socket:
    """A client that has sent `data`, and that the server has accepted."""
    sock = site.connect(server)
    before = server.tcp_server.active_connections
    sock.sendall(data)
    site.run_loop(site.loop, lambda: server.tcp_server.active_connections > before)
    return sock


@pytest.mark.parametrize("graceful", [False, True], ids=["at once", "after a graceful one"])
def test_a_shutdown_resets_hand_shakes_that_are_under_way(site: Site, graceful: bool) -> None:
    server = site.serve(ADDRESS, 0, tls=serving())
    with begin(site, server, b"\x16\x03\x01") as sock:
        if graceful:
            server.graceful_shutdown()
        server.shutdown()
        site.run_loop(site.loop, lambda: site.heard)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert site.heard == [("stop",)]
    assert server.tcp_server.active_connections == 0


def check_last(site: Site, got: bytes) -> None:
    """It is an answer that ends its connection, and the server has stopped after it."""
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in got
    site.run_loop(site.loop, lambda: site.heard)
    assert site.heard == [("stop",)]


def test_a_graceful_shutdown_answers_a_client_whose_hand_shake_is_under_way(site: Site) -> None:
    server = site.serve(ADDRESS, 0, tls=serving())
    peer = Bytes(trusting(), NAME)
    with begin(site, server, peer.shake()) as sock:
        server.graceful_shutdown()

        def ask() -> bytes:
            sock.sendall(peer.shake(sock.recv(65536)) + peer.say(REQUEST))
            got = b""
            while True:
                try:
                    while data := peer.secure.read():
                        got += data
                    return got
                except ssl.SSLWantReadError:
                    peer.incoming.write(sock.recv(65536))

        got = site.call(ask)
    check_last(site, got)


@pytest.mark.parametrize("arrived", [False, True], ids=["in the queue", "idle"])
def test_a_graceful_shutdown_answers_a_client_that_was_there_before(
    site: Site, arrived: bool
) -> None:
    server = site.serve(ADDRESS, 0, tls=serving())
    site.loop.run_once()
    with site.connect(server) as sock:

        def shake() -> ssl.SSLSocket:
            return trusting().wrap_socket(sock, server_hostname=NAME, do_handshake_on_connect=True)

        secure = site.call(shake) if arrived else None
        server.graceful_shutdown()
        with secure or site.call(shake) as secure:
            got = site.call(lambda: converse(secure, 1))
    check_last(site, got)


@pytest.mark.parametrize("secure", [False, True], ids=["PROXY header", "handshake"])
def test_a_graceful_shutdown_ends_when_the_last_client_has_failed_to_come(
    site: Site, secure: bool
) -> None:
    how: dict[str, Any] = {"tls": serving()} if secure else {"proxy_protocol": [ADDRESS]}
    server = site.serve(ADDRESS, 0, **how)
    server.remove_listeners("exchange")
    tunnels: list[Any] = []
    server.on("exchange", lambda exchange: tunnels.append(exchange.upgrade(b"", [])))

    def tunnel() -> socket.socket:
        sock = site.connect(server)
        if secure:
            sock = trusting().wrap_socket(sock, server_hostname=NAME)
        else:
            sock.sendall(b"PROXY UNKNOWN\r\n")
        sock.sendall(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
        sock.recv(65536)
        return sock

    with site.call(tunnel), begin(site, server, b"") as sock:  # a tunnel is the program's to end
        server.graceful_shutdown()
        sock.sendall(REQUEST)  # which is neither
        site.run_loop(site.loop, lambda: ("stop",) in site.heard)
        assert server.tcp_server.active_connections == 1
    tunnels[0].abort()


# -- Unix sockets ---------------------------------------------------------------------------------


def test_a_unix_socket_with_permissions(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = site.serve(f"unix:{path}", 0, mode=0o620)
    assert stat.S_IMODE(path.stat().st_mode) == 0o620
    assert b"None ''" in site.ask(server)
    server.shutdown()
    site.run_loop(site.loop, lambda: not path.exists())


def test_tls_on_a_unix_socket(site: Site, tmp_path: Path) -> None:
    server = site.serve(f"unix:{tmp_path}/socket", 0, tls=serving())
    assert b"TLSv1.3 ''" in site.ask(server, trusting())


def test_a_file_that_nobody_listens_on_is_replaced(site: Site, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    server = site.serve(f"unix:{path}", 0)
    assert b"200 OK" in site.ask(server)
    with pytest.raises(OSError, match="in use"):
        site.serve(f"unix:{path}", 0)


# -- PROXY headers --------------------------------------------------------------------------------

HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n"


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_proxy_says_who_the_client_is(site: Site, secure: bool) -> None:
    tls = serving() if secure else None
    server = site.serve(ADDRESS, 0, tls=tls, proxy_protocol=["127.0.0.0/8"])
    got = site.ask(server, trusting() if secure else None, HEADER, requests=2)
    assert got.count(b"('192.0.2.7', 1234)") == 2
    assert site.seen[0].http_conn.address == ("192.0.2.7", 1234)


@pytest.mark.parametrize(
    ("trusted", "first"),
    [(["127.0.0.0/8"], b""), (["10.0.0.0/8"], HEADER)],
    ids=["no-header", "not-trusted"],
)
def test_nobody_else_gets_through(site: Site, trusted: list[str], first: bytes) -> None:
    server = site.serve(ADDRESS, 0, proxy_protocol=trusted)
    assert isinstance(site.ask(server, None, first), (AssertionError, OSError))
    assert site.seen == []


# -- inherited sockets ----------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_socket_that_is_there(site: Site, secure: bool) -> None:
    sock = socket.create_server((ADDRESS, 0))
    port = sock.getsockname()[1]
    server = site.serve(None, None, sock=sock, tls=serving() if secure else None)
    assert server.address == (ADDRESS, port)
    assert b"200 OK" in site.ask(server, trusting() if secure else None)


def test_servers_that_share_a_port(site: Site) -> None:
    one = site.serve(ADDRESS, 0, reuse_port=True)
    other = site.serve(ADDRESS, host_and_port(one)[1], reuse_port=True)
    assert one.address == other.address
    for _ in range(5):
        assert b"200 OK" in site.ask(one)
