"""What one request costs in Python alone: the server, and the proxy, over sockets that do nothing.

No kernel, no network, no second process: the figure repeats within a few percent where a live
server drifts by a quarter. It is for comparing two versions of the code, not for claims.

    python -m bench.inprocess [server|proxy] [--fields 1|12] [--tls] [--no-caches] [--requests N]
        [--profile]

With `--no-caches` no whole lines of earlier messages are kept: a load that says always the same
finds its lines in the tables, and that of a real day does so less often. With `--tls` OpenSSL's
work on the server's side is included, and the client's is done beforehand.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import clients
from thor.events import EventEmitter
from thor.http import HttpServer
from thor.http.wire import fields, writer
from thor.loop import LoopBase, make
from thor.loop.poller import READABLE
from thor.proxy import ReverseProxy, Upstream
from thor.proxy.reverse import ProxyClient
from thor.tcp import TcpConnection
from thor.tls import TlsConnection, server_context

CONNECTIONS = 64
FIRST_CLIENT = 1_000_000
FIRST_ORIGIN = 2_000_000

ONE_FIELD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"
TWELVE_FIELDS = (
    b"GET /articles/2024/05/performance?page=2&sort=date HTTP/1.1\r\n"
    b"Host: www.example.org:8080\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8\r\n"
    b"Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Referer: https://www.example.org/articles/2024/05/\r\n"
    b"Cookie: session=3f1c9b7a5d2e4f60b8a1c3d5e7f90213; theme=dark; consent=yes; visits=17\r\n"
    b"Sec-Fetch-Dest: document\r\n"
    b"Sec-Fetch-Mode: navigate\r\n"
    b"Sec-Fetch-Site: same-origin\r\n"
    b"Sec-Fetch-User: ?1\r\n"
    b"Cache-Control: max-age=0\r\n"
    b"\r\n"
)


class CannedSocket:
    """A socket on which the same request arrives each time it is read."""

    def __init__(self, fd: int, request: bytes) -> None:
        self._fd = fd
        self.request = request
        self.sent = 0

    def fileno(self) -> int:
        return self._fd

    def recv(self, size: int) -> bytes:
        return self.request

    def send(self, data: bytes) -> int:
        self.sent += 1
        return len(data)

    def sendmsg(self, chunks: list[bytes]) -> int:
        return sum(map(len, chunks))

    def setsockopt(self, *args: Any) -> None:
        pass

    def close(self) -> None:
        pass


RESPONSE = (
    b"HTTP/1.1 200 OK\r\n"
    b"Server: nginx/1.22.1\r\n"
    b"Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
    b"Content-Type: application/octet-stream\r\n"
    b"Content-Length: 13\r\n"
    b"Connection: keep-alive\r\n"
    b"\r\n"
    b"Hello, world!"
)


class OriginSocket(CannedSocket):
    """A socket on which the response arrives once a request was sent."""

    def __init__(self, fd: int, poller: AlwaysReady) -> None:
        super().__init__(fd, RESPONSE)
        self._poller = poller

    def send(self, data: bytes) -> int:
        self._poller.answers.append((self._fd, READABLE))
        return len(data)


class AlwaysReady:
    """A poller for which every connection is readable, until the count of requests is reached."""

    name = "always"

    def __init__(self, requests: int) -> None:
        self.left = requests
        self.loop: LoopBase | None = None
        self.events: list[tuple[int, int]] = []
        self.answers: list[tuple[int, int]] = []  # of the origins, which go first

    def register(self, fd: int, bits: int) -> None:
        if FIRST_CLIENT <= fd < FIRST_ORIGIN:
            self.events.append((fd, READABLE))

    def modify(self, fd: int, bits: int) -> None:
        pass

    def unregister(self, fd: int) -> None:
        pass

    def poll(self, timeout_s: float | None) -> list[tuple[int, int]]:
        if self.answers:
            answers, self.answers = self.answers, []
            return answers
        self.left -= len(self.events)
        if self.left <= 0 and self.loop is not None:
            self.loop.stop()
        return self.events

    def close(self) -> None:
        pass


class Listening:
    """Stands for a TCP server: hands out connections over canned sockets."""

    address = ("in-process", 0)

    def __init__(self, host: str, port: int, loop: LoopBase) -> None:
        pass

    def on(self, event: str, listener: Any) -> None:
        setattr(self, event, listener)

    def close(self) -> None:
        pass


def answer(exchange: Any) -> None:
    """Answer as the documented example does: thirteen bytes."""

    def request_start(method: bytes, uri: bytes, headers: Any) -> None:
        exchange.response_start(
            200, "OK", [("Content-Type", "text/plain"), ("Content-Length", "13")]
        )
        exchange.response_body(b"Hello, world!")
        exchange.response_done([])

    exchange.on("request_start", request_start)


def serve(poller: AlwaysReady, loop: LoopBase, answer: Any = answer) -> HttpServer:
    """Return a server that answers each request itself."""

    class Server(HttpServer):
        tcp_server_class: Any = Listening

    return Server("in-process", 0, loop).on("exchange", answer)


def forward(
    poller: AlwaysReady, loop: LoopBase, origin_socket: type[OriginSocket] = OriginSocket
) -> HttpServer:
    """Return a reverse proxy between the clients and origins that answer at once."""

    class Connecting(EventEmitter):
        check_ip = None
        count = 0

        def __init__(self, loop: LoopBase) -> None:
            pass

        def connect(self, host: str, port: int, timeout: float | None = None) -> None:
            Connecting.count += 1
            sock: Any = origin_socket(FIRST_ORIGIN + Connecting.count, poller)
            loop.call_soon(self.emit, "connect", TcpConnection(sock, (host, port), loop))

    class Server(HttpServer):
        tcp_server_class: Any = Listening

    class Client(ProxyClient):
        tcp_client_class: Any = Connecting

    class Proxy(ReverseProxy):
        server_class = Server
        client_class = Client

    return Proxy("in-process", 0, Upstream(["http://127.0.0.1:9001"]), loop).server


# -- TLS ----------------------------------------------------------------------------------------


class RecordSocket(CannedSocket):
    """A socket on which the same request arrives each time, encrypted anew."""

    def __init__(self, fd: int, request: bytes) -> None:
        super().__init__(fd, request)
        self.records: Iterator[bytes] = iter(())

    def recv(self, size: int) -> bytes:
        return next(self.records)


def connect_secure(context: ssl.SSLContext, requests: int) -> Callable[..., TlsConnection]:
    """Return what makes a connection that has shaken hands, with so many requests to come."""

    def connect(sock: RecordSocket, address: Any, loop: LoopBase) -> TlsConnection:
        plain: Any = sock
        conn = TlsConnection(plain, address, loop)
        conn.tls.start(lambda incoming, outgoing: context.wrap_bio(incoming, outgoing, True))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = clients.tls_context().wrap_bio(incoming, outgoing, server_hostname=clients.NAME)
        ssl_object = conn.tls.ssl_object
        assert ssl_object is not None
        for side in (client, ssl_object, client, ssl_object):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            conn.tls.feed(outgoing.read())
            incoming.write(conn.tls.take())
        records = []
        for _ in range(requests):
            client.write(sock.request)
            records.append(outgoing.read())
        sock.records = iter(records)
        return conn

    return connect


# -- running ------------------------------------------------------------------------------------


def clear_line_cache() -> None:
    """Have the parser and the writer keep no whole lines of earlier messages."""
    fields._MAX_LINE_BYTES = writer._MAX_LINE_BYTES = writer._MAX_LENGTH_DIGITS = -1
    fields._line_cache.clear()
    writer._line_cache.clear()


def run(
    make_server: Any,
    request: bytes,
    requests: int,
    make_socket: Callable[[int, bytes], CannedSocket] = CannedSocket,
    connect: Callable[..., TcpConnection] = TcpConnection,
) -> float:
    """Have `requests` requests answered. Returns: microseconds of CPU for each"""
    poller = AlwaysReady(requests)
    loop = make(backend=poller)
    loop.on_exception = "raise"
    poller.loop = loop
    server = make_server(poller, loop)
    sockets = [make_socket(FIRST_CLIENT + n, request) for n in range(CONNECTIONS)]
    for sock in sockets:
        server.tcp_server.connect(connect(sock, ("127.0.0.1", 1), loop))
    gc.collect()
    began = time.process_time()
    loop.run()
    took = time.process_time() - began
    return took / sum(sock.sent for sock in sockets) * 1e6


def run_secure(make_server: Any, request: bytes, requests: int) -> float:
    """Run the same with TLS."""
    with tempfile.TemporaryDirectory() as folder:
        context = server_context(*clients.make_certificate(Path(folder)))
    each = -(-requests // CONNECTIONS)
    return run(make_server, request, requests, RecordSocket, connect_secure(context, each))


def main() -> None:
    """Print the figure, and where the time goes if asked."""
    parser = argparse.ArgumentParser(prog="bench.inprocess", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("what", nargs="?", choices=("server", "proxy"), default="server")
    add("--fields", type=int, choices=(1, 12), default=1)
    add("--tls", action="store_true", help="clients speak TLS")
    add("--no-caches", action="store_true", help="keep no lines of earlier messages")
    add("--requests", type=int, default=200_000)
    add("--repeat", type=int, default=5)
    add("--profile", action="store_true", help="print the profile of one run")
    add("--figure", action="store_true", help="print the figure and nothing else")
    options = parser.parse_args()
    make_server = serve if options.what == "server" else forward
    request = ONE_FIELD if options.fields == 1 else TWELVE_FIELDS
    run_once = run_secure if options.tls else run
    if options.no_caches:
        clear_line_cache()
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(run_once, make_server, request, options.requests // 10)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return
    figures = sorted(
        run_once(make_server, request, options.requests) for _ in range(options.repeat)
    )
    if options.figure:
        print(figures[0])
        return
    notes = ", TLS" * options.tls + ", no caches" * options.no_caches
    print(
        f"{options.what}, {options.fields} field(s){notes}: {figures[0]:.2f} us/request"
        f" (best of {options.repeat}; worst {figures[-1]:.2f})"
    )


if __name__ == "__main__":
    main()
