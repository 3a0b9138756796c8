"""TLS on a connection that is already there (STARTTLS, a tunnel through a proxy).

Owns: the moment between the last plain byte and the first encrypted one. Must not know handshakes.

Theory of operation: what was written before goes out first, plain. Then the socket passes from the
one connection to a `TlsConnection`, and with it its place among a server's. Bytes that were read
before, and given back, are nothing that TLS may look at: who sent them is not known.

The connection that was there can be a TLS one itself: the new one then goes through it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from thor.tcp.connection import TcpConnection
from thor.tcp.state import CLOSED, OPEN
from thor.tls.connection import TlsConnection
from thor.tls.errors import plain_bytes_error


class StartTls:
    """Waits until all that was written on a connection has left, and takes its place.

    It is the connection's owner meanwhile.
    """

    def __init__(
        self,
        conn: TcpConnection,
        done: Callable[[TlsConnection], None],
        failed: Callable[[OSError], None],
    ) -> None:
        """done: called with the new connection; failed: with the reason why there is none

        Raises: ValueError if the program has closed `conn`
        """
        by_peer = (
            conn.write_failed or conn.closing_after_eof
        )  # and the program may not have been told yet
        if conn.read_state is CLOSED or (conn.write_state is not OPEN and not by_peer):
            raise ValueError("TLS cannot begin on a connection that was closed")
        self._conn: TcpConnection | None = conn
        self._done = done
        self._tell_failed = failed
        conn.owner = self
        conn.pause(True)
        if conn.read_state is OPEN and conn.write_state is OPEN:
            conn.when_sent(self._sent)
        else:
            conn.loop.call_soon(self.end)

    def cancel(self) -> None:
        """Give up: the connection is reset, and nothing is told."""
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.owner = None
            conn.abort()

    def _sent(self) -> None:
        conn = self._conn
        if conn is None:
            return
        if conn.pushed_back:
            self._fail(plain_bytes_error())
            return
        self._conn = None
        try:
            secure = _replace(conn)
        except OSError as exc:
            self._tell_failed(exc)
        else:
            self._done(secure)

    def _fail(self, exc: OSError) -> None:
        if self._conn is not None:
            self.cancel()
            self._tell_failed(exc)

    # -- called by the connection --------------------------------------------------------------

    def data(self, data: bytes) -> None:
        """Not while it is paused."""

    def end(self) -> None:
        """The peer has finished sending."""
        self.close(None)

    def pause(self, paused: bool) -> None:
        """All has to leave, however much it is."""

    def write_blocked(self) -> None:
        """The same."""

    def hangup(self) -> None:
        """The peer is gone."""
        self.close(None)

    def close(self, exc: OSError | None) -> None:
        """The connection is lost."""
        gone = "the peer closed before TLS began"
        self._fail(exc or ConnectionResetError(errno.ECONNRESET, gone))

    def disconnect(self) -> None:
        """It is closed: `close` has said so, or the program has aborted it."""
        self.close(None)

    def failed(self, exc: BaseException) -> None:
        """A listener of the connection raised; it was logged."""
        self.close(None)


def _replace(conn: TcpConnection) -> TlsConnection:
    """Give the socket of `conn` to a new connection, which is returned.

    Raises: OSError if the new one cannot be watched; the socket is closed then
    """
    server, conn.server = conn.server, None
    sock = conn.detach_socket()
    lower = conn.tls if isinstance(conn, TlsConnection) else None
    try:
        secure = TlsConnection(sock, conn.address, conn.loop, lower)
    except OSError:
        conn.loop.close_later(sock)
        if server is not None:
            server.on_connection_closed(conn)
        raise
    secure.copy_addresses(conn)
    if server is not None:
        secure.server = server
        server.replace_connection(conn, secure)
    return secure
