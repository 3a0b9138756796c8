"""Connections whose PROXY header is still to come.

Owns: an accepted socket until the header is read or refused. Must not know how a header is written
down (`proxy_protocol.py` does), nor what comes after it.

Theory of operation: not a byte after the header may be taken from the socket, since what reads them
(TLS, most of all) reads the socket itself. So bytes are looked at with MSG_PEEK, and then those of
them that belong to the header are taken: all of them, as long as it is not complete, so that a
header that comes byte by byte does not leave the socket readable, which would spin the loop.

Most headers are there when the connection is accepted: that is tried first, before the loop is
asked to watch the socket.
"""

from __future__ import annotations

import socket as socket_module
from math import inf
from typing import TYPE_CHECKING

from thor.loop import EventSource
from thor.loop.poller import READABLE
from thor.tcp.address import unmapped
from thor.tcp.proxy_protocol import ProxyHeader, header_length, parse_header
from thor.tcp.proxy_tlvs import ProxyHeaderError
from thor.tcp.sockets import reset_on_close
from thor.types import Address

if TYPE_CHECKING:
    from thor.tcp.server import TcpServer

#: Most bytes that are looked at at once; few headers are longer.
PEEK_BYTES = 1024


class ProxyHeaderReader(EventSource):
    """One socket of a server's, until its header is there."""

    deadline_at = inf
    deadline_entry = inf

    def __init__(self, server: TcpServer, sock: socket_module.socket, address: Address) -> None:
        """sock: accepted, non-blocking; this owns it until the server has it back"""
        EventSource.__init__(self, server.loop)
        self._server = server
        self._socket = sock
        self._address = address
        self._start = b""  # what has come of the header

    def begin(self, limit_s: float | None) -> None:
        """Read the header, waiting for it `limit_s` seconds at most; None or 0: for ever."""
        if self._advance():
            return
        self._limit_s = limit_s or inf
        try:
            self.watch_fd(self._socket.fileno(), READABLE)
        except OSError as exc:
            self._server.reject(self._socket, exc)
            return
        self._server.open_connections[self] = None
        self._server.handshaking.add(self)
        self.loop.deadlines.arm(self, self.loop.now + self._limit_s)

    def on_ready(self, bits: int) -> None:
        self._advance()

    def _advance(self) -> bool:
        """Read what is there. Returns: whether that was the end of the wait, one way or another"""
        try:
            header = self._read()
        except (ProxyHeaderError, OSError) as exc:
            self._refuse(str(exc))
            return True
        if header is None:
            return False
        self._pass_on(header)
        return True

    def _read(self) -> ProxyHeader | None:
        """Take what is there of the header, and nothing else. Returns: it, if it is complete

        Raises: ProxyHeaderError, OSError
        """
        sock = self._socket
        try:
            seen = sock.recv(PEEK_BYTES, socket_module.MSG_PEEK)
            if not seen:
                raise ProxyHeaderError("the connection ended before its PROXY header was complete")
            length = header_length(self._start + seen)
            wanted = len(seen) if length is None else length - len(self._start)
            self._start += sock.recv(min(wanted, len(seen)))
        except (BlockingIOError, InterruptedError):
            return None
        return parse_header(self._start) if len(self._start) == length else None

    def _pass_on(self, header: ProxyHeader) -> None:
        address = self._address
        if header.source is not None:
            address = unmapped(header.source)
        self._leave()
        try:
            self._server.open_connection(self._socket, address, header)
        finally:
            self._server.untrack(self)

    def _refuse(self, reason: str) -> None:
        self._leave()
        try:
            self._server.refuse(self._socket, self._address, reason)
        finally:
            self._server.on_connection_closed(self)

    def _leave(self) -> None:
        self._server.handshaking.discard(self)
        self.unregister_fd()
        self.loop.deadlines.arm(self, inf)

    def on_deadline(self, now: float) -> None:
        self._refuse(f"its PROXY header was not there within {self._limit_s:g} s")

    def abort(self) -> None:
        """Give up: the server is shut down."""
        self._leave()
        reset_on_close(self._socket)
        self.loop.close_later(self._socket)
        self._server.on_connection_closed(self)

    def on_loop_stopped(self) -> None:
        """The loop was stopped."""
        EventSource.on_loop_stopped(self)
        self._socket.close()
        self._server.on_connection_stopped(self)
