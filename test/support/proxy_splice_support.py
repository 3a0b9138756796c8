"""A proxy over real sockets; the test plays the client, `browser`, and the origin.

Owns: the sockets, and the heads. Must not know any test.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from splice_support import carry, fill, run_beside, take
from tcp_support import PEER_LIMIT_S

from thor.http.client.pool import pool_of
from thor.loop import LoopBase
from thor.proxy import Flow, ReverseProxy, Upstream
from thor.tcp import TcpConnection
from thor.testing import ManualClock
from thor_support import run_loop

END = b"\r\n\r\n"


class SpliceHarness:
    """`browser`, a proxy, `origin`: the first connection to it, once there is one.

    flows: those that are done; conns: the connections of the proxy, that to the browser first
    """

    def __init__(self, loop: LoopBase, buffer_bytes: int = 0, *, with_flows: bool = True) -> None:
        """buffer_bytes: of what the browser and the origin receive; 0 leaves it to the system"""
        self.loop = loop
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.setblocking(False)
        self.browser = socket.socket()
        if buffer_bytes:
            for sock in (self.listening, self.browser):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        where = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.proxy = ReverseProxy("127.0.0.1", 0, Upstream([where]), loop)
        self.flows: list[Flow] = []
        if with_flows:
            self.proxy.on("done", self.flows.append)
        self.browser.settimeout(PEER_LIMIT_S)
        self.browser.connect(self.proxy.address)
        self.origins: list[socket.socket] = []

    @property
    def origin(self) -> socket.socket:
        return self.origins[0]

    @property
    def conns(self) -> list[TcpConnection]:
        """The proxy's connections, the browser's first."""
        found = self.loop.registered_fd_handlers()
        conns = [source for source in found if isinstance(source, TcpConnection)]
        return sorted(conns, key=lambda conn: conn.address[1] == self.listening.getsockname()[1])

    def send_head(self, request: bytes) -> bytes:
        """Send a head from the browser. Returns: the head that arrives at the origin"""
        self.browser.sendall(request)
        got = bytearray()

        def step() -> bool:
            self._accept()
            for sock in self.origins:
                take(sock, got)
            return got.endswith(END)

        run_beside(self.loop, step)
        return bytes(got)

    def _accept(self) -> None:
        try:
            sock, _ = self.listening.accept()
        except BlockingIOError:
            return
        self.origins.append(sock)

    def send_downstream(self, data: bytes, size: int) -> bytes:
        """Send from the origin. Returns: the browser's `size` bytes, or all until EOF"""
        return carry(self.loop, self.origin, self.browser, data, size)

    def send_upstream(self, data: bytes, size: int) -> bytes:
        """Send from the browser. Returns: the origin's `size` bytes, or all until EOF"""
        return carry(self.loop, self.browser, self.origin, data, size)

    def fill(self, source: socket.socket) -> int:
        """Send to a peer that does not read, until the proxy does not read either."""
        number = 0 if source is self.browser else 1
        return fill(self.loop, source, lambda: self.conns[number].read_paused)

    def advance(self, seconds: float) -> None:
        """Advance the `ManualClock` of the loop."""
        clock: Any = self.loop.clock
        assert isinstance(clock, ManualClock)
        clock.advance(seconds)
        for _ in range(4):
            self.loop.run_once()

    def run_until(self, condition: Callable[[], object]) -> None:
        """Run until `condition()` is true."""
        run_beside(self.loop, condition)

    def close(self) -> None:
        """Close everything that is open."""
        for sock in (self.browser, self.listening, *self.origins):
            sock.close()
        if self.loop.fd_count():
            self.proxy.shutdown()
            for group in pool_of(self.loop).origin_pools.values():
                for connection in list(group.idle):
                    connection.close_idle()
            run_loop(self.loop, lambda: self.loop.fd_count() == 0)
            self.loop.run_once()


def response(size: int, fields: bytes = b"", version: bytes = b"1.1") -> bytes:
    """Return the head of a response with a body of so many bytes."""
    return b"HTTP/%b 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (version, size, fields)


def split(message: bytes) -> tuple[bytes, bytes]:
    """Return the head and the body of a message."""
    head, _, body = message.partition(END)
    return head, body
