"""A proxy in memory, whose browser and origins the test plays.

Owns: the parts and their names. Must not know what a test wants of them.
"""

from __future__ import annotations

from typing import Any, Self

from thor.http import HttpServer
from thor.proxy import ReverseProxy, Upstream
from thor.tcp import TcpConnection, TcpServer
from thor.testing import MemoryNetwork, Peer, Playbook

#: A date for the origins' responses.
DATE = b"Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
#: What the proxy adds to a request of its browser's.
ADDED = (
    b"X-Forwarded-For: 127.0.0.1\r\n"
    b"X-Forwarded-Proto: http\r\n"
    b"X-Forwarded-Host: site\r\n"
    b"Via: 1.1 fred\r\n"
)


class ProxyHarness(Playbook):
    """A proxy in memory: `browser` talks to it, and it talks to the origins.

    The first connection to origin `a` is played as `a`, the next ones as `a2`, `a3`.
    """

    def __init__(self, *origins: str, **settings: Any) -> None:
        """origins: their names; settings: keyword arguments for the proxy"""
        self.network = MemoryNetwork()
        self.loop = self.network.loop
        super().__init__(self.loop)
        self.peers: dict[str, Peer] = {}
        tcp_server_class = self.network.tcp_server_class
        server_class = type("_Server", (HttpServer,), {"tcp_server_class": tcp_server_class})
        proxy_class = type("_Proxy", (ReverseProxy,), {"server_class": server_class})
        names = origins or ("a",)
        self.upstream = Upstream([f"http://{name}" for name in names])
        settings = {"pseudonym": "fred", **settings}
        self.proxy: ReverseProxy = proxy_class("proxy", 80, self.upstream, self.loop, **settings)
        self.proxy.client.tcp_client_class = self.network.tcp_client_class
        self.proxy.server.send_date = False  # so that what it sends is the same at any time
        self.origins = {name: self._open(name) for name in names}
        self.connect("browser")

    def _open(self, name: str) -> TcpServer:
        origin: TcpServer = self.network.tcp_server_class(name, 80)
        origin.on("connect", lambda conn: self._accept(name, conn))
        return origin

    def _accept(self, name: str, conn: TcpConnection) -> None:
        number = 1 + sum(known.rstrip("0123456789") == name for known in self.peers)
        self._play(name if number == 1 else f"{name}{number}", conn)

    def _play(self, name: str, conn: TcpConnection) -> None:
        self.peers[name] = Peer(self.loop, conn)
        self.peer(name, self.peers[name])

    def connect(self, name: str) -> Self:
        """Connect another browser."""
        self._play(name, self.network.connect("proxy", 80))
        return self

    def refuse(self, name: str) -> Self:
        """Have an origin stop listening: connections to it are refused."""
        self.origins[name].close()
        return self


def got(path: str = "/", fields: bytes = b"", method: str = "GET", host: bytes = b"site") -> bytes:
    """The request that an origin gets: the browser's own fields, then what the proxy adds."""
    line = f"{method} {path} HTTP/1.1\r\n".encode()
    return line + b"Host: " + host + b"\r\n" + fields + ADDED + b"\r\n"


def get(path: str = "/", fields: bytes = b"", method: str = "GET") -> bytes:
    """A browser's request."""
    return f"{method} {path} HTTP/1.1\r\nHost: site\r\n".encode() + fields + b"\r\n"


def ok(body: bytes = b"", fields: bytes = b"") -> bytes:
    """An origin's response."""
    length = b"Content-Length: %d\r\n" % len(body)
    return b"HTTP/1.1 200 OK\r\n" + DATE + length + fields + b"\r\n" + body


def passed(response: bytes) -> bytes:
    """What the browser gets of it."""
    head, _, body = response.partition(b"\r\n\r\n")
    return head + b"\r\nVia: 1.1 fred\r\n\r\n" + body


def own(status: int, phrase: str, error: str) -> bytes:
    """An answer of the proxy's own."""
    body = phrase.encode() + b"\n"
    return (
        (
            f"HTTP/1.1 {status} {phrase}\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            f"Proxy-Status: fred; error={error}\r\n"
            f"Content-Length: {len(body)}\r\n"
        ).encode()
        + b"\r\n"
        + body
    )
