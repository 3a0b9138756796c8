"""TLS on an existing connection (STARTTLS, a tunnel through a proxy).

Owns: the transition from the last plain byte to the first encrypted one. Must not know handshakes.

Theory of operation: what was written before is sent first, unencrypted. Then a `TlsConnection`
takes over the socket, and the place of the connection among those of a server. Bytes that were read
before, and pushed back, must not reach TLS: nobody knows who sent them.

The existing connection can be a TLS one itself: the new one is then sent through it.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from thor.tcp.connection import TcpConnection
from thor.tcp.owner import ConnectionOwner
from thor.tcp.state import CLOSED, OPEN
from thor.tls.connection import TlsConnection
from thor.tls.errors import plain_bytes_error


class StartTls(ConnectionOwner):
    """Waits until all that was written on a connection was sent, and replaces the connection.

    It is the connection's owner meanwhile.
    """

    def __init__(
        self,
        conn: TcpConnection,
        done: Callable[[TlsConnection], None],
        on_failed: Callable[[OSError], None],
    ) -> None:
        """done: called with the new connection; on_failed: with the reason why there is none

        Raises: ValueError if the program has closed `conn`
        """
        ended_by_peer = (
            conn.write_failed or conn.closing_after_eof
        )  # and the program may not have been told yet
        if conn.read_state is CLOSED or (conn.write_state is not OPEN and not ended_by_peer):
            raise ValueError("TLS cannot begin on a connection that was closed")
        self._conn: TcpConnection | None = conn
        self._done = done
        self._on_failed = on_failed
        conn.owner = self
        conn.pause(True)
        if conn.read_state is OPEN and conn.write_state is OPEN:
            conn.when_sent(self._sent)
        else:
            conn.loop.call_soon(self.end)

    def cancel(self) -> None:
        """Reset the connection, and call nothing."""
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
            self._on_failed(exc)
        else:
            self._done(secure)

    def _fail(self, exc: OSError) -> None:
        if self._conn is not None:
            self.cancel()
            self._on_failed(exc)

    # -- called by the connection --------------------------------------------------------------

    def data(self, data: bytes) -> None:
        """Ignore data: there is none while reading is paused."""

    def end(self) -> None:
        """Fail: the peer has finished sending."""
        self.close(None)

    def pause(self, paused: bool) -> None:
        """Ignore it: all that was written is sent, however much it is."""

    def write_blocked(self) -> None:
        """Ignore it, too."""

    def hangup(self) -> None:
        """Fail: the peer is gone."""
        self.close(None)

    def close(self, exc: OSError | None) -> None:
        """Fail: the connection is lost."""
        text = "the peer closed before TLS began"
        self._fail(exc or ConnectionResetError(errno.ECONNRESET, text))

    def disconnect(self) -> None:
        """Fail, if `close` was not called: the program has aborted the connection."""
        self.close(None)

    def failed(self, exc: BaseException) -> None:
        """Fail: a listener of the connection raised; it was logged."""
        self.close(None)


def _replace(conn: TcpConnection) -> TlsConnection:
    """Move the socket of `conn` to a new connection, and return that.

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
    secure.proxy_header = conn.proxy_header
    secure.cached_local_address = conn.cached_local_address
    if server is not None:
        secure.server = server
        server.replace_connection(conn, secure)
    return secure
