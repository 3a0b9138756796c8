"""Connections whose PROXY header has not been read yet.

Owns: an accepted socket until the header is read or refused. Must not know how a header is encoded
(`proxy_protocol.py` does), nor what follows it.

Theory of operation: no byte after the header may be taken from the socket, since the layer above
(TLS in particular) reads the socket itself. So bytes are peeked at (MSG_PEEK), and then those that
belong to the header are taken: all of them while it is incomplete, so that a header that comes byte
by byte does not leave the socket readable, which would spin the loop.

Most headers have arrived when the connection is accepted: the reader tries that first, before the
loop watches the socket.
"""

from __future__ import annotations

import socket as socket_module
from math import inf
from typing import TYPE_CHECKING, Protocol

from thor.loop import EventSource
from thor.loop.poller import READABLE
from thor.tcp.address import unmapped
from thor.tcp.proxy_protocol import ProxyHeader, header_length, parse_header
from thor.tcp.proxy_tlvs import ProxyHeaderError
from thor.tcp.sockets import reset_on_close
from thor.types import Address

if TYPE_CHECKING:
    from thor.loop import EventLoop
    from thor.tcp.transport import TrackedConnection

#: Most bytes that are peeked at; few headers are longer.
PEEK_BYTES = 1024


class HeaderServer(Protocol):
    """The server that has accepted the socket."""

    loop: EventLoop
    open_connections: dict[TrackedConnection, None]
    handshaking: set[TrackedConnection]

    def open_connection(
        self, sock: socket_module.socket, address: Address, header: ProxyHeader | None, /
    ) -> None:
        """Make the connection."""

    def refuse(self, sock: socket_module.socket, address: Address, reason: str, /) -> None:
        """Close the socket: it does not begin with a valid header."""

    def reject(self, sock: socket_module.socket, exc: OSError, /) -> None:
        """Close the socket: the loop cannot watch it."""

    def untrack(self, conn: TrackedConnection, /) -> None:
        """Count `conn` no longer."""

    def on_connection_closed(self, conn: TrackedConnection, /) -> None:
        """Count `conn` no longer: it has closed."""

    def on_connection_stopped(self, conn: TrackedConnection, /) -> None:
        """Count `conn` no longer: its loop was stopped, and has closed it."""


class ProxyHeaderReader(EventSource):
    """One accepted socket, until its header was read."""

    deadline_at = inf
    deadline_entry = inf

    def __init__(self, server: HeaderServer, sock: socket_module.socket, address: Address) -> None:
        """sock: accepted, non-blocking; this object owns it until the server gets it back"""
        EventSource.__init__(self, server.loop)
        self._server = server
        self._socket = sock
        self._address = address
        self._received = b""  # of the header

    def begin(self, timeout_s: float | None) -> None:
        """Read the header, waiting `timeout_s` seconds at most; None or 0: for ever."""
        if self._advance():
            return
        self._timeout_s = timeout_s or inf
        try:
            self.watch_fd(self._socket.fileno(), READABLE)
        except OSError as exc:
            self._server.reject(self._socket, exc)
            return
        self._server.open_connections[self] = None
        self._server.handshaking.add(self)
        self.loop.deadlines.arm(self, self.loop.now + self._timeout_s)

    def on_ready(self, bits: int) -> None:
        self._advance()

    def _advance(self) -> bool:
        """Read what has arrived. Return whether the header was read, or refused."""
        try:
            header = self._read()
        except (ProxyHeaderError, OSError) as exc:
            self._refuse(str(exc))
            return True
        if header is None:
            return False
        self._open_connection(header)
        return True

    def _read(self) -> ProxyHeader | None:
        """Take what has arrived of the header, and nothing else. Return it if it is complete.

        Raises: ProxyHeaderError, OSError
        """
        sock = self._socket
        try:
            seen = sock.recv(PEEK_BYTES, socket_module.MSG_PEEK)
            if not seen:
                raise ProxyHeaderError("the connection ended before its PROXY header was complete")
            length = header_length(self._received + seen)
            wanted = len(seen) if length is None else length - len(self._received)
            self._received += sock.recv(min(wanted, len(seen)))
        except (BlockingIOError, InterruptedError):
            return None
        return parse_header(self._received) if len(self._received) == length else None

    def _open_connection(self, header: ProxyHeader) -> None:
        address = self._address
        if header.source is not None:
            address = unmapped(header.source)
        self._finish()
        try:
            self._server.open_connection(self._socket, address, header)
        finally:
            self._server.untrack(self)

    def _refuse(self, reason: str) -> None:
        self._finish()
        try:
            self._server.refuse(self._socket, self._address, reason)
        finally:
            self._server.on_connection_closed(self)

    def _finish(self) -> None:
        self._server.handshaking.discard(self)
        self.unregister_fd()
        self.loop.deadlines.arm(self, inf)

    def on_deadline(self, now: float) -> None:
        self._refuse(f"its PROXY header was not there within {self._timeout_s:g} s")

    def abort(self) -> None:
        """Reset the connection: the server is shut down."""
        self._finish()
        reset_on_close(self._socket)
        self.loop.close_later(self._socket)
        self._server.on_connection_closed(self)

    def on_loop_stopped(self) -> None:
        """Close the socket: the loop was stopped."""
        EventSource.on_loop_stopped(self)
        self._socket.close()
        self._server.on_connection_stopped(self)
