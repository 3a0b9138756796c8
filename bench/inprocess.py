"""What one request costs in Python alone: the server, and the proxy, over sockets that do nothing.

No kernel, no network, no second process: the figure repeats within a few percent where a live
server drifts by a quarter. It is for comparing two versions of the code, not for claims.

    python -m bench.inprocess [server|proxy] [--fields 1|12] [--requests N] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import time
from typing import Any

from thor.events import EventEmitter
from thor.http import HttpServer
from thor.loop import make
from thor.loop.base import LoopBase
from thor.loop.poller import READABLE
from thor.proxy import ReverseProxy, Upstream
from thor.proxy.reverse import ProxyClient
from thor.tcp import TcpConnection

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
        self._request = request
        self.sent = 0

    def fileno(self) -> int:
        return self._fd

    def recv(self, size: int) -> bytes:
        return self._request

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
    """The program under test: thirteen bytes, as the documented example sends them."""

    def request_start(method: bytes, uri: bytes, headers: Any) -> None:
        exchange.response_start(
            200, "OK", [("Content-Type", "text/plain"), ("Content-Length", "13")]
        )
        exchange.response_body(b"Hello, world!")
        exchange.response_done([])

    exchange.on("request_start", request_start)


def serve(poller: AlwaysReady, loop: LoopBase) -> HttpServer:
    """A server that answers each request itself."""

    class Server(HttpServer):
        tcp_server_class = Listening

    return Server("in-process", 0, loop).on("exchange", answer)


def forward(poller: AlwaysReady, loop: LoopBase) -> HttpServer:
    """A reverse proxy between the clients and origins that answer at once."""

    class Connecting(EventEmitter):
        check_ip = None
        count = 0

        def __init__(self, loop: LoopBase) -> None:
            pass

        def connect(self, host: str, port: int, timeout: float | None = None) -> None:
            Connecting.count += 1
            sock: Any = OriginSocket(FIRST_ORIGIN + Connecting.count, poller)
            loop._soon(self.emit, "connect", TcpConnection(sock, (host, port), loop))

    class Server(HttpServer):
        tcp_server_class = Listening

    class Client(ProxyClient):
        tcp_client_class = Connecting

    class Proxy(ReverseProxy):
        server_class = Server
        client_class = Client

    return Proxy("in-process", 0, Upstream(["http://127.0.0.1:9001"]), loop).server


def run(make_server: Any, request: bytes, requests: int) -> float:
    """Have `requests` requests answered. Returns: microseconds of CPU for each"""
    poller = AlwaysReady(requests)
    loop = make(backend=poller)
    loop.on_exception = "raise"
    poller.loop = loop
    server = make_server(poller, loop)
    sockets = [CannedSocket(FIRST_CLIENT + n, request) for n in range(CONNECTIONS)]
    for sock in sockets:
        client: Any = sock
        server.tcp_server.connect(TcpConnection(client, ("127.0.0.1", 1), loop))
    gc.collect()
    began = time.process_time()
    loop.run()
    took = time.process_time() - began
    return took / sum(sock.sent for sock in sockets) * 1e6


def main() -> None:
    """Print the figure, and where the time goes if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("server", "proxy"), default="server")
    parser.add_argument("--fields", type=int, choices=(1, 12), default=1)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="print the profile of one run")
    options = parser.parse_args()
    make_server = serve if options.what == "server" else forward
    request = ONE_FIELD if options.fields == 1 else TWELVE_FIELDS
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(run, make_server, request, options.requests // 10)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return
    figures = sorted(run(make_server, request, options.requests) for _ in range(options.repeat))
    print(
        f"{options.what}, {options.fields} field(s): {figures[0]:.2f} us/request"
        f" (best of {options.repeat}; worst {figures[-1]:.2f})"
    )


if __name__ == "__main__":
    main()
