"""What the tests of connections share: real sockets whose other end the test itself plays.

Owns: raw sockets and what is done with them from outside a loop. Must not know any test.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from thor.loop import LoopBase
from thor.tcp import TcpConnection

#: Blocking calls of a peer that a test plays end by then; nothing waits for it otherwise.
PEER_LIMIT_S = 10.0

#: All that a connection can emit to a program, in the order of the docstring.
EVENTS = ("data", "end", "pause", "hangup", "close", "disconnect")


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


class Owner:
    """A layer above a connection that keeps what it is told, in `calls`."""

    def __init__(self, conn: TcpConnection) -> None:
        self.calls: list[tuple[Any, ...]] = []
        conn._owner = self

    def data(self, data: bytes) -> None:
        self.calls.append(("data", data))

    def end(self) -> None:
        self.calls.append(("end",))

    def pause(self, paused: bool) -> None:
        self.calls.append(("pause", paused))

    def stuck(self) -> None:
        self.calls.append(("stuck",))

    def hangup(self) -> None:
        self.calls.append(("hangup",))

    def close(self, exc: OSError | None) -> None:
        self.calls.append(("close", type(exc)))

    def disconnect(self) -> None:
        self.calls.append(("disconnect",))

    def failed(self, exc: BaseException) -> None:
        self.calls.append(("failed", type(exc)))
