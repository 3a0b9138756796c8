"""What the tests of connections share: real sockets whose other end the test itself plays.

Owns: raw sockets and what is done with them from outside a loop. Must not know any test.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import pytest

from thor.loop import LoopBase
from thor.tcp import TcpClient, TcpConnection, TcpServer
from thor.testing import MemorySocket, Recorder
from thor.types import Address
from thor_support import run_loop

MIB = 1 << 20
#: Blocking calls of a peer that a test plays end by then; nothing waits for it otherwise.
PEER_LIMIT_S = 10.0

#: What a client tells of a port that nobody listens on.
REFUSED = (socket.error, errno.ECONNREFUSED)

#: All that a connection can emit to a program, in the order of the docstring.
EVENTS = ("data", "end", "pause", "hangup", "close", "disconnect")


#: All that a server can emit.
SERVER_EVENTS = ("start", "connect", "accept_paused", "accept_resumed", "stop")


class Heard(Recorder):
    """All that a connection emits to a program."""

    def __init__(self, conn: TcpConnection) -> None:
        super().__init__(conn, *EVENTS)

    def names(self) -> list[str]:
        """The events' names, in order."""
        return [event[0] for event in self.events]


class Listens(Protocol):
    """What has an address: a server, an endpoint, a proxy."""

    @property
    def address(self) -> Address | None:
        """Return where it listens."""


def port_of(server: Listens) -> int:
    """Return the port that a server listens on."""
    assert isinstance(server.address, tuple)
    return int(server.address[1])


def memory_socket(conn: TcpConnection) -> MemorySocket:
    """Return the socket of a connection in memory."""
    sock: object = conn.socket
    assert isinstance(sock, MemorySocket)
    return sock


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets of the loopback interface, both blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname(), timeout=PEER_LIMIT_S)
        theirs, _ = listening.accept()
    theirs.settimeout(PEER_LIMIT_S)
    return ours, theirs


@contextmanager
def played(loop: LoopBase) -> Iterator[tuple[TcpConnection, socket.socket]]:
    """A connection of `loop` and its peer, a raw socket; both are closed at the end."""
    ours, theirs = socket_pair()
    ours.setblocking(False)
    conn = TcpConnection(ours, theirs.getsockname(), loop)
    try:
        yield conn, theirs
    finally:
        theirs.close()
        conn.abort()
        loop.run_once()


def reset(sock: socket.socket) -> None:
    """Close a socket so that its peer gets a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_all(sock: socket.socket) -> bytes:
    """What a peer gets until the end of the stream."""
    pieces = []
    while piece := sock.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def fail_accepts(
    monkeypatch: pytest.MonkeyPatch, *codes: int, for_ever: bool = False, after: int = 0
) -> list[None]:
    """Have `accept` fail with these errors, then work again; what is returned counts the calls.

    codes: 0 is a call that works; after: so many calls work before
    """
    left = list(codes)
    calls: list[None] = []
    real = socket.socket.accept

    def accept(sock: socket.socket) -> Any:
        calls.append(None)
        code = 0
        if left and len(calls) > after:
            code = left[0] if for_ever else left.pop(0)
        if code:
            raise OSError(code, os.strerror(code))
        return real(sock)

    monkeypatch.setattr(socket.socket, "accept", accept)
    return calls


class Owner:
    """A layer above a connection that keeps what it is told, in `calls`."""

    def __init__(self, conn: TcpConnection) -> None:
        self.calls: list[tuple[Any, ...]] = []
        conn.owner = self

    def data(self, data: bytes) -> None:
        self.calls.append(("data", data))

    def end(self) -> None:
        self.calls.append(("end",))

    def pause(self, paused: bool) -> None:
        self.calls.append(("pause", paused))

    def write_blocked(self) -> None:
        self.calls.append(("stuck",))

    def hangup(self) -> None:
        self.calls.append(("hangup",))

    def close(self, exc: OSError | None) -> None:
        self.calls.append(("close", type(exc)))

    def disconnect(self) -> None:
        self.calls.append(("disconnect",))

    def failed(self, exc: BaseException) -> None:
        self.calls.append(("failed", type(exc)))


class Dialler:
    """A client, and what it emits."""

    def __init__(self, loop: LoopBase, check_ip: Callable[[str], bool] | None = None) -> None:
        self.loop = loop
        self.client = TcpClient(loop)
        self.heard = Recorder(self.client, "connect", "connect_error")
        if check_ip is not None:
            self.client.check_ip = check_ip

    def connect(self, *args: Any) -> Any:
        """Connect, and run the loop until it is known what comes of it."""
        self.client.connect(*args)
        assert self.heard.events == []
        run_loop(self.loop, lambda: self.heard.events)
        [(event, *rest)] = self.heard.take()
        return rest[0] if event == "connect" else tuple(rest)


class Party:
    """A server on the loopback interface, what it emits, and clients that the test plays."""

    def __init__(self, loop: LoopBase, stack: ExitStack) -> None:
        self.loop = loop
        self.stack = stack
        self.conns: list[TcpConnection] = []
        self.server = self.serve("127.0.0.1", 0)
        self.heard = Recorder(self.server, *SERVER_EVENTS)

    def serve(self, host: Any, port: Any, **settings: Any) -> TcpServer:
        server = TcpServer(host, port, self.loop, **settings)
        self.stack.callback(server.shutdown)
        server.on("connect", self.conns.append)
        return server

    def dial(self, server: TcpServer | None = None) -> socket.socket:
        """A client of the server; the kernel connects it before the server accepts."""
        address: Any = (server or self.server).address
        family = socket.AF_INET
        if isinstance(address, str):
            family = socket.AF_UNIX
        elif ":" in address[0]:
            family = socket.AF_INET6
        client = self.stack.enter_context(socket.socket(family))
        client.settimeout(PEER_LIMIT_S)
        client.connect(address)
        return client

    def meet(self) -> tuple[socket.socket, TcpConnection]:
        """A client, and the server's connection to it."""
        count = len(self.conns)
        client = self.dial()
        run_loop(self.loop, lambda: len(self.conns) > count)
        return client, self.conns[-1]

    def names(self) -> list[str]:
        return [event[0] for event in self.heard.events]

    def turns(self, count: int = 3) -> None:
        for _ in range(count):
            self.loop.run_once()
