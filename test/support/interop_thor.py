"""Clients and servers of Thor's that talk to foreign programs from the loop of a test.

Owns: certificates as files, an `HttpClient` and a `TlsClient` whose answers are waited for, a
`TlsServer` that echoes, and PROXY headers that every receiver has to read. Must not know any test,
nor any program.
"""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from interop_data import pattern_pieces
from interop_support import LIMIT_S
from tcp_support import port_of
from tls_support import ADDRESS, NAME, authority, issued, outcome, serving

from thor.http import HttpClient, HttpClientExchange, get_header
from thor.http.client.fetch import Fetch, Response
from thor.loop import LoopBase
from thor.tcp import ProxyHeader, ProxySsl, TcpClient
from thor.tcp.proxy_tlvs import (
    AUTHORITY,
    CLIENT_SSL,
    CRC32C,
    NETNS,
    NOOP,
    PP2_TYPE_ALPN,
    SSL,
    UNIQUE_ID,
)
from thor.testing import Recorder
from thor.tls import TlsClient, TlsConnection, TlsServer
from thor.types import HeadersIn, RawHeaders
from thor_support import (
    run_loop,
)

T = TypeVar("T")


class Certificates(NamedTuple):
    """Certificates of the tests' authority, as files."""

    folder: Path
    ca: str
    certificate: str
    key: str
    client: str
    client_key: str
    #: The server's certificate and key in one file.
    both: str

    @property
    def options(self) -> tuple[str, ...]:
        """The arguments of a command that speaks TLS."""
        return ("--certificate", self.certificate, "--key", self.key)


def make_certificates(folder: Path) -> Certificates:
    """Write certificates of a server, `localhost`, and of a client into a folder."""
    (folder / "ca").write_bytes(authority().certificate)
    served = issued(NAME, ADDRESS)
    (folder / "both").write_bytes(served.certificate + served.key)
    server = served.write(folder, "server")
    client = issued("a client", client=True).write(folder, "client")
    return Certificates(folder, str(folder / "ca"), *server, *client, str(folder / "both"))


class Fetcher:
    """An `HttpClient` whose responses are waited for."""

    def __init__(self, loop: LoopBase) -> None:
        self.loop, self.client = loop, HttpClient(loop)

    def fetch(self, url: str, method: str = "GET", headers: HeadersIn = ()) -> Response:
        """Make one request."""
        [response] = self._wait([self.client.fetch(url, method, headers)])
        return response

    def fetch_all(self, urls: Sequence[str]) -> list[Response]:
        """Make requests at the same time."""
        return self._wait([self.client.fetch(url) for url in urls])

    def _wait(self, fetches: Sequence[Fetch]) -> list[Response]:
        recorders = [Recorder(fetch, "response", "error") for fetch in fetches]
        run_loop(self.loop, lambda: all(each.events for each in recorders), timeout_s=20)
        ends = [event for each in recorders for event in each.events]
        assert {event for event, _ in ends} == {"response"}, ends
        return [response for _, response in ends]

    def upload(self, url: str, size: int, headers: Sequence[tuple[str, str]], length: bool) -> Any:
        """Send so many bytes of the pattern, in pieces. Returns: the response's body, from JSON

        length: send Content-Length; False sends chunks
        """
        upload = _Upload(self.client.exchange(), size)
        own = [("Content-Length", str(size))] if length else []
        upload.exchange.request_start("PUT", url, [*headers, *own])
        upload.pause(False)
        run_loop(self.loop, lambda: upload.is_over, timeout_s=20)
        assert upload.failure is None
        return json.loads(upload.body)


class _Upload:
    """The sink of an exchange that sends pieces as they are taken."""

    def __init__(self, exchange: HttpClientExchange, size: int) -> None:
        self.exchange = exchange
        self.body = b""
        self.is_over = False
        self.failure: Exception | None = None
        self._pieces = pattern_pieces(size)
        self._sent = False
        exchange.sink(self)

    def pause(self, paused: bool) -> None:
        while not paused and not self._sent:
            piece = next(self._pieces, None)
            if piece is None:
                self._sent = True
                self.exchange.request_done([])
            else:
                paused = not self.exchange.request_body(piece)

    def response_body(self, chunk: bytes) -> None:
        self.body += chunk

    def response_done(self, trailers: RawHeaders) -> None:
        self.is_over = True

    def error(self, failure: Exception) -> None:
        self.failure, self.is_over = failure, True


def field_of(response: Response, name: str) -> str:
    """Return the value of the field that a response has exactly once."""
    [value] = get_header(response.headers, name.encode())
    return value.decode()


class TlsAsker:
    """A TLS client that makes one request at a time."""

    def __init__(self, loop: LoopBase, port: int, context: ssl.SSLContext) -> None:
        self.loop, self.port, self.context = loop, port, context

    def connect(self) -> Any:
        """Connect. Returns: the connection, or the arguments of `connect_error`"""
        client = TlsClient(self.loop)
        client.context, client.server_hostname = self.context, NAME
        return outcome(client, lambda: client.connect(ADDRESS, self.port, 20))

    def ask(self) -> tuple[TlsConnection, bytes]:
        """Make a request. Returns: the connection, which has ended, and the answer"""
        conn = self.connect()
        assert isinstance(conn, TlsConnection), conn
        heard = Recorder(conn, "data", "disconnect")
        conn.write(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        conn.pause(False)
        run_loop(self.loop, lambda: ("disconnect",) in heard.events)
        return conn, b"".join(event[1] for event in heard.events if event[0] == "data")


class TlsEcho:
    """A TLS server that answers a request with what it knows of the connection, as JSON; to any
    other line with that line, and to `bye` by closing."""

    def __init__(self, loop: LoopBase, **settings: Any) -> None:
        """settings: what `server_context` takes"""
        self.loop = loop
        self.context = serving(**settings)
        self.conns: list[TlsConnection] = []

    def __enter__(self) -> Self:
        self._server = TlsServer(ADDRESS, 0, self.loop, context=self.context)
        self._server.on("connect", self.serve)
        self.port = port_of(self._server)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        run_loop(self.loop, lambda: not self._server.active_connections)

    def serve(self, conn: TlsConnection) -> None:
        """Answer on a connection."""
        self.conns.append(conn)
        facts = {
            "version": conn.tls_version,
            "alpn": conn.alpn,
            "name": conn.server_name,
            "reused": conn.session_reused,
            "client": conn.peer_certificate is not None,
        }
        body = json.dumps(facts)

        def answer(data: bytes) -> None:
            if data.endswith(b"\r\n\r\n"):
                conn.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}")
            elif data == b"bye\n":
                conn.close()
            else:
                conn.write(b"echo of " + data)

        conn.on("data", answer)
        conn.pause(False)

    def aside(self, work: Callable[[], T]) -> T:
        """Return what `work()` returns, which is done in a thread while this serves."""
        results: list[tuple[Any, BaseException | None]] = []
        self.loop.run_in_thread(work, then=lambda done, exc: results.append((done, exc)))
        run_loop(self.loop, lambda: results, timeout_s=LIMIT_S + 5)
        [(done, exc)] = results
        if exc is not None:
            raise exc
        return done  # type: ignore[no-any-return]

    def run(self, *argv: str) -> tuple[int, str]:
        """Run a foreign program while this serves. Returns: its exit code, and its output"""
        done = self.aside(
            lambda: subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=LIMIT_S,
                check=False,
            )
        )
        return done.returncode, done.stdout.decode("latin-1")


# -- the PROXY protocol ----------------------------------------------------------------------------

V4 = (("192.0.2.1", 1024), ("198.51.100.2", 80))
V6 = (("2001:db8::1", 1024), ("2001:db8::2", 443))
V4_HEADER = ProxyHeader(*V4, version=1)
V6_HEADER = ProxyHeader(
    *V6,
    tlvs=[
        (PP2_TYPE_ALPN, b"h2"),
        (NOOP, bytes(5)),
        (AUTHORITY, b"a.example"),
        (CRC32C, bytes(4)),
        (UNIQUE_ID, b"7"),
        (SSL, ProxySsl(CLIENT_SSL, 1, version="TLSv1.3").to_bytes()),
        (NETNS, b"blue"),
        (0xE0, b"own"),
    ],
)


def proxy_header_answer(loop: LoopBase, port: int, header: ProxyHeader) -> bytes:
    """Return what a server answers to a request behind a PROXY header; empty if it closes."""
    client = TcpClient(loop)
    client.proxy_header = header
    conn = outcome(client, lambda: client.connect(ADDRESS, port))
    said = Recorder(conn, "data", "disconnect")
    conn.write(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
    conn.pause(False)
    run_loop(loop, lambda: ("disconnect",) in said.events)
    return b"".join(event[1] for event in said.take() if event[0] == "data")
